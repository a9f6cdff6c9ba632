"""A backtest by event loop: orders, fills, cash, units and costs, bar after bar.

The validator recomputes its results from signals and bars alone, by another algorithm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.signals import Signals


@dataclass(frozen=True)
class Fill:
    """One change of exposure.

    Attributes
    ----------
    decided, filled : pandas.Timestamp
        Close at which it was decided and close at which it was traded.
    price : float
    before, after : float
        Exposure as a fraction of capital.
    cost : float
        Cash paid, in units of the capital's currency.
    """

    decided: pd.Timestamp
    filled: pd.Timestamp
    price: float
    before: float
    after: float
    cost: float


@dataclass(frozen=True, eq=False)
class Ledger:
    """The account at the close of every bar, before and after trading there.

    Attributes
    ----------
    index : pandas.DatetimeIndex, shape (t,)
    equity : numpy.ndarray, shape (t,)
        Cash plus units at the close, before trading at it.
    exposure : numpy.ndarray, shape (t,)
        Fraction of capital held after trading at the close.
    units, cash : numpy.ndarray, shape (t,)
        After trading at the close; cash is negative under leverage.
    costs : numpy.ndarray, shape (t,)
        Cash paid for trading at the close.
    fills : tuple of Fill
    """

    index: pd.DatetimeIndex
    equity: np.ndarray
    exposure: np.ndarray
    units: np.ndarray
    cash: np.ndarray
    costs: np.ndarray
    fills: tuple[Fill, ...]

    @property
    def returns(self) -> np.ndarray:
        """Returns on capital between closes, after costs, shape (t - 1,); 0 once it is gone."""
        before = self.equity[:-1]
        alive = before > 0.0
        return np.where(alive, self.equity[1:] / np.where(alive, before, 1.0) - 1.0, 0.0)


def run_backtest(
    signals: Signals, bars: Bars, *, cost_bps: float, delay_bars: int, capital: float = 1.0
) -> Ledger:
    """Trade signals on bars.

    Parameters
    ----------
    signals : Signals
        One per bar; ``position`` is the fraction of capital to hold.
    bars : Bars
    cost_bps : float
        Paid on the capital moved when the target changes, in basis points.
    delay_bars : int
        An order decided at the close of bar t is filled at the close of bar t + delay_bars.
    capital : float
        Initial cash.

    Raises
    ------
    InputError
        If signals and bars differ in their time stamps, or a parameter is out of range.

    Notes
    -----
    The fraction is kept by free rebalancing while the target does not change. Capital that falls
    to zero or below stays zero: the account is closed.
    """
    if len(signals) != len(bars) or not bool((signals.index == bars.index).all()):
        raise InputError(
            "signals and bars have different time stamps",
            expected=f"{len(bars)} signals, one per bar",
            got=f"{len(signals)}",
        )
    if cost_bps < 0 or delay_bars < 0 or capital <= 0:
        raise InputError(
            "a backtest needs cost >= 0, delay >= 0 and capital > 0",
            got=f"{cost_bps} bps, {delay_bars} bars, capital {capital}",
        )
    account = _Account(capital, cost_bps / 1e4)
    waiting: deque[tuple[pd.Timestamp, float]] = deque()
    for row in range(len(bars)):
        ts, price = bars.index[row], float(bars.close[row])
        waiting.append((ts, float(signals.position[row])))
        order = waiting.popleft() if len(waiting) > delay_bars else None
        account.close_bar(ts, price, order)
    equity, exposure, units, cash, costs = np.array(account.rows).reshape(-1, 5).T
    return Ledger(bars.index, equity, exposure, units, cash, costs, tuple(account.fills))


class _Account:
    """Cash and units of one instrument."""

    def __init__(self, cash: float, cost_rate: float) -> None:
        self.cash = cash
        self.units = 0.0
        self.target = 0.0
        self.cost_rate = cost_rate
        self.fills: list[Fill] = []
        self.rows: list[tuple[float, float, float, float, float]] = []

    def close_bar(
        self, ts: pd.Timestamp, price: float, order: tuple[pd.Timestamp, float] | None
    ) -> None:
        """Mark to market, fill the order that is due, rebalance to the target."""
        equity = max(self.cash + self.units * price, 0.0)
        cost = 0.0
        if order is not None and order[1] != self.target:
            decided, wanted = order
            cost = abs(wanted - self.target) * equity * self.cost_rate
            self.fills.append(Fill(decided, ts, price, self.target, wanted, cost))
            self.target = wanted
        self.units = self.target * equity / price
        self.cash = equity - self.units * price - cost
        self.rows.append((equity, self.target, self.units, self.cash, cost))
