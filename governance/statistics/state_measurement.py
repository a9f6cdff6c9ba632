"""Evidence of how a model's state behaves: every probe asked through the public protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar, cast

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, HasLayers, HasMemory, Subject
from governance.check import Context, measured, not_measured
from governance.record import Evidence, Exhibit, Window
from governance.statistics import state_dynamics as dynamics
from governance.statistics import state_parity as parity
from governance.statistics import state_probes as probes
from governance.statistics.state_exhibits import decay_exhibit, parity_exhibit

_SCALES = (-12, 12)
_MATERIAL = 0.01
_LAGS = (1, 21, 63, 250)
_LAYER_BARS = 3000
_MEMORY_WINDOWS = 4
_LATE_STEPS = 20
_DECISIONS = ("position", "stress_probability")
# Evidence is finite: what cannot be compared, or has no size, is as far off as a number can be.
_FARTHEST = float(np.finfo(np.float64).max)

T = TypeVar("T")
Compare = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class StateSettings:
    """The parameters of the check; see there."""

    parity_bars: int
    chunks: tuple[int, ...]
    chunks_compared: int
    reach_bars: int
    pasts: int
    long_bars: int
    still_bars: int


@dataclass
class StateMeasurement:
    """One measurement of one subject.

    Attributes
    ----------
    check : Check
        Whose evidence this is.
    subject : Subject
        Untrained.
    context : Context
    settings : StateSettings
    failed : dict of probe to reason
        Probes on which the subject raised, so far.
    bad_rows : dict of probe to (rows that are not finite, rows)
    """

    check: Any
    subject: Subject
    context: Context
    settings: StateSettings
    failed: dict[str, str] = field(default_factory=dict)
    bad_rows: dict[str, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def candidate(self) -> Subject:
        """The subject of the last fold."""
        return self.context.candidate(self.subject)

    @cached_property
    def bars(self) -> Bars:
        """Everything up to the end of the last test."""
        return self.context.bars.rows(0, self.context.last_fold.test_end)

    @cached_property
    def recent(self) -> Bars:
        """The newest bars, on which ways of running are compared."""
        return self.bars.rows(max(len(self.bars) - self.settings.parity_bars, 0), None)

    @cached_property
    def base(self) -> Signals:
        """What the candidate says of all bars."""
        return self.context.cache.signals(self.candidate, self.bars)

    @cached_property
    def plain(self) -> Signals:
        """What the candidate says of the recent bars in one call."""
        return self.candidate.signals(self.recent.rows())

    def measure(self) -> Iterator[Evidence | Exhibit]:
        """Yield parity, precision, forgetting, behaviour in the long run, layers, and failures."""
        yield from self._parity()
        yield from self._precision()
        yield from self._past()
        yield from self._long_run()
        yield from self._still()
        yield from self._layers()
        bad = {probe: count for probe, (count, _) in self.bad_rows.items() if count}
        yield self._found(
            "nonfinite_rows",
            sum(bad.values()),
            max(sum(of for _, of in self.bad_rows.values()), 1),
            note="; ".join(f"{probe}: {count}" for probe, count in bad.items()),
        )
        note = "; ".join(f"{probe}: {reason}" for probe, reason in self.failed.items())
        number = len(self.bad_rows) + len(self.failed)
        yield self._found("failed_probes", len(self.failed), number, note=note)

    # --- every way of running -----------------------------------------------------------------

    def _parity(self) -> Iterator[Evidence | Exhibit]:
        recent, candidate, n = self.recent, self.candidate, len(self.recent)
        other = probes.resampled_bars(recent, n, self._rng("other"))
        table: dict[str, Mapping[str, float]] = {}
        streams = (Capability.STREAMING,)
        chunked = partial(parity.chunked, candidate, recent, self.plain)
        pair: dict[str, Mapping[str, float]] = {}

        def both(which: str) -> Mapping[str, float]:
            if not pair:
                found = parity.interleaved(candidate, recent, other, n // 2)
                pair.update(zip(("reopened", "in turns"), found, strict=True))
            return pair[which]

        def recalled() -> Mapping[str, float]:
            candidate.signals(other.rows())
            return parity.differences(self.plain, candidate.signals(recent.rows()))

        ways: list[tuple[str, tuple[Capability, ...], Compare]] = [
            ("scan_step_difference", streams, partial(chunked, n, 1)),
            (
                "length_difference",
                (),
                partial(parity.shortened, candidate, recent, self.plain, parity.telling_lengths(n)),
            ),
            ("reopened_difference", streams, partial(both, "reopened")),
            ("interleaved_difference", streams, partial(both, "in turns")),
            (
                "resumed_difference",
                (*streams, Capability.RESUMABLE),
                partial(parity.resumed, candidate, recent, n // 2),
            ),
            ("recalled_difference", (), recalled),
        ]
        for name, needs, compare in ways:
            yield from self._compared(name, needs, compare, table)
        for size in (size for size in self.settings.chunks if size <= n):
            compare = partial(chunked, size, self.settings.chunks_compared)
            yield from self._compared("chunk_difference", streams, compare, table, chunk=str(size))
        yield parity_exhibit(self.check.card.name, table)

    def _compared(
        self,
        metric: str,
        needs: tuple[Capability, ...],
        compare: Compare,
        table: dict[str, Mapping[str, float]] | None = None,
        **where: str,
    ) -> Iterator[Evidence]:
        reason, errored = self._lacks(*needs), False
        found: Mapping[str, float] = {}
        if not reason:
            try:
                found = compare()
            except Exception as error:  # recorded: other ways of running can still be measured
                reason, errored = f"running it failed: {_said(error)}", True
                self.failed[metric] = _said(error)
        if reason:
            yield not_measured(
                self.check, metric, reason, window=self._window, errored=errored, **where
            )
            return
        if table is not None:
            table[" ".join([metric, *where.values()])] = found
        yield self._worst(metric, found, len(self.recent), **where)

    # --- precision ----------------------------------------------------------------------------

    def _precision(self) -> Iterator[Evidence]:
        rounded = self._answer("float32", probes.rounded_bars(self.bars))
        for name in _DECISIONS:
            change = _change(self.base, rounded, name)
            if change is None:
                yield self._absent("float32_change", f"there is no {name} to compare", field=name)
            else:
                yield self._found("float32_change", change.max(), len(change), field=name)
        change = _change(self.base, rounded, "position")
        if change is None:
            yield self._absent("float32_changed_share", "the subject raised")
        else:
            share = float((change > _MATERIAL).mean())
            yield self._found("float32_changed_share", share, len(change))
        for power in _SCALES:
            answer = self._answer(f"prices x 2^{power}", probes.rescaled_bars(self.recent, power))
            if answer is None:
                yield self._absent("scale_difference", "the subject raised", power=str(power))
                continue
            found = parity.differences(self.plain, answer)
            yield self._worst("scale_difference", found, len(answer), power=str(power))

    # --- forgetting ---------------------------------------------------------------------------

    def _past(self) -> Iterator[Evidence | Exhibit]:
        warmup, rows = self.candidate.card.warmup_bars, len(self.bars)
        reach = min(self.settings.reach_bars, max((rows - warmup) // 3, 1))
        first = max(warmup, rows // 3, 3)
        cuts = np.linspace(first, rows - reach, self.settings.pasts + 2)[1:-1].astype(int)
        others = []
        for cut in np.unique(cuts).tolist():
            answer = self._answer(
                f"another past before row {cut}",
                probes.other_past(self.bars, cut, self._rng(f"past.{cut}")),
            )
            if answer is not None and set(answer.arrays()) == set(self.base.arrays()):
                others.append((cut, answer))
        if not others:
            for metric in ("past_influence", "forgetting_bars"):
                yield self._absent(metric, "the subject does not answer another past alike")
            return
        found = dynamics.forgetting(self.base, others, reach)
        for name in found.by_field:
            for lag in sorted({lag for lag in (*_LAGS, reach) if lag <= reach}):
                which = "longest" if lag == reach else str(lag)
                value = found.at(name, lag)
                note = f"{lag} bars after" if lag == reach else ""
                yield self._found(
                    "past_influence", value, len(others), note=note, field=name, lag=which
                )
            bars, seen = found.bars_to(name, _MATERIAL)
            evidence = self._found("forgetting_bars", bars, len(others), field=name)
            yield evidence if seen else evidence.model_copy(update={"at_least": True})
        yield decay_exhibit(self.check.card.name, found)

    # --- long and still markets ---------------------------------------------------------------

    def _long_run(self) -> Iterator[Evidence]:
        bars = probes.resampled_bars(self.bars, self.settings.long_bars, self._rng("long"))
        signals = self._answer("long run", bars)
        tail = len(bars) // 10 + 13  # not round: rows counted in tens must not come out alike
        fresh = self._answer("fresh start", bars.rows(len(bars) - tail, None))
        if signals is None or signals.latents is None:
            yield self._absent("latent_growth", self._no_latents())
        else:
            value = dynamics.growth(signals.latents, self.candidate.card.warmup_bars)
            yield self._found("latent_growth", value, len(bars))
        compared = tail // 4
        late = None if signals is None else signals.rows(len(signals) - compared, None)
        again = None if fresh is None else fresh.rows(len(fresh) - compared, None)
        for name in _DECISIONS:
            change = _change(late, again, name)
            if change is None:
                yield self._absent("restart_change", f"there is no {name} to compare", field=name)
            else:
                yield self._found("restart_change", change.mean(), len(change), field=name)
        if signals is None:
            yield self._absent("long_step_difference", "the subject raised")
            return
        start = len(bars) - _LATE_STEPS

        def stepped() -> Mapping[str, float]:
            driver = parity.Driver(self.candidate, bars, signals, start)
            return parity.differences(signals.rows(start, None), driver.steps(_LATE_STEPS))

        yield from self._compared("long_step_difference", (Capability.STREAMING,), stepped)

    def _still(self) -> Iterator[Evidence]:
        bars = probes.still_bars(self.bars, self.settings.still_bars)
        signals = self._answer("still market", bars)
        if signals is None or signals.latents is None or self.base.latents is None:
            yield self._absent("still_drift", self._no_latents())
            return
        unit = dynamics.spread(self.base.latents)
        yield self._found("still_drift", dynamics.unsettled(signals.latents, unit), len(bars))

    # --- what the subject itself says of its layers -------------------------------------------

    def _layers(self) -> Iterator[Evidence]:
        reason = self._lacks(Capability.LAYERS)
        if reason:
            for metric in ("layer_length_difference", "state_growth"):
                yield self._absent(metric, reason)
        else:
            recent = self.recent
            yield from self._compared(
                "layer_length_difference",
                (Capability.LAYERS,),
                partial(parity.layers_shortened, self.candidate, recent, 3 * len(recent) // 4),
            )
            bars = probes.resampled_bars(self.bars, _LAYER_BARS, self._rng("layers"))
            states = self._attempted(
                "hidden states", lambda: cast(HasLayers, self.candidate).layer_states(bars)
            )
            if states is None:
                yield self._absent("state_growth", "the subject raised", errored=True)
            for name, values in (states or {}).items():
                grown = dynamics.norm_growth(values, self.candidate.card.warmup_bars)
                yield self._found("state_growth", grown, len(bars), layer=name)
        yield from self._time_constants()

    def _time_constants(self) -> Iterator[Evidence]:
        length = min(64, len(self.bars) // 2)
        layers: tuple[np.ndarray, ...] = ()
        reason = self._lacks(Capability.MEMORY)
        if not reason:
            ends = np.linspace(length, len(self.bars) - 1, _MEMORY_WINDOWS).astype(int)
            memory = self._attempted(
                "memory", lambda: cast(HasMemory, self.candidate).memory(self.bars, ends, length)
            )
            layers = () if memory is None else memory.layers
            reason = "" if layers else "the subject names no layer with a state"
        if reason:
            for metric in ("largest_eigenvalue", "shortest_memory"):
                yield self._absent(metric, reason)
        for number, layer in enumerate(layers, start=1):
            where = {"layer": str(number)}
            value = dynamics.largest_eigenvalue(layer)
            yield self._found("largest_eigenvalue", value, len(layer), **where)
            yield self._found("shortest_memory", float(layer.min()), len(layer), **where)

    # --- asking and recording -----------------------------------------------------------------

    def _answer(self, probe: str, bars: Bars) -> Signals | None:
        """Signals on a probe; None, remembered, if the subject raised."""
        signals = self._attempted(probe, lambda: self.candidate.signals(bars))
        if signals is None:
            return None
        self.bad_rows[probe] = (parity.unusable_rows(signals, len(bars)), len(bars))
        return signals if len(signals) == len(bars) else None

    def _attempted(self, probe: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except Exception as error:  # recorded as a failed probe
            self.failed[probe] = _said(error)
            return None

    def _lacks(self, *needed: Capability) -> str:
        missing = [str(one) for one in needed if one not in self.subject.capabilities]
        return f"the subject does not declare {', '.join(missing)}" if missing else ""

    def _no_latents(self) -> str:
        return self._lacks(Capability.LATENTS) or "the subject gave no latents"

    @property
    def _window(self) -> Window:
        trained = self.context.last_fold.train_end
        return self.context.window(0, len(self.bars) - 1, trained)

    def _rng(self, purpose: str) -> np.random.Generator:
        return self.context.rng(f"{self.check.card.name}:{purpose}")

    def _absent(self, metric: str, reason: str, *, errored: bool = False, **where: str) -> Evidence:
        return not_measured(
            self.check, metric, reason, window=self._window, errored=errored, **where
        )

    def _worst(self, metric: str, found: Mapping[str, float], n: int, **where: str) -> Evidence:
        """The field that differs most, named."""
        name = max(found, key=lambda one: found[one])
        note = f"largest in {name.replace('_', ' ')}" if found[name] else ""
        return self._found(metric, found[name], n, note=note, **where)

    def _found(
        self, metric: str, value: float, n: int, *, note: str = "", **where: str
    ) -> Evidence:
        finite = value if np.isfinite(value) else _FARTHEST
        return measured(
            self.check,
            metric,
            finite,
            n=n,
            window=self._window,
            interval=None,
            self_check=None,
            note=note,
            **where,
        )


def _change(first: Signals | None, second: Signals | None, name: str) -> np.ndarray | None:
    """Absolute changes of a field, infinite where one is no number; None if one has no field."""
    left = None if first is None else first.arrays().get(name)
    right = None if second is None else second.arrays().get(name)
    if left is None or right is None:
        return None
    gaps = np.abs(left - right)
    return np.where(np.isfinite(gaps), gaps, np.inf)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
