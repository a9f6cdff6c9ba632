"""Features of trading from closes and volume: toxicity of the flow (VPIN), illiquidity (Amihud).

A bar without volume says nothing of trading: both keep their values over it. The imbalance of an
order book needs its depth and is in :mod:`finchaos.features.imbalance`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from scipy.special import ndtr

from finchaos.core.errors import DataError
from finchaos.features.formula import (
    PRIOR_VOLATILITY,
    VOLATILITY_FLOOR,
    Formula,
    Moves,
    checked_half_life,
    memory,
    no_volume,
    whole,
)
from finchaos.features.recursion import decay_of, ready

MOST_BARS = 1e6
"""Bars that a bucket may take."""
BOUND = 10.0
"""Of the logarithm of relative illiquidity."""


@dataclass(frozen=True)
class Vpin:
    """Volume-synchronised probability of informed trading, from 0 to 1.

    The mean, over the last ``buckets`` full buckets of equal volume, of the share by which buying
    and selling differ: sum |V_buy - V_sell| / sum V. A bar's volume is split in bulk, V_buy =
    V Phi(r / sigma), with r the bar's log return and sigma the standard deviation of those before
    it, exponentially weighted; a bar that fills a bucket goes on into the next. 0 before the first
    full bucket. The value changes when a bucket fills, and depends on where the first one began.

    Independent normal returns give on average 0.5 with one bar a bucket, and sqrt(2 / (3 pi m))
    with many, m; a price that only rises, steadily, gives 1.

    Parameters
    ----------
    buckets : int
        How many full buckets count.
    bars_per_bucket : float
        Size of a bucket in bars of average volume, positive.
    half_life : float
        Of the deviation of returns and of the average volume, in bars.
    bucket_volume : float, optional
        Volume of a bucket; that of the training window where the schema is fitted. Where it is
        left out a bucket is as large as the average of the bars before the one that opens it says.

    References
    ----------
    Easley, Lopez de Prado and O'Hara (2012), Review of Financial Studies 25(5), eq. 7 and 8; bulk
    classification by the normal law as in their appendix A.
    """

    buckets: float = 50
    bars_per_bucket: float = 8.0
    half_life: float = 100.0
    bucket_volume: float | None = None
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = True
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "buckets", whole("buckets", self.buckets))
        checked_half_life(self.half_life)
        if not 0.0 < self.bars_per_bucket <= MOST_BARS:
            raise DataError(
                "bars_per_bucket is out of range",
                expected=f"above 0, at most {MOST_BARS:g}",
                got=repr(self.bars_per_bucket),
            )
        if self.bucket_volume is not None and not 0.0 < self.bucket_volume < np.inf:
            raise DataError("bucket_volume must be positive", got=repr(self.bucket_volume))

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return math.ceil(self.buckets * self.bars_per_bucket) + memory(self.half_life)

    def open(self, paths: int) -> _Vpin:
        """Start with empty buckets."""
        return _Vpin(self, paths)

    def fit(self, moves: Moves) -> dict[str, float]:
        """The volume of a bucket that training moves determine.

        Raises
        ------
        DataError
            If nothing was traded.
        """
        traded = moves.volume[moves.volume > 0]
        if not len(traded):
            raise no_volume("vpin", "zeros throughout the training window")
        return {"bucket_volume": float(self.bars_per_bucket * traded.mean())}


class _Vpin:
    def __init__(self, formula: Vpin, paths: int) -> None:
        count = int(formula.buckets)
        self._decay = decay_of(formula.half_life)
        self._size = (formula.bars_per_bucket, formula.bucket_volume)
        # Weight, mean and variance of returns, weight and mean of volumes.
        self._past = np.zeros((5, paths))
        self._past[0], self._past[2] = 1.0, PRIOR_VOLATILITY**2
        # Size of the open bucket, what is in it, its imbalance, and the last value.
        self._open = np.zeros((4, paths))
        self._ring = np.zeros((2, count, paths))
        self._full = np.zeros(paths, dtype=np.int64)

    def advance(self, moves: Moves) -> np.ndarray:
        volume = ready(moves.volume)
        deviation, average = np.empty(volume.shape), np.empty(volume.shape)
        past_loop(ready(moves.log_return), volume, self._decay, self._past, deviation, average)
        share = 2.0 * ndtr(moves.log_return / np.maximum(deviation, VOLATILITY_FLOOR)) - 1.0
        bars, fixed = self._size
        size = bars * average if fixed is None else np.full(volume.shape, fixed)
        size = np.maximum(size, np.finfo(np.float64).tiny)
        out = np.empty(volume.shape)
        bucket_loop(volume, share, size, self._open, self._ring, self._full, out)
        return out


@njit(cache=True)
def past_loop(
    moves: np.ndarray,
    volume: np.ndarray,
    decay: float,
    past: np.ndarray,
    deviation: np.ndarray,
    average: np.ndarray,
) -> None:
    """Deviation of returns and average volume of the bars with volume before each row.

    The first such bar's average is its own volume.
    """
    weight, mean, variance, weighed, typical = past
    for row in range(moves.shape[0]):
        for path in range(moves.shape[1]):
            traded = volume[row, path]
            deviation[row, path] = math.sqrt(variance[path])
            average[row, path] = typical[path] if weighed[path] > 0.0 else traded
            if traded > 0.0:
                weight[path] = 1.0 + decay * weight[path]
                away = moves[row, path] - mean[path]
                mean[path] = mean[path] + away / weight[path]
                spread = variance[path] + away * (away / weight[path])
                variance[path] = spread * ((weight[path] - 1.0) / weight[path])
                weighed[path] = 1.0 + decay * weighed[path]
                typical[path] = typical[path] + (traded - typical[path]) / weighed[path]


@njit(cache=True)
def bucket_loop(
    volume: np.ndarray,
    share: np.ndarray,
    size: np.ndarray,
    bucket: np.ndarray,
    ring: np.ndarray,
    full: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`Vpin`; ``share`` is (V_buy - V_sell) / V of a bar.

    The ring holds sizes and absolute imbalances of full buckets, of which ``full`` were filled.
    """
    room, inside, imbalance, value = bucket
    count = ring.shape[1]
    for row in range(volume.shape[0]):
        for path in range(volume.shape[1]):
            left = volume[row, path]
            if left > 0.0 and room[path] == 0.0:
                room[path] = size[row, path]
            filled = False
            while left > 0.0 and left >= room[path] - inside[path]:
                filled = True
                part = room[path] - inside[path]
                slot = full[path] % count
                ring[0, slot, path] = room[path]
                ring[1, slot, path] = abs(imbalance[path] + share[row, path] * part)
                full[path] += 1
                room[path], inside[path], imbalance[path] = size[row, path], 0.0, 0.0
                left -= part
                # A bar that fills the whole ring several times over leaves no more than one turn.
                if left > (count + 1) * room[path]:
                    left = count * room[path] + left % room[path]
            inside[path] += left
            imbalance[path] += share[row, path] * left
            if filled:
                whole, apart = 0.0, 0.0
                for kept in range(min(full[path], count)):
                    whole += ring[0, kept, path]
                    apart += ring[1, kept, path]
                value[path] = apart / whole
            out[row, path] = value[path]


@dataclass(frozen=True)
class LogAmihud:
    """Log of Amihud's illiquidity over its own running median.

    Illiquidity is the exponentially weighted mean of |r| / (price x volume), the return that a
    unit of currency traded comes with; its median is that of the last ``median_window`` bars with
    volume, fewer while there are fewer. Bounded by -10 and 10, which it reaches where one of the
    two is zero; 0 where both are, as before anything moved.

    Parameters
    ----------
    half_life : float
        Of the mean, in bars.
    median_window : int
        In bars.

    References
    ----------
    Amihud (2002), Journal of Financial Markets 5(1), eq. 1, with the close for the average price.
    """

    half_life: float = 10.0
    median_window: float = 252
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked_half_life(self.half_life)
        object.__setattr__(self, "median_window", whole("median_window", self.median_window))

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return int(self.median_window) + memory(self.half_life)

    def open(self, paths: int) -> _LogAmihud:
        """Start before anything moved."""
        return _LogAmihud(self, paths)


class _LogAmihud:
    def __init__(self, formula: LogAmihud, paths: int) -> None:
        self._decay = decay_of(formula.half_life)
        # Weight and mean, and the last ratio.
        self._state = np.zeros((3, paths))
        self._state[2] = 1.0
        # The last means, in the order of time and of size.
        self._kept = np.zeros((2, paths, int(formula.median_window)))
        self._seen = np.zeros(paths, dtype=np.int64)

    def advance(self, moves: Moves) -> np.ndarray:
        # What is too large or too small a trade for a number is passed over like none.
        with np.errstate(over="ignore"):
            traded = moves.close * moves.volume
            impact = np.full(traded.shape, np.nan)
            np.divide(np.abs(moves.log_return), traded, out=impact, where=traded > 0)
        ratio = np.empty(traded.shape)
        amihud_loop(impact, self._decay, self._state, self._kept, self._seen, ratio)
        return np.log(np.clip(ratio, math.exp(-BOUND), math.exp(BOUND)))


@njit(cache=True)
def amihud_loop(
    impact: np.ndarray,
    decay: float,
    state: np.ndarray,
    kept: np.ndarray,
    seen: np.ndarray,
    out: np.ndarray,
) -> None:
    """Exponential means over their running medians; an impact that is not finite is passed over."""
    weight, mean, ratio = state
    newest, ordered = kept
    window = newest.shape[1]
    for row in range(impact.shape[0]):
        for path in range(impact.shape[1]):
            value = impact[row, path]
            if math.isfinite(value):
                weight[path] = 1.0 + decay * weight[path]
                mean[path] = mean[path] + (value - mean[path]) / weight[path]
                count = min(seen[path], window)
                slot = seen[path] % window
                count = replace_in_order(ordered[path], count, newest[path, slot], mean[path])
                newest[path, slot] = mean[path]
                seen[path] += 1
                middle = 0.5 * (ordered[path, (count - 1) // 2] + ordered[path, count // 2])
                if middle > 0.0:
                    ratio[path] = mean[path] / middle
                else:
                    ratio[path] = 1.0 if mean[path] == 0.0 else np.inf
            out[row, path] = ratio[path]


@njit(cache=True)
def replace_in_order(ordered: np.ndarray, count: int, old: float, new: float) -> int:
    """Put ``new`` in ascending order, in place of ``old`` if there is no room; the count after."""
    if count == ordered.shape[0]:
        at = int(np.searchsorted(ordered, old))
        while at + 1 < count and ordered[at + 1] < new:
            ordered[at] = ordered[at + 1]
            at += 1
    else:
        at = count
        count += 1
    while at > 0 and ordered[at - 1] > new:
        ordered[at] = ordered[at - 1]
        at -= 1
    ordered[at] = new
    return count


FORMULAS: dict[str, type[Formula]] = {"vpin": Vpin, "log_amihud": LogAmihud}
