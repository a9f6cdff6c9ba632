"""Evidence of how far back a model looks, from what it says about windows of a test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from finchaos.core.errors import SubjectFault
from finchaos.core.subject import HasMemory, Memory, Subject
from governance.check import Context, measured, not_measured
from governance.record import Evidence, Exhibit, Interval, Window
from governance.statistics import memory_exhibits as exhibits
from governance.statistics.attribution import WindowBootstrap
from governance.statistics.attribution_windows import stratified_rows

MEMORY_METRICS = (
    "effective_memory",
    "window_memory",
    "half_context_memory",
    "memory_context",
    "input_lookback",
    "memory_length",
)
PERCENTILES = {"5%": 5, "median": 50, "95%": 95}
LEAST_WINDOWS = 20
_DRAWS, _LEVEL = 1000, 0.95


def influence_shares(influence: np.ndarray) -> np.ndarray | None:
    """Share of each lag in the influence within its window, shape (n, length).

    None if in any window nothing moves the latents.

    Examples
    --------
    >>> influence_shares(np.array([[3.0, 1.0], [1.0, 1.0]])).tolist()
    [[0.75, 0.25], [0.5, 0.5]]
    """
    totals = influence.sum(axis=1, keepdims=True)
    return influence / totals if (totals > 0.0).all() else None


def bars_holding(share: float, profiles: np.ndarray) -> np.ndarray:
    """The least number of newest bars that together hold a share of the influence.

    Parameters
    ----------
    share : float
        Between 0 and 1.
    profiles : numpy.ndarray, shape (..., length)
        Influence by lag, newest bar first.

    Returns
    -------
    numpy.ndarray of int64, shape (...)

    Examples
    --------
    >>> bars_holding(0.9, np.array([[0.5, 0.3, 0.1, 0.1], [1.0, 0.0, 0.0, 0.0]])).tolist()
    [3, 1]
    """
    reached = np.cumsum(profiles, axis=-1)
    # What is short of the share by rounding alone counts.
    short = reached < share * (1.0 - 1e-12) * reached[..., -1:]
    return short.sum(axis=-1) + 1


@dataclass(frozen=True)
class MemoryMeasurement:
    """One measurement of a subject with the capability ``memory``.

    Attributes
    ----------
    check : Check
        Whose evidence this is.
    subject : Subject
    context : Context
    window : Window
        What the evidence speaks about.
    windows : int
        Windows of the candidate's test.
    length : int
        Bars in each; fewer where the sample has fewer before the test, outside warm-up.
    share : float
        Of the influence, that the effective memory holds.
    """

    check: Any
    subject: Subject
    context: Context
    window: Window
    windows: int
    length: int
    share: float

    @cached_property
    def given(self) -> int:
        """Bars of a window: such that one ends at the first row of the test, if that can be."""
        room = self.context.last_fold.test_start - self.subject.card.warmup_bars + 1
        return min(self.length, max(room, 1))

    @cached_property
    def ends(self) -> np.ndarray:
        """Rows at which the windows end: one in each of equal stretches of the test."""
        fold = self.context.last_fold
        first = max(fold.test_start, self.subject.card.warmup_bars + self.given - 1)
        rng = self.context.rng("attribution.windows")
        return stratified_rows(rng, first, fold.test_end, self.windows)

    def measure(self) -> Iterator[Evidence | Exhibit]:
        """Yield effective memory, memory lengths of the layers, and their charts."""
        if len(self.ends) < LEAST_WINDOWS:
            found = f"the test holds {len(self.ends)} windows, at least {LEAST_WINDOWS} are needed"
            yield from self._absent(found, *MEMORY_METRICS)
            return
        memory = self._asked()
        n = len(self.ends)
        yield self._found("memory_context", self.given, n)
        yield self._found("input_lookback", memory.input_lookback, n)
        profiles = influence_shares(memory.influence)
        if profiles is None:
            reason = "in some windows nothing moves the latents"
            yield from self._absent(reason, *MEMORY_METRICS[:3])
        else:
            yield from self._influence(profiles, memory.input_lookback)
        if memory.layers:
            yield from self._layers(memory.layers)
        else:
            yield from self._absent("the subject names no layer with a state", "memory_length")

    def _asked(self) -> Memory:
        bars = self.context.bars.rows(0, self.context.last_fold.test_end)
        candidate = cast("HasMemory", self.context.candidate(self.subject))
        memory = candidate.memory(bars, self.ends, self.given)
        wanted = (len(self.ends), self.given)
        if memory.influence.shape != wanted:
            raise SubjectFault(
                "influence by lag breaks the HasMemory contract",
                expected=f"shape {wanted}",
                got=f"shape {memory.influence.shape}",
            )
        return memory

    def _influence(self, profiles: np.ndarray, lookback: int) -> Iterator[Evidence | Exhibit]:
        n = len(profiles)
        effective = int(bars_holding(self.share, profiles.mean(axis=0)))
        by_window = bars_holding(self.share, profiles)
        interval = self._interval(profiles, by_window)
        yield self._found("effective_memory", effective, n, interval)
        among = _percentiles(by_window)
        for name, value in among.items():
            yield self._found("window_memory", value, n, windows=name)
        newer = profiles[:, : -(-self.given // 2)].mean(axis=0)
        of_half = int(bars_holding(self.share, newer)) if newer.any() else 0
        yield self._found("half_context_memory", of_half, n)
        yield exhibits.influence_exhibit(
            self.check.card.name,
            profiles,
            exhibits.Reach(
                self.share,
                effective,
                interval,
                (among["5%"], among["95%"]),
                of_half,
                lookback,
            ),
        )

    def _layers(self, layers: tuple[np.ndarray, ...]) -> Iterator[Evidence | Exhibit]:
        for number, layer in enumerate(layers, start=1):
            for name, value in _percentiles(layer).items():
                yield self._found(
                    "memory_length", value, len(layer), layer=str(number), states=name
                )
        yield exhibits.layers_exhibit(self.check.card.name, layers)

    def _interval(self, profiles: np.ndarray, by_window: np.ndarray) -> Interval | None:
        def drawn(rows: np.ndarray) -> np.ndarray:
            weights = np.stack([np.bincount(row, minlength=len(profiles)) for row in rows])
            return bars_holding(self.share, weights @ profiles)[:, None]

        bootstrap = WindowBootstrap.of(by_window.astype(np.float64), _DRAWS, _LEVEL)
        rng = self.context.rng("attribution.memory")
        return bootstrap.intervals(np.arange(len(profiles)), drawn, rng)[0]

    def _absent(self, reason: str, *metrics: str) -> Iterator[Evidence]:
        for name in metrics:
            yield not_measured(self.check, name, reason, window=self.window)

    def _found(
        self, metric: str, value: float, n: int, interval: Interval | None = None, **where: str
    ) -> Evidence:
        return measured(
            self.check,
            metric,
            value,
            n=n,
            window=self.window,
            interval=interval,
            self_check=None,
            **where,
        )


def _percentiles(values: np.ndarray) -> dict[str, float]:
    """Percentiles that are values which occur, so that an infinite one stays infinite."""
    found = np.percentile(values, list(PERCENTILES.values()), method="inverted_cdf")
    return dict(zip(PERCENTILES, found.tolist(), strict=True))
