"""The harness: run the checks on a subject, judge, seal.

Order of checks, failures of a subject and the state of the store never change a Run's digest.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finchaos.core.bars import Bars
from finchaos.core.provenance import digest
from finchaos.core.subject import Subject
from governance.check import Context, parameters
from governance.course import Course
from governance.course import Progress as Progress
from governance.earlier import Earlier
from governance.environment import environment, source_digest
from governance.isolation import Done, measure_apart
from governance.measuring import measure
from governance.plan import Plan
from governance.policy import Judgement, Policy
from governance.power import validator_power
from governance.record import (
    Digest,
    Environment,
    Evidence,
    Exhibit,
    ExhibitRef,
    GuidanceCoverage,
    InputRef,
    LockRef,
    MaterialityRef,
    Run,
    SubjectRef,
)
from governance.scenario import Scenario
from governance.store import Measurements, Store, StoredRun
from governance.trials import Trials


@dataclass(frozen=True)
class Materials:
    """What a plan's names stand for, loaded."""

    subject: Subject
    bars: Bars
    policy: Policy
    challengers: Mapping[str, Subject]
    scenarios: tuple[Scenario, ...]
    trials: Trials | None = None
    earlier: Earlier | None = None
    also: tuple[Policy, ...] = ()
    """Further guidances whose coverage is shown."""

    def tier(self, plan: Plan) -> MaterialityRef | None:
        """The tier of the model under the plan's exposure and purpose; None if it states none."""
        return self.policy.derive(plan.materiality, self.subject.card.materiality)


def validate(
    plan: Plan,
    materials: Materials,
    store: Store,
    progress: Progress | None = None,
    *,
    fresh: bool = False,
    workers: int = 0,
    lock: LockRef | None = None,
    identity: Digest | None = None,
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
    workers : int
        Checks at a time, each in a process of its own and within the plan's limits. With 0 they
        run one after another in this process, where nothing stops a model that hangs.
    lock : LockRef, optional
        How the plan compares with the lock that was made of it before.
    identity : Digest, optional
        Of model and bars by content, under which the store notes that measuring began; as the
        plan spells them if left out.

    Raises
    ------
    FinchaosError
        If the inputs do not fit together. A model that fails its checks is a Finding instead.
    """
    say = progress or (lambda stage, done, total: None)
    tier = materials.tier(plan)
    depth = materials.policy.depth(tier)
    checks = plan.make_checks(depth.checks if depth is not None else None)
    context = _context(plan, materials, tier)
    surroundings = environment(plan.seed, materials.subject)
    keys = _keys(checks, _base_key(plan, materials, surroundings, tier))
    store.begin(plan.name, identity or plan.identity)
    kept = {} if fresh else _remembered(keys, store)
    missing = [number for number in range(len(checks)) if number not in kept]
    course = Course([check.card.name for check in checks], store.seconds(), max(workers, 1), say)
    seconds, printed, left = {check.card.name: 0.0 for check in checks}, {}, {}
    for done in _measured(checks, missing, plan, materials.subject, context, workers, course):
        kept[done.number] = done.measurements
        if all(item.status != "errored" for item in done.measurements.evidence):
            store.remember(keys[done.number], done.measurements)
        name = checks[done.number].card.name
        seconds[name] = round(done.seconds, 3)
        if done.printed:
            printed[name] = done.printed
        if done.left:
            left[name] = done.left
    say("judge and seal", len(checks), len(checks))
    taken = [kept[number] for number in range(len(checks))]
    evidence = tuple(item for part in taken for item in part.evidence)
    exhibits = tuple(item for part in taken for item in part.exhibits)
    run = _seal(plan, materials, surroundings, checks, evidence, exhibits, tier, lock)
    timings = {
        "seconds": seconds,
        "printed": printed,
        "processes_ended": left,
        "host": platform.platform(),
        "machine": platform.machine(),
    }
    return store.put(run, exhibits, timings)


def _measured(
    checks: Sequence[Any],
    missing: Sequence[int],
    plan: Plan,
    subject: Subject,
    context: Context,
    workers: int,
    course: Course,
) -> Iterator[Done]:
    """Measure the missing checks, here or apart; yield each as it ends."""
    course.skip(set(range(len(checks))) - set(missing))
    if workers < 1:
        for number in missing:
            course.started(number)
            start = time.perf_counter()
            found = measure(checks[number], subject, context)
            course.ended(number)
            yield Done(number, found, time.perf_counter() - start, "")
        return
    # The longest first, as far as is known, so that none is left alone at the end.
    order = sorted(missing, key=lambda number: -course.expected(number))
    for done in measure_apart(
        [checks[number] for number in order],
        subject,
        context,
        workers=workers,
        limits=plan.limits,
        started=lambda place: course.started(order[place]),
    ):
        course.ended(order[done.number])
        yield replace(done, number=order[done.number])


def _keys(checks: Sequence[Any], base: Mapping[str, Any]) -> list[str]:
    """Under what each check's measurements are remembered."""
    return [
        digest(
            {
                **base,
                "check": check.card.name,
                "version": check.card.version,
                "params": parameters(check),
            }
        )
        for check in checks
    ]


def _remembered(keys: Sequence[str], store: Store) -> dict[int, Measurements]:
    found = {number: store.remembered(key) for number, key in enumerate(keys)}
    return {number: kept for number, kept in found.items() if kept is not None}


def _context(plan: Plan, materials: Materials, tier: MaterialityRef | None) -> Context:
    return Context(
        bars=materials.bars,
        folds=plan.make_folds(materials.bars),
        seed=plan.seed,
        cost_bps=plan.trading.cost_bps,
        delay_bars=plan.trading.delay_bars,
        challengers=materials.challengers,
        scenarios=materials.scenarios,
        trials=materials.trials,
        earlier=materials.earlier,
        materiality=tier,
    )


def _base_key(
    plan: Plan,
    materials: Materials,
    surroundings: Environment,
    tier: MaterialityRef | None,
) -> dict[str, Any]:
    """What measurements depend on besides the check itself."""
    return {
        "subject": materials.subject.digest,
        "source": source_digest(materials.subject),
        "card": materials.subject.card.as_json(),
        "approved": materials.subject.card.approved_digest,
        "bars": materials.bars.digest,
        "folds": plan.folds.model_dump(mode="json"),
        "trading": plan.trading.model_dump(mode="json"),
        "challengers": {k: s.digest for k, s in sorted(materials.challengers.items())},
        "scenarios": {s.name: s.digest for s in materials.scenarios},
        "trials": None if materials.trials is None else materials.trials.digest,
        "since": None if materials.earlier is None else materials.earlier.digest,
        "environment": surroundings.model_dump(mode="json"),
        "materiality": None if tier is None else tier.model_dump(mode="json"),
    }


def _seal(
    plan: Plan,
    materials: Materials,
    surroundings: Environment,
    checks: Sequence[Any],
    evidence: tuple[Evidence, ...],
    exhibits: tuple[Exhibit, ...],
    tier: MaterialityRef | None,
    lock: LockRef | None,
) -> Run:
    judgement: Judgement = materials.policy.at(tier).judge(evidence)
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
        validator=validator_power(),
        materiality=tier,
        lock=lock,
        also=tuple(
            GuidanceCoverage(policy=pack.reference, coverage=pack.coverage(judgement.findings))
            for pack in materials.also
        ),
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
    if materials.earlier is not None:
        name = str(materials.earlier.run.plan["name"])
        rows.append(InputRef(role="reference", name=name, digest=materials.earlier.digest))
    if materials.trials is not None:
        known = materials.trials
        detail = {"study": known.study, "trials": known.count, "head": known.head}
        rows.append(InputRef(role="trials", name=known.study, digest=known.digest, detail=detail))
    return tuple(rows)
