"""Whether the same model says the same again: retrained, repeated, streamed and reloaded."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.provenance import sha256
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, HasKillSwitch, Persistent, Streaming, Subject
from governance.check import Context, measured, not_measured
from governance.comparison import Difference, compare
from governance.injection import Persons
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec, Window

OPERATOR = "validator (reproducibility check)"
_WAYS = {
    "repeat": "when the same bars were given again",
    "refit": "after training again on the same bars with the same seed",
    "stream": "when the bars came one by one instead of at once",
    "reload": "after saving and loading the model",
}
_WITH_DIGEST = ("refit", "reload")
_NEEDS = {
    "refit": Capability.REFIT,
    "stream": Capability.STREAMING,
    "reload": Capability.PERSISTENCE,
}


def _metrics() -> tuple[MetricSpec, ...]:
    specs = []
    for way, when in _WAYS.items():
        specs += [
            MetricSpec(
                name=f"{way}_changed_rows",
                unit="rows",
                better="lower",
                meaning=f"Signals that differ in any bit {when}",
            ),
            MetricSpec(
                name=f"{way}_max_difference",
                unit="field's unit",
                better="lower",
                meaning=f"Largest absolute difference of a field {when}",
            ),
        ]
        if way in _WITH_DIGEST:
            specs.append(
                MetricSpec(
                    name=f"{way}_digest_changes",
                    unit="digests",
                    better="lower",
                    meaning=f"Whether the model's digest differs {when}: 0 or 1",
                )
            )
    specs.append(
        MetricSpec(
            name="global_generators_disturbed",
            unit="generators",
            better="lower",
            meaning="Process-wide random generators that signals drew from or seeded",
        )
    )
    return tuple(specs)


@dataclass(frozen=True)
class Reproducibility:
    """Repeat training, signals, streaming and storage, and compare every field exactly.

    Parameters
    ----------
    refit_bars : int
        Longest training window that is trained on again.
    stream_bars : int
        Bars stepped through one by one.
    history_bars : int
        Bars before them that the stream replays as its warm-up.
    """

    refit_bars: int = 1000
    stream_bars: int = 250
    history_bars: int = 750

    card: ClassVar[CheckCard] = CheckCard(
        name="reproducibility",
        version=1,
        title="Reproducibility",
        question="Does the same model, run or trained again in any way it can be, say the same?",
        pillar="conceptual_soundness",
        method=(
            "Signals are computed twice; the model is trained twice on the same bars with the "
            "same seed; the last bars, and where the switch tripped out of sample the bars around "
            "its first trip, are stepped through a live stream after a warm-up replay; the model "
            "is saved, its folder moved, and loaded. Where the batch signals show the switch "
            "re-armed, this check re-arms the stream as a person would. Fields are compared bit "
            "for bit and by their largest difference."
        ),
        limitations=(
            "One process on one machine: other hardware, thread counts and library versions are "
            "not compared.",
            "The repeated training may use a shorter window than the candidate's.",
            "Whether two different seeds lead to similar models is not asked here.",
        ),
        references=(
            "Pineau et al., Improving reproducibility in machine learning, JMLR 22 (2021)",
        ),
        requires=("model",),
        metrics=_metrics(),
    )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield changed rows and largest differences for each way of running the model again."""
        candidate = context.candidate(subject)
        end = context.last_fold.test_end
        history = context.bars.rows(max(end - self.stream_bars - self.history_bars, 0), end)
        window = context.window(end - len(history), end - 1, context.last_fold.train_end)
        before = _global_generators()
        batch = candidate.signals(history.rows())
        disturbed = sum(state != before[name] for name, state in _global_generators().items())
        yield measured(self, "global_generators_disturbed", disturbed, n=len(before), window=window)
        ways: dict[str, Callable[[], _Repetition]] = {
            "repeat": lambda: _Repetition(
                (compare(batch, candidate.signals(history.rows()), len(history)),)
            ),
            "refit": lambda: self._refit(subject, context),
            "stream": lambda: self._stream(candidate, context.bars, end),
            "reload": lambda: _reload(candidate, history, batch),
        }
        found: dict[str, _Repetition] = {}
        for way, run_again in ways.items():
            needed = _NEEDS.get(way)
            if needed is not None and needed not in subject.capabilities:
                found[way] = _Repetition(reason=f"the subject does not declare {needed}")
            else:
                found[way] = _attempt(run_again)
            yield from self._report(way, found[way], window)
        yield self._exhibit(found)

    def _refit(self, subject: Subject, context: Context) -> _Repetition:
        cut = min(self.refit_bars, context.folds[0].train_end)
        training = context.bars.rows(0, cut)
        probe = context.bars.rows(0, min(cut + self.stream_bars, len(context.bars)))
        # Both are trained here: what another check trained may come from another process.
        first = subject.fit(training.rows(), seed=context.seed)
        second = subject.fit(training.rows(), seed=context.seed)
        difference = compare(first.signals(probe.rows()), second.signals(probe.rows()), len(probe))
        return _Repetition((difference,), digest_changes=int(first.digest != second.digest))

    def _stream(self, candidate: Subject, bars: Bars, end: int) -> _Repetition:
        """Step through the last bars and those around the first trip of the whole history."""
        starts = [max(end - self.stream_bars, 1)]
        tripped = candidate.signals(bars.rows(0, end)).tripped
        if tripped is not None:
            onsets = np.flatnonzero(tripped[1:] & ~tripped[:-1]) + 1
            earlier = onsets[(onsets > candidate.card.warmup_bars) & (onsets < starts[0])]
            starts += [max(int(onset) - 10, 1) for onset in earlier[:1]]
        differences = []
        for start in starts:
            first = max(start - self.history_bars, 0)
            stretch = bars.rows(first, min(start + self.stream_bars, end))
            differences.append(_stream_against_batch(candidate, stretch, start - first))
        return _Repetition(tuple(differences))

    def _report(self, way: str, found: _Repetition, window: Window) -> Iterator[Evidence]:
        names = [f"{way}_changed_rows", f"{way}_max_difference"]
        names += [f"{way}_digest_changes"] if way in _WITH_DIGEST else []
        if found.reason:
            for name in names:
                yield not_measured(self, name, found.reason, window=window, errored=found.errored)
            return
        n = sum(len(difference.changed) for difference in found.differences)
        changed = sum(difference.rows for difference in found.differences)
        yield measured(self, names[0], changed, n=n, window=window)
        for name, value in found.largest.items():
            yield measured(self, names[1], value, n=n, window=window, field=name)
        if way in _WITH_DIGEST:
            yield measured(self, names[2], found.digest_changes, n=1, window=window)

    def _exhibit(self, found: dict[str, _Repetition]) -> Exhibit:
        fields = sorted({name for repetition in found.values() for name in repetition.largest})
        columns = [Column(name="field", values=tuple(fields) or ("none",))]
        for way, repetition in found.items():
            sizes = [repetition.largest.get(name) for name in fields] or [None]
            finite = [size if size is not None and np.isfinite(size) else None for size in sizes]
            columns.append(Column(name=way, values=tuple(finite)))
        return Exhibit(
            check=self.card.name,
            name="differences",
            title="Largest difference of each field between two runs of the same model",
            kind="table",
            columns=tuple(columns),
            note="Empty where it was not measured or one run gave no finite number.",
        )


@dataclass(frozen=True, eq=False)
class _Repetition:
    """How a way of running the model again compares with the first run, or why it could not."""

    differences: tuple[Difference, ...] = ()
    digest_changes: int = 0
    reason: str = ""
    errored: bool = False

    @property
    def largest(self) -> dict[str, float]:
        """Largest difference of each field over all stretches."""
        names = sorted({name for difference in self.differences for name in difference.largest})
        return {
            name: max(difference.largest.get(name, 0.0) for difference in self.differences)
            for name in names
        }


def _attempt(run_again: Callable[[], _Repetition]) -> _Repetition:
    try:
        return run_again()
    except Exception as error:  # recorded: the other ways can still be measured
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return _Repetition(reason=f"running the model again failed: {text}", errored=True)


def _stream_against_batch(candidate: Subject, bars: Bars, start: int) -> Difference:
    """Step through ``bars`` from ``start`` on; re-arm where the batch signals show it done."""
    batch = candidate.signals(bars.rows())
    stream = cast(Streaming, candidate).open(bars.rows(0, start))
    persons = Persons.of(candidate, OPERATOR)
    issued = []
    for row in range(start, len(bars)):
        tripped = batch.tripped
        if tripped is not None and tripped[row - 1] and not tripped[row]:
            persons.rearm(cast(HasKillSwitch, stream))
        issued.append(stream.step(bars[row]))
    return compare(batch.rows(start, None), Signals.collect(issued), len(issued))


def _reload(candidate: Subject, bars: Bars, batch: Signals) -> _Repetition:
    """Save, move the folder so that nothing can point back, load and compare."""
    persistent = cast(Persistent, candidate)
    with tempfile.TemporaryDirectory() as root:
        saved, moved = Path(root, "saved"), Path(root, "moved")
        saved.mkdir()
        persistent.save(saved)
        saved.rename(moved)
        loaded = cast(Subject, type(persistent).load(moved))
        difference = compare(batch, loaded.signals(bars.rows()), len(bars))
        return _Repetition((difference,), digest_changes=int(loaded.digest != candidate.digest))


def _global_generators() -> dict[str, str]:
    """Digest of the state of each process-wide random generator that is loaded."""
    kind, keys, position, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    states: dict[str, bytes] = {
        "random": repr(random.getstate()).encode(),
        "numpy": repr((kind, np.asarray(keys).tolist(), position, rest)).encode(),
    }
    torch: Any = sys.modules.get("torch")  # looked at only if the model has loaded it
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return {name: sha256(state) for name, state in states.items()}
