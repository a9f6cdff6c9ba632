"""The harness: run the checks on a subject, judge, seal.

Order of checks, failures of a subject and the state of the store never change a Run's digest.
"""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finchaos.core.bars import Bars
from finchaos.core.errors import FinchaosError
from finchaos.core.provenance import digest
from finchaos.core.subject import Subject
from governance.check import Context, Skip, not_measured, parameters
from governance.environment import environment, source_digest
from governance.plan import Plan
from governance.policy import Judgement, Policy
from governance.record import (
    Environment,
    Evidence,
    Exhibit,
    ExhibitRef,
    InputRef,
    Run,
    SubjectRef,
)
from governance.scenario import Scenario
from governance.store import Measurements, Store, StoredRun
from governance.trials import Trials

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""


@dataclass(frozen=True)
class Materials:
    """What a plan's names stand for, loaded."""

    subject: Subject
    bars: Bars
    policy: Policy
    challengers: Mapping[str, Subject]
    scenarios: tuple[Scenario, ...]
    trials: Trials | None = None


def validate(
    plan: Plan,
    materials: Materials,
    store: Store,
    progress: Progress | None = None,
    *,
    fresh: bool = False,
) -> StoredRun:
    """Measure, judge and seal.

    Every check's measurements are stored as soon as they exist, so that an interrupted
    validation of the same inputs continues where it stopped. What could not be measured because
    of an error is tried again.

    Parameters
    ----------
    plan : Plan
    materials : Materials
        What the plan's names stand for.
    store : Store
    progress : callable, optional
    fresh : bool
        Measure everything anew.

    Raises
    ------
    FinchaosError
        If the inputs do not fit together. A model that fails its checks is a Finding instead.
    """
    say = progress or (lambda stage, done, total: None)
    checks = plan.make_checks()
    context = _context(plan, materials)
    surroundings = environment(plan.seed, materials.subject)
    base = _base_key(plan, materials, surroundings)
    taken: list[Measurements] = []
    seconds: dict[str, float] = {}
    for done, check in enumerate(checks):
        say(check.card.name, done, len(checks))
        start = time.perf_counter()
        key = digest(
            {
                **base,
                "check": check.card.name,
                "version": check.card.version,
                "params": parameters(check),
            }
        )
        found = None if fresh else store.remembered(key)
        if found is None:
            found = measure(check, materials.subject, context)
            if all(item.status != "errored" for item in found.evidence):
                store.remember(key, found)
        taken.append(found)
        seconds[check.card.name] = round(time.perf_counter() - start, 3)
    say("judge and seal", len(checks), len(checks))
    evidence = tuple(item for part in taken for item in part.evidence)
    exhibits = tuple(item for part in taken for item in part.exhibits)
    run = _seal(plan, materials, surroundings, checks, evidence, exhibits)
    timings = {"seconds": seconds, "host": platform.platform(), "machine": platform.machine()}
    return store.put(run, exhibits, timings)


def measure(check: Any, subject: Subject, context: Context) -> Measurements:
    """Run one check; whatever it could not measure is recorded with the reason."""
    evidence: list[Evidence] = []
    exhibits: list[Exhibit] = []
    reason, errored = _missing_capabilities(check, subject), False
    if not reason:
        try:
            for item in check.measure(subject, context):
                if isinstance(item, Evidence):
                    _refuse_repetition(item, evidence)
                    evidence.append(item)
                else:
                    exhibits.append(item)
        except Skip as skip:
            reason = str(skip)
        except FinchaosError as error:
            reason, errored = str(error), True
        except (Exception, SystemExit) as error:  # recorded; nothing a model does stops the run
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            reason, errored = f"{type(error).__name__}: {error} ({where})", True
    if reason:
        have = {item.metric for item in evidence}
        evidence += [
            not_measured(
                check, spec.name, reason, window=context.out_of_sample_window, errored=errored
            )
            for spec in check.card.metrics
            if spec.name not in have
        ]
    return Measurements(evidence=tuple(evidence), exhibits=tuple(exhibits))


def _refuse_repetition(item: Evidence, evidence: Sequence[Evidence]) -> None:
    if any(item.key == other.key for other in evidence):
        raise ValueError(f"{item.check} measured {item.metric} twice for {item.slice}")


def _missing_capabilities(check: Any, subject: Subject) -> str:
    if "model" in check.card.requires and subject.card.predictions_only:
        return "signals recorded beforehand cannot answer other bars: this needs the model"
    missing = sorted(set(check.card.requires) - {"model", *map(str, subject.capabilities)})
    return f"the subject does not declare: {', '.join(missing)}" if missing else ""


def _context(plan: Plan, materials: Materials) -> Context:
    return Context(
        bars=materials.bars,
        folds=plan.make_folds(materials.bars),
        seed=plan.seed,
        cost_bps=plan.trading.cost_bps,
        delay_bars=plan.trading.delay_bars,
        challengers=materials.challengers,
        scenarios=materials.scenarios,
        trials=materials.trials,
    )


def _base_key(plan: Plan, materials: Materials, surroundings: Environment) -> dict[str, Any]:
    """What measurements depend on besides the check itself."""
    return {
        "subject": materials.subject.digest,
        "source": source_digest(materials.subject),
        "card": materials.subject.card.as_json(),
        "bars": materials.bars.digest,
        "folds": plan.folds.model_dump(mode="json"),
        "trading": plan.trading.model_dump(mode="json"),
        "challengers": {k: s.digest for k, s in sorted(materials.challengers.items())},
        "scenarios": {s.name: s.digest for s in materials.scenarios},
        "trials": None if materials.trials is None else materials.trials.digest,
        "environment": surroundings.model_dump(mode="json"),
    }


def _seal(
    plan: Plan,
    materials: Materials,
    surroundings: Environment,
    checks: Sequence[Any],
    evidence: tuple[Evidence, ...],
    exhibits: tuple[Exhibit, ...],
) -> Run:
    judgement: Judgement = materials.policy.judge(evidence)
    subject = materials.subject
    return Run(
        plan=plan.model_dump(mode="json"),
        subject=SubjectRef(
            card=subject.card.as_json(),
            digest=subject.digest,
            source=source_digest(subject),
            capabilities=tuple(sorted(str(c) for c in subject.capabilities)),
        ),
        inputs=_inputs(plan, materials),
        policy=materials.policy.reference,
        environment=surroundings,
        cards=tuple(check.card for check in checks),
        evidence=evidence,
        exhibits=tuple(
            ExhibitRef(check=item.check, name=item.name, digest=item.digest) for item in exhibits
        ),
        findings=judgement.findings,
        coverage=judgement.coverage,
        gate=judgement.gate,
        gate_reasons=judgement.reasons,
        inconclusive=judgement.inconclusive,
    )


def _inputs(plan: Plan, materials: Materials) -> tuple[InputRef, ...]:
    bars = materials.bars
    source = bars.provenance
    rows = [
        InputRef(
            role="bars",
            name=bars.symbol,
            digest=bars.digest,
            detail={
                "source": source.source,
                "kind": source.kind,
                "licence": source.licence,
                "rows": len(bars),
                "first": bars.index[0].isoformat(),
                "last": bars.index[-1].isoformat(),
                "bars_per_year": float(bars.bars_per_year),
                "has_range": bars.has_range,
                "notes": "; ".join(source.notes),
            },
        ),
        InputRef(role="plan", name=plan.name, digest=digest(plan.model_dump(mode="json"))),
    ]
    rows += [
        InputRef(role="challenger", name=name, digest=challenger.digest)
        for name, challenger in sorted(materials.challengers.items())
    ]
    rows += [
        InputRef(role="scenario", name=item.name, digest=item.digest, detail=dict(item.provenance))
        for item in materials.scenarios
    ]
    if materials.trials is not None:
        known = materials.trials
        detail = {"study": known.study, "trials": known.count, "head": known.head}
        rows.append(InputRef(role="trials", name=known.study, digest=known.digest, detail=detail))
    return tuple(rows)
