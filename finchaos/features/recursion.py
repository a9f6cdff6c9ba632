"""Recursions over time that a stream can continue: one formula for one path and for many.

Arrays are time first, shape (t, n) with n independent paths, so that a step works on one row. The
same additions and multiplications in the same order run for a chunk of any length and for any
number of paths; a stream is a chunk of one row, and gives the very bits of the batch form.

Compiled loops change the state arrays that they are given in place. They use additions,
multiplications, divisions and square roots only, which round the same compiled or not, so that
their plain Python form (``py_func``) gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def decay_of(half_life: float) -> float:
    """Weight that one bar's passing leaves: 0.5 after ``half_life`` bars."""
    return float(0.5 ** (1.0 / half_life))


def ready(values: np.ndarray) -> np.ndarray:
    """Values as compiled loops take them: float64, contiguous and writable, copied if not so.

    One layout means one compiled form.
    """
    if values.flags.carray and values.dtype == np.float64:
        return values
    return np.require(values, np.float64, ["C", "W"])


def fold(values: np.ndarray, state: Any, step: Callable[[Any, Any], Any]) -> tuple[np.ndarray, Any]:
    """Run ``state = step(state, row)`` down the rows and keep every state.

    Parameters
    ----------
    values : numpy.ndarray, shape (t, n)
    state : numpy.ndarray, shape (n,)
        Before the first row.
    step : callable
        Plain arithmetic that means the same for floats and for arrays.

    Returns
    -------
    (numpy.ndarray, shape (t, n), numpy.ndarray, shape (n,))
        States after each row, and the last one.
    """
    out = np.empty_like(values)
    if values.shape[1] == 1:
        # One path: Python floats are the same IEEE doubles and ten times faster than 1-arrays.
        number = float(state[0])
        for row, value in enumerate(values[:, 0].tolist()):
            number = step(number, value)
            out[row, 0] = number
        return out, np.array([number])
    for row in range(len(values)):
        state = step(state, values[row])
        out[row] = state
    return out, state


class Ewma:
    """Exponentially weighted mean of what was seen, a prior counting as one observation before it.

    Weights are normalised over the observations that exist, so that early rows are plain averages
    and none is pulled towards zero: mean += (x - mean) / W with W = 1 + decay W.

    Parameters
    ----------
    half_life : float
        In bars.
    prior : float
        The mean before the first observation.
    paths : int
    """

    def __init__(self, half_life: float, prior: float, paths: int) -> None:
        self.decay = decay_of(half_life)
        self._weight = 1.0
        self._mean = np.full(paths, prior)

    def advance(self, values: np.ndarray) -> np.ndarray:
        """Means after each row of ``values``, shape (t, n)."""
        means = np.empty(values.shape)
        self._weight = ewma_loop(ready(values), self.decay, self._weight, self._mean, means)
        return means


@njit(cache=True)
def ewma_loop(
    values: np.ndarray, decay: float, weight: float, mean: np.ndarray, out: np.ndarray
) -> float:
    """Normalised exponential means of :class:`Ewma`; gives back the last weight."""
    for row in range(values.shape[0]):
        weight = 1.0 + decay * weight
        for path in range(values.shape[1]):
            mean[path] = mean[path] + (values[row, path] - mean[path]) / weight
            out[row, path] = mean[path]
    return weight


class Ema:
    """Exponential mean of fixed weight: mean += gain (x - mean).

    Parameters
    ----------
    gain : float
        Weight of the newest value.
    start : float
        The mean before the first value.
    paths : int
    """

    def __init__(self, gain: float, start: float, paths: int) -> None:
        self._gain = gain
        self._mean = np.full(paths, start)

    def advance(self, values: np.ndarray) -> np.ndarray:
        """Means after each row of ``values``, shape (t, n)."""
        means = np.empty(values.shape)
        ema_loop(ready(values), self._gain, self._mean, means)
        return means


@njit(cache=True)
def ema_loop(values: np.ndarray, gain: float, mean: np.ndarray, out: np.ndarray) -> None:
    """Means of :class:`Ema`."""
    for row in range(values.shape[0]):
        for path in range(values.shape[1]):
            mean[path] = mean[path] + gain * (values[row, path] - mean[path])
            out[row, path] = mean[path]


class WindowSum:
    """Sum over the last ``window`` rows, fewer while there are fewer.

    The sum so far of the current block of ``window`` rows, and for each place the sum from there
    to the end of the block before. Nothing is subtracted, so that rounding does not build up and a
    huge value leaves no trace: a row costs two additions and, on average, one more.

    Parameters
    ----------
    window : int
    paths : int
    """

    def __init__(self, window: int, paths: int) -> None:
        self.window = window
        self.seen = 0
        self._tails = np.zeros((window + 1, paths))
        self._sum = np.zeros(paths)

    def advance(self, values: np.ndarray) -> np.ndarray:
        """Sums after each row of ``values``, shape (t, n)."""
        sums = np.empty(values.shape)
        window_sum_loop(ready(values), self.seen % self.window, self._tails, self._sum, sums)
        self.seen += len(values)
        return sums

    def full(self, rows: int) -> np.ndarray | float:
        """Rows inside the window after each of the last ``rows`` rows, shape (rows, 1) or all."""
        if self.seen - rows >= self.window - 1:
            return float(self.window)
        seen = np.arange(self.seen - rows + 1, self.seen + 1)
        return np.minimum(seen, self.window)[:, None].astype(np.float64)


@njit(cache=True)
def window_sum_loop(
    values: np.ndarray, slot: int, tails: np.ndarray, head: np.ndarray, out: np.ndarray
) -> None:
    """Sums of :class:`WindowSum`; the next row has place ``slot`` in its block.

    ``tails`` holds the values of the current block up to that place, and after it the sums to the
    end of the block before.
    """
    window = tails.shape[0] - 1
    for row in range(values.shape[0]):
        last = slot == window - 1
        for path in range(values.shape[1]):
            tails[slot, path] = values[row, path]
            head[path] += values[row, path]
            out[row, path] = head[path] + tails[slot + 1, path]
            if last:
                head[path] = 0.0
                for place in range(window - 1, -1, -1):
                    tails[place, path] += tails[place + 1, path]
        slot = 0 if last else slot + 1


class Lag:
    """The values of ``bars`` rows before; the first row's until there are so many.

    Parameters
    ----------
    bars : int
        At least 1.
    """

    def __init__(self, bars: int) -> None:
        self._bars = bars
        self._kept: np.ndarray | None = None

    def advance(self, values: np.ndarray) -> np.ndarray:
        """Lagged values, shape (t, n)."""
        kept = np.repeat(values[:1], self._bars, axis=0) if self._kept is None else self._kept
        known = np.concatenate([kept, values])
        self._kept = known[len(values) :].copy()
        return known[: len(values)]


class Change:
    """Difference to the row before; zero on the very first row."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def advance(self, values: np.ndarray) -> np.ndarray:
        """Differences, shape (t, n)."""
        before = values[:1] if self._last is None else self._last[None]
        self._last = values[-1].copy()
        return values - np.concatenate([before, values[:-1]])
