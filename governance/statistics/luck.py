"""What a rule's timing would have earned by chance: the same spells, begun at other bars.

Circular shifts keep everything about positions, how often they trade, how long they stay, and
everything about the market, its trends and storms. They break what ties one to the other.
"""

from __future__ import annotations

import numpy as np

from finchaos.core.errors import InputError
from governance.statistics.performance import sharpe


def shifted_ratios(
    held: np.ndarray, market: np.ndarray, *, cost_bps: float, bars_per_year: float, shifts: int
) -> tuple[float, np.ndarray]:
    """Sharpe ratio of a history of positions, and of the same history begun at other bars.

    Costs are those of a circle: the step from the last position to the first is paid in all alike,
    so that no shift is dearer than another.

    Parameters
    ----------
    held : numpy.ndarray, shape (n,)
        Exposure over each period.
    market : numpy.ndarray, shape (n,)
        Returns of the instrument over the same periods.
    cost_bps : float
    bars_per_year : float
    shifts : int
        Spread evenly over the circle; all n - 1 if there are fewer.

    Returns
    -------
    tuple of float, numpy.ndarray of shape (m,)
        NaN where returns do not vary.

    Raises
    ------
    InputError
        If shapes do not fit or fewer than one shift is asked for.
    """
    positions, returns = np.asarray(held, dtype=float), np.asarray(market, dtype=float)
    if positions.ndim != 1 or positions.shape != returns.shape or len(positions) < 3 or shifts < 1:
        raise InputError(
            "positions cannot be shifted against these returns",
            expected="as many positions as returns, three or more, and a shift or more",
            got=f"{positions.shape}, {returns.shape}, {shifts} shifts",
        )
    paid = np.abs(positions - np.roll(positions, 1)) * (cost_bps / 1e4)
    count = min(shifts, len(positions) - 1)
    by = (np.arange(1, count + 1) * len(positions)) // (count + 1)
    rows = np.concatenate([[0], by])

    def ratios(chosen: np.ndarray) -> np.ndarray:
        place = (np.arange(len(positions)) - chosen[:, None]) % len(positions)
        return sharpe(positions[place] * returns - paid[place], bars_per_year)

    found = np.concatenate([ratios(part) for part in np.array_split(rows, max(1, len(rows) // 64))])
    return float(found[0]), found[1:]


def share_as_good(value: float, by_chance: np.ndarray) -> float:
    """Probability of a value this high or higher by chance, the value itself counted among them.

    References
    ----------
    Phipson & Smyth (2010), Permutation p-values should never be zero, Statistical Applications in
    Genetics and Molecular Biology 9(1).

    Examples
    --------
    >>> share_as_good(1.0, np.array([0.0, 0.5, 1.0]))
    0.5
    """
    return float((1 + np.count_nonzero(by_chance >= value)) / (1 + len(by_chance)))
