"""Whether a model's signals keep the contract that every other measurement relies on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Subject
from governance.check import Context, measured, not_measured
from governance.descendants import NOT_HERE
from governance.observe import digest_now, violations
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec, Window
from governance.watched import Watch, watched

_PROMISED = (
    (Capability.REGIMES, "regime"),
    (Capability.REGIMES, "stress_probability"),
    (Capability.LATENTS, "latents"),
    (Capability.KILL_SWITCH, "tripped"),
)


def _count(name: str, meaning: str, unit: str = "rows") -> MetricSpec:
    return MetricSpec(name=name, unit=unit, better="lower", meaning=meaning)


@dataclass(frozen=True)
class SignalIntegrity:
    """Run the candidate on all bars and on shorter histories and count breaches of its contract.

    Parameters
    ----------
    histories : int
        Number of histories: all bars, and prefixes whose lengths divide the rest evenly.
    """

    histories: int = 3

    card: ClassVar[CheckCard] = CheckCard(
        name="signal_integrity",
        version=3,
        title="Integrity of signals",
        question="Does the model answer every bar with one usable position within its limits?",
        pillar="conceptual_soundness",
        method=(
            "The candidate is trained and run on copies of the sample and of prefixes of it. "
            "Breaches of the Subject contract are counted over all runs; nothing is repaired and "
            "no run stops at its first breach. A model that fails to answer is counted, and the "
            "counts that need its answer are then not measured."
        ),
        limitations=(
            "Counts what this sample provokes; other inputs may provoke more.",
            "Says nothing about whether a position is sensible.",
            "Attempts at the network and processes are counted while the model answers, not while "
            "it trains, and only those that the interpreter knows of. What runs on afterwards is "
            "counted whoever started it, where the system tells (Linux).",
        ),
        requires=(),
        metrics=(
            _count("failed_calls", "Calls of fit or signals that raised an error", "calls"),
            _count("misplaced_rows", "Rows missing, surplus or not stamped like their bar"),
            _count("nonfinite_positions", "Positions that are NaN or infinite"),
            _count("positions_beyond_limits", "Positions beyond the limits on the model card"),
            _count("positions_in_warmup", "Positions other than 0 during the warm-up"),
            _count("positions_while_tripped", "Positions other than 0 while the switch is latched"),
            _count("invalid_probabilities", "Stress probabilities not within 0 and 1"),
            _count(
                "invalid_forecasts",
                "Rows with a forecast mean that is not finite, or a volatility that is not "
                "finite and positive, after the warm-up",
            ),
            _count("nonfinite_latents", "Rows with a latent that is NaN or infinite"),
            _count("negative_regimes", "Regime labels below 0"),
            _count(
                "missing_fields", "Fields that a declared capability promises, absent", "fields"
            ),
            _count("unstable_fields", "Fields present in some runs and absent in others", "fields"),
            _count("changed_inputs", "Runs in which the model changed the bars it read", "runs"),
            _count("changed_digests", "Runs in which the model's own digest changed", "runs"),
            _count("network_attempts", "Attempts to reach the network; all refused", "attempts"),
            _count("started_processes", "Processes that the model started", "processes"),
            _count(
                "processes_left",
                "Processes, orphans included, that still ran when the model had answered",
                "processes",
            ),
        ),
    )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield one count per metric over all runs, and the table of counts by run."""
        fold = context.last_fold
        window = context.window(0, len(context.bars) - 1, fold.train_end)
        try:
            candidate = context.candidate(subject)
        except (Exception, SystemExit) as error:  # the model's failure is what is being measured
            reason = f"fit failed: {_text(error)}"
            yield from self._nothing_but_failures(1, reason, window, {"failed_calls": 1})
            return
        runs = [_run(candidate, context.bars.rows(0, stop)) for stop in self._lengths(context)]
        answered = [run.counts for run in runs if run.counts is not None]
        failures = [run.failure for run in runs if run.failure]
        changes = {
            "failed_calls": len(failures),
            "changed_inputs": sum(run.changed_input for run in runs),
            "changed_digests": sum(run.changed_digest for run in runs),
            "network_attempts": sum(len(run.seen.network) for run in runs),
            "started_processes": sum(len(run.seen.processes) for run in runs),
            "processes_left": _all_left(runs),
        }
        if not answered:
            yield from self._nothing_but_failures(len(failures), failures[0], window, changes)
            return
        totals: dict[str, int | None] = {
            name: sum(counts[name] for counts in answered) for name in answered[0]
        }
        totals["missing_fields"] = max(counts["missing_fields"] for counts in answered)
        totals["unstable_fields"] = _unstable([run.fields for run in runs if run.counts])
        totals |= changes
        rows = sum(run.rows for run in runs if run.counts is not None)
        for spec in self.card.metrics:
            n = rows if spec.unit == "rows" else len(runs)
            yield self._counted(spec.name, totals[spec.name], n, window)
        yield self._exhibit(runs)

    def _lengths(self, context: Context) -> list[int]:
        n, warm = len(context.bars), context.folds[0].train_end
        steps = np.linspace(warm, n, max(self.histories, 1) + 1)[1:]
        return sorted({int(step) for step in steps}, reverse=True)

    def _nothing_but_failures(
        self, failures: int, reason: str, window: Window, counts: Mapping[str, int | None]
    ) -> Iterator[Evidence]:
        for spec in self.card.metrics:
            if spec.name in counts:
                yield self._counted(spec.name, counts[spec.name], failures, window)
            else:
                yield not_measured(self, spec.name, reason, window=window, errored=True)

    def _counted(self, name: str, count: int | None, n: int, window: Window) -> Evidence:
        if count is None:
            return not_measured(self, name, NOT_HERE, window=window)
        return measured(self, name, count, n=n, window=window)

    def _exhibit(self, runs: list[_Run]) -> Exhibit:
        names = list(next(run.counts for run in runs if run.counts is not None))
        columns = [
            Column(name="history", values=tuple(run.label for run in runs)),
            Column(name="bars", values=tuple(float(run.rows) for run in runs)),
            Column(name="failure", values=tuple(run.failure or "none" for run in runs)),
        ]
        columns += [
            Column(
                name=name.replace("_", " "),
                values=tuple(
                    None if run.counts is None else float(run.counts[name]) for run in runs
                ),
            )
            for name in names
        ]
        return Exhibit(
            check=self.card.name,
            name="breaches",
            title="Breaches of the Subject contract by run",
            kind="table",
            columns=tuple(columns),
        )


@dataclass(frozen=True)
class _Run:
    """What one call of ``signals`` showed; ``counts`` is None if it gave no Signals."""

    label: str
    rows: int
    counts: dict[str, int] | None
    fields: frozenset[str]
    failure: str
    changed_input: bool
    changed_digest: bool
    seen: Watch


def _run(subject: Subject, bars: Bars) -> _Run:
    before, own = bars.digest, subject.digest
    answer: Any = None
    try:
        with watched() as seen:
            answer = subject.signals(bars)
        failure = "" if isinstance(answer, Signals) else f"returned {type(answer).__name__}"
    except (Exception, SystemExit) as error:  # the model's failure is what is being measured
        failure = _text(error)
    counts = _counts(answer, bars, subject) if isinstance(answer, Signals) else None
    return _Run(
        label=f"to {bars.index[-1].date().isoformat()}",
        rows=len(bars),
        counts=counts,
        fields=frozenset(answer.arrays()) if isinstance(answer, Signals) else frozenset(),
        failure=failure,
        changed_input=_was_changed(bars, before),
        changed_digest=subject.digest != own,
        seen=seen,
    )


def _was_changed(bars: Bars, before: str) -> bool:
    try:
        return digest_now(bars) != before
    except Exception:  # bars that no longer form valid Bars were changed
        return True


def _counts(signals: Signals, bars: Bars, subject: Subject) -> dict[str, int]:
    latents, tripped, regime = signals.latents, signals.tripped, signals.regime
    promised = {name for capability, name in _PROMISED if capability in subject.capabilities}
    held = np.zeros(0) if tripped is None else signals.position[tripped]
    return {
        **violations(signals, bars, subject.card),
        "positions_while_tripped": int(np.count_nonzero(held)),
        "nonfinite_latents": (
            0 if latents is None else int((~np.isfinite(latents)).any(axis=1).sum())
        ),
        "negative_regimes": 0 if regime is None else int((regime < 0).sum()),
        "missing_fields": len(promised - set(signals.arrays())),
    }


def _all_left(runs: list[_Run]) -> int | None:
    counts = [run.seen.left for run in runs if run.seen.left is not None]
    return sum(counts) if len(counts) == len(runs) else None


def _unstable(fields: list[frozenset[str]]) -> int:
    return len(frozenset.union(*fields) - frozenset.intersection(*fields))


def _text(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
