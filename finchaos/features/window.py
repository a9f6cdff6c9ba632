"""Rolling windows over bars: sums that neither drift nor depend on how bars are cut into calls.

A window sum is kept as two parts, the sum so far of the current block of ``size`` values and the
sums from each place to the end of the block before. Nothing is ever subtracted, so that a huge
value leaves no trace once it has left the window, and each block is summed afresh at a fixed bar
count. A value costs two additions, and ``size`` more at the end of its block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit

from finchaos.core.errors import DataError
from finchaos.features.formula import Moves


class Rolling:
    """A compiled loop over bars with the arrays that it remembers.

    Parameters
    ----------
    loop : callable
        ``loop(moves, bar, *state, out)`` with moves and out of shape (t, n); ``bar`` counts the
        bars before. It changes the arrays of ``state`` in place.
    state : sequence
        Parameters and remembered arrays.
    """

    def __init__(self, loop: Callable[..., None], state: Sequence[object]) -> None:
        self._loop, self._state = loop, tuple(state)
        self._bar = 0

    def advance(self, moves: Moves) -> np.ndarray:
        """Values for the next rows, shape (t, n)."""
        # One layout, so that every call runs the same machine code.
        rows = np.require(moves.log_return, np.float64, ["C", "W"])
        out = np.empty(rows.shape)
        self._loop(rows, self._bar, *self._state, out)
        self._bar += len(rows)
        return out


def geometric_sizes(least: int, most: float, ratio: float) -> np.ndarray:
    """Whole numbers from ``least`` to ``most``, each the floor of ``least * ratio**i``, once.

    Examples
    --------
    >>> geometric_sizes(4, 12.8, 1.2).tolist()
    [4, 5, 6, 8, 9, 11]
    """
    if not (np.isfinite(ratio) and ratio > 1.0):
        raise DataError("the ratio of box sizes must exceed one", got=repr(ratio))
    if most < least:
        return np.empty(0, dtype=np.int64)
    powers = np.arange(np.floor(np.log(most / least) / np.log(ratio)) + 1.0)
    return np.unique(np.floor(least * ratio**powers).astype(np.int64))


def slope_weights(scale: np.ndarray) -> np.ndarray:
    """Weights w with ``w @ y`` the least-squares slope of y on the logarithm of ``scale``."""
    x = np.log(scale) - np.mean(np.log(scale))
    weights: np.ndarray = x / (x @ x)
    return weights


@njit(cache=True)
def add_to_window(
    kept: np.ndarray, start: int, size: int, place: int, before: float, value: float
) -> tuple[float, float]:
    """Sum of the last ``size`` values, this one included, and the sum of the current block.

    Parameters
    ----------
    kept : numpy.ndarray
        From ``start`` on: values of this block up to ``place``, then sums to the end of the last.
    start, size : int
    place : int
        Of the value in its block, 0 to size - 1.
    before : float
        Sum of this block before the value; zero at place 0.
    value : float
    """
    before += value
    total = before
    kept[start + place] = value
    if place < size - 1:
        total += kept[start + place + 1]
    else:
        for back in range(start + size - 2, start - 1, -1):
            kept[back] += kept[back + 1]
        before = 0.0
    return total, before


@njit(cache=True)
def without_oldest(kept: np.ndarray, start: int, size: int, place: int, before: float) -> float:
    """Sum of the last ``size - 1`` values, after :func:`add_to_window` at ``place``."""
    if place == size - 1:
        return float(kept[start + 1])
    if place == size - 2:
        return before
    return before + float(kept[start + place + 2])
