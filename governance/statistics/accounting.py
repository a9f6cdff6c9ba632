"""Profit and loss from positions and returns: the validator's own accounting, kept to a few lines.

It shares no code with :mod:`finchaos.trading.backtest`, against which it is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError


@dataclass(frozen=True, eq=False)
class ProfitAndLoss:
    """What decisions earned; row i is the period from the close of bar i to that of bar i + 1.

    Attributes
    ----------
    held : numpy.ndarray, shape (t - 1,)
        Exposure over the period, as a fraction of capital.
    traded : numpy.ndarray, shape (t - 1,)
        Absolute change of exposure at the start of the period, the first entry included.
    gross, cost, net : numpy.ndarray, shape (t - 1,)
        Returns on capital before costs, costs, and what is left.
    """

    held: np.ndarray
    traded: np.ndarray
    gross: np.ndarray
    cost: np.ndarray
    net: np.ndarray


def profit_and_loss(
    position: np.ndarray, returns: np.ndarray, *, cost_bps: float, delay_bars: int
) -> ProfitAndLoss:
    """Returns of holding each decision from the close of its bar plus ``delay_bars``.

    Parameters
    ----------
    position : numpy.ndarray, shape (t,)
        Target exposure decided at the close of each bar.
    returns : numpy.ndarray, shape (t - 1,)
        Simple returns of the instrument; row i runs from bar i to bar i + 1.
    cost_bps : float
        Cost of one way in basis points of the exposure changed.
    delay_bars : int
        Nothing is held before ``delay_bars`` bars have passed.

    Raises
    ------
    InputError
        If the lengths do not fit, or cost or delay is negative.

    Notes
    -----
    Exposure is a fraction of capital and kept there until the next decision; the small trades
    that keep a fraction other than 0 and 1 constant while the price moves bear no cost.

    Examples
    --------
    Decided at the first close, held from the second, so it earns the second return:

    >>> profit_and_loss(np.array([1.0, 0.0, 0.0]), np.array([0.1, 0.2]),
    ...                 cost_bps=10, delay_bars=1).net.round(6).tolist()
    [0.0, 0.199]
    """
    position = np.asarray(position, dtype=np.float64)
    returns = np.asarray(returns, dtype=np.float64)
    if position.ndim != 1 or returns.shape != (len(position) - 1,):
        raise InputError(
            "positions and returns do not fit together",
            expected="t positions and t - 1 returns",
            got=f"{position.shape} and {returns.shape}",
        )
    if not (np.isfinite(cost_bps) and cost_bps >= 0) or delay_bars < 0:
        raise InputError(
            "cost and delay must not be negative", got=f"{cost_bps} bps, {delay_bars} bars"
        )
    held = np.concatenate([np.zeros(delay_bars), position])[: len(returns)]
    traded = np.abs(np.diff(held, prepend=0.0))
    gross = held * returns
    cost = traded * (cost_bps / 1e4)
    return ProfitAndLoss(held, traded, gross, cost, gross - cost)
