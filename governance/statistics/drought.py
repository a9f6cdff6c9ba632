"""What positions earn while trading is dear and slow for a time."""

from __future__ import annotations

import numpy as np

from finchaos.core.errors import InputError


def held_with_delays(position: np.ndarray, delay_bars: np.ndarray) -> np.ndarray:
    """Exposure over each period when every decision has a delay of its own.

    A decision made at bar i is executed at bar i + delay_bars[i]; at every bar the latest decision
    that was executed counts, and one that arrives after a later one is void. Nothing is held
    before the first.

    Parameters
    ----------
    position : numpy.ndarray, shape (t,)
        Target exposure decided at each bar.
    delay_bars : numpy.ndarray, shape (t,), int
        Not negative.

    Returns
    -------
    numpy.ndarray, shape (t - 1,)
        Row i runs from bar i to bar i + 1.

    Examples
    --------
    >>> held_with_delays(np.array([0.2, 0.4, 0.6, 0.8]), np.array([1, 2, 0, 0])).tolist()
    [0.0, 0.2, 0.6]
    """
    position = np.asarray(position, dtype=np.float64)
    delay = np.asarray(delay_bars)
    if position.shape != delay.shape or position.ndim != 1 or (delay < 0).any():
        raise InputError(
            "positions and delays do not fit together",
            expected="one delay of at least 0 bars for every position",
            got=f"{position.shape} and {delay.shape}",
        )
    periods = len(position) - 1
    arrival = np.arange(len(position)) + delay
    latest = np.full(periods, -1)
    inside = arrival < periods
    np.maximum.at(latest, arrival[inside], np.flatnonzero(inside))
    latest = np.maximum.accumulate(latest)
    return np.where(latest >= 0, position[latest], 0.0)


def drought_returns(
    position: np.ndarray,
    market: np.ndarray,
    dry: np.ndarray,
    *,
    cost_bps: float,
    delay_bars: int,
    dry_cost_bps: float,
    dry_delay_bars: int,
) -> np.ndarray:
    """Net returns on capital, shape (t - 1,), where some bars have another cost and delay.

    Parameters
    ----------
    position : numpy.ndarray, shape (t,)
        Target exposure decided at each bar.
    market : numpy.ndarray, shape (t - 1,)
        Simple returns; row i runs from bar i to bar i + 1.
    dry : numpy.ndarray, shape (t,), bool
        Bars of the drought: decisions made at them take ``dry_delay_bars``, exposure changed at
        them costs ``dry_cost_bps`` one way.
    cost_bps, delay_bars, dry_cost_bps, dry_delay_bars : float, int, float, int

    Raises
    ------
    InputError
        If lengths do not fit or a cost is negative.
    """
    if not (len(position) == len(dry) == len(market) + 1) or min(cost_bps, dry_cost_bps) < 0.0:
        raise InputError(
            "a drought needs t positions, t marks and t - 1 returns, and costs not below zero",
            got=f"{len(position)}, {len(dry)}, {len(market)}; {cost_bps} and {dry_cost_bps} bps",
        )
    held = held_with_delays(position, np.where(dry, dry_delay_bars, delay_bars))
    traded = np.abs(np.diff(held, prepend=0.0))
    cost = traded * np.where(dry[:-1], dry_cost_bps, cost_bps) / 1e4
    return np.asarray(held * market - cost)
