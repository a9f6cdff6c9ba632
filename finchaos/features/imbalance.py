"""Order-book imbalance: how much more volume waits to buy than to sell, of depth at one moment.

The batch form takes any number of books at once and the step form one; both give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from finchaos.core.errors import DataError

BOOK_LEVELS = 5
LEVELS_PER_FOLD = 2.0
"""Levels over which the weight of depth falls by e."""


def order_book_imbalance(
    bid: np.ndarray, ask: np.ndarray, *, levels: int = BOOK_LEVELS
) -> np.ndarray:
    """Weighted bid depth less ask depth over their sum, from -1 to 1.

    Level k, from 0 at the best price, weighs exp(-k / 2). Zero where both sides are empty.

    Parameters
    ----------
    bid, ask : numpy.ndarray, shape (..., k)
        Volume at the best k prices of each side, best first; zero where there is none.
    levels : int
        How many of them count, at most k.

    Returns
    -------
    numpy.ndarray, shape (...)

    Raises
    ------
    DataError
        If shapes differ, there are fewer levels, or a volume is negative or not finite.

    Examples
    --------
    >>> float(order_book_imbalance(np.array([3.0]), np.array([1.0]), levels=1))
    0.5
    """
    bid, ask = np.asarray(bid, dtype=np.float64), np.asarray(ask, dtype=np.float64)
    if bid.shape != ask.shape or not bid.ndim or not 1 <= levels <= bid.shape[-1]:
        raise DataError(
            "depth has the wrong shape",
            expected=f"bids and asks of one shape with at least {max(levels, 1)} levels last",
            got=f"{bid.shape} and {ask.shape}, {levels} levels asked for",
        )
    bid, ask = bid[..., :levels], ask[..., :levels]
    for name, values in (("bid", bid), ("ask", ask)):
        usable = (values >= 0) & (values < np.inf)
        if not usable.all():
            raise _unusable_depth(name, float(values[~usable].flat[0]))
    bought, sold = np.zeros(bid.shape[:-1]), np.zeros(bid.shape[:-1])
    for level in range(levels):
        weight = math.exp(-level / LEVELS_PER_FOLD)
        bought = bought + weight * bid[..., level]
        sold = sold + weight * ask[..., level]
    both = bought + sold
    empty = both == 0
    found: np.ndarray = np.where(empty, 0.0, (bought - sold) / np.where(empty, 1.0, both))
    return found


def order_book_imbalance_step(
    bid: Sequence[float], ask: Sequence[float], *, levels: int = BOOK_LEVELS
) -> float:
    """:func:`order_book_imbalance` of one book, to the bit, without arrays.

    Parameters
    ----------
    bid, ask : sequence of float, length k
    levels : int

    Raises
    ------
    DataError
        As there.

    Examples
    --------
    >>> order_book_imbalance_step([3.0], [1.0], levels=1)
    0.5
    """
    if len(bid) != len(ask) or not 1 <= levels <= len(bid):
        raise DataError(
            "depth has the wrong shape",
            expected=f"bids and asks of one length, at least {max(levels, 1)}",
            got=f"{len(bid)} and {len(ask)}, {levels} levels asked for",
        )
    bought, sold = 0.0, 0.0
    for level in range(levels):
        weight = math.exp(-level / LEVELS_PER_FOLD)
        for name, value in (("bid", bid[level]), ("ask", ask[level])):
            if not 0.0 <= value < math.inf:
                raise _unusable_depth(name, float(value))
        bought += weight * float(bid[level])
        sold += weight * float(ask[level])
    both = bought + sold
    return (bought - sold) / both if both else 0.0


def _unusable_depth(name: str, value: float) -> DataError:
    return DataError(
        f"{name} depth has unusable values",
        expected="finite non-negative volume, zero where there is none",
        got=repr(value),
    )
