"""The statistics of an out-of-sample history, by name, over columns that can be resampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from finchaos.trading.backtest import run_backtest
from governance.record import Interval, Residual
from governance.statistics import performance
from governance.statistics.out_of_sample import OutOfSample
from governance.statistics.resampling import Columns, Statistic

ACCOUNTING_TOLERANCE = 1e-9
PATH_STATISTICS = frozenset({"max_drawdown", "calmar"})
"""Statistics of the order of returns: their interval is of resampled histories, and need not hold
the value of the observed one."""


def earning_columns(tested: OutOfSample, low: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The columns of :func:`earning_statistics`, each of shape (n,).

    Parameters
    ----------
    tested : OutOfSample
    low : numpy.ndarray, shape (t,), bool, optional
        Bars at which the market is well below its high; period j is low if the bar that it
        begins at is.
    """
    columns = {
        "net": tested.net,
        "gross": tested.gross,
        "traded": tested.traded,
        "held": tested.held,
    }
    if low is not None:
        columns["low"] = low[tested.delay_bars : -1]
    return columns


def earning_statistics(bars_per_year: float) -> dict[str, Statistic]:
    """Return, risk and trading by name, in the units of the walk-forward check's card."""

    def of_net(function: Callable[..., np.ndarray], *arguments: float) -> Statistic:
        return lambda columns: function(columns["net"], *arguments)

    return {
        "sharpe": of_net(performance.sharpe, bars_per_year),
        "sortino": of_net(performance.sortino, bars_per_year),
        "annual_return": of_net(performance.annual_return, bars_per_year),
        "annual_volatility": of_net(performance.annual_volatility, bars_per_year),
        "max_drawdown": of_net(performance.max_drawdown),
        "calmar": of_net(performance.calmar, bars_per_year),
        "expected_shortfall": of_net(performance.expected_shortfall),
        "turnover_per_year": lambda columns: performance.turnover_per_year(
            columns["traded"], bars_per_year
        ),
        "cost_drag": lambda columns: (
            (columns["gross"] - columns["net"]).mean(axis=-1) * bars_per_year
        ),
        "exposure_share": lambda columns: columns["held"].mean(axis=-1),
        "sortino_in_drawdown": lambda columns: performance.sortino_where(
            columns["net"], columns["low"], bars_per_year
        ),
    }


def of_histories(name: str, interval: Interval | None) -> Interval | None:
    """The interval, saying so where it is the range over resampled histories."""
    if interval is None or name not in PATH_STATISTICS:
        return interval
    method = f"{interval.method}; range over resampled histories, not of the observed one"
    return interval.model_copy(update={"method": method})


def difference(statistic: Statistic) -> Statistic:
    """The statistic of the columns less that of the columns named ``other.<name>``."""

    def paired(columns: Columns) -> np.ndarray:
        prefix = "other."
        other = {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}
        return statistic(columns) - statistic(other)

    return paired


def yearly_rates(names: tuple[str, ...], bars_per_year: float) -> dict[str, Statistic]:
    """Events a year, for columns that are 1 where an event is."""

    def rate(columns: Columns, name: str) -> np.ndarray:
        return np.asarray(columns[name].mean(axis=-1) * bars_per_year)

    return {name: partial(rate, name=name) for name in names}


def alarm_statistics(bars_per_year: float) -> dict[str, Statistic]:
    """False alarms a year outside falls, and the share of bars outside falls that are off.

    Over the columns ``onsets`` (false ones), ``outside`` and ``off_outside``, each 0 or 1.
    """

    def per_outside(columns: Columns, name: str, factor: float) -> np.ndarray:
        outside = columns["outside"].sum(axis=-1)
        return np.where(
            outside > 0, factor * columns[name].sum(axis=-1) / np.maximum(outside, 1), np.nan
        )

    return {
        "false_alarms_per_year": partial(per_outside, name="onsets", factor=bars_per_year),
        "alarm_share_outside": partial(per_outside, name="off_outside", factor=1.0),
    }


def accounting_residual(tested: OutOfSample, cost_bps: float) -> Residual:
    """How far the stack's own backtest is from the profit and loss recomputed here."""
    ledger = run_backtest(
        tested.signals, tested.bars, cost_bps=cost_bps, delay_bars=tested.delay_bars
    )
    own = performance.wealth(tested.net)
    theirs = ledger.equity[tested.delay_bars :]
    return Residual(
        what="largest distance between wealth recomputed from positions and returns and wealth "
        "by the model stack's own backtest, relative to the highest wealth",
        value=float(np.abs(theirs - own).max() / own.max()),
        tolerance=ACCOUNTING_TOLERANCE,
    )


def undefined_reason(name: str) -> str:
    """Why a statistic of earnings is not defined."""
    reasons: Mapping[str, str] = {
        "sharpe": "the net returns never vary",
        "sortino": "no net return is negative",
        "calmar": "wealth never falls",
        "sortino_in_drawdown": "no net return is negative while the market is below its high",
    }
    return reasons.get(name, "too few net returns")
