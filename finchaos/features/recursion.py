"""Recursions over time that a stream can continue: one formula for one path and for many.

Arrays are time first, shape (t, n) with n independent paths, so that a step works on one row. The
same additions and multiplications in the same order run for a chunk of any length and for any
number of paths; a stream is a chunk of one row, and gives the very bits of the batch form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def decay_of(half_life: float) -> float:
    """Weight that one bar's passing leaves: 0.5 after ``half_life`` bars."""
    return float(0.5 ** (1.0 / half_life))


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

        def step(mean: Any, value: Any) -> Any:
            self._weight = 1.0 + self.decay * self._weight
            return mean + (value - mean) / self._weight

        means, self._mean = fold(values, self._mean, step)
        return means


class Change:
    """Difference to the row before; zero on the very first row."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def advance(self, values: np.ndarray) -> np.ndarray:
        """Differences, shape (t, n)."""
        before = values[:1] if self._last is None else self._last[None]
        self._last = values[-1].copy()
        return values - np.concatenate([before, values[:-1]])
