"""A backtest's figures in one pass over the bars: for sweeps and long histories, where the ledger
of :mod:`finchaos.trading.backtest` would be read for a few numbers only.

The accounting is the ledger's: a target decided at the close of a bar is held from the close
``delay_bars`` later, kept as a fraction of capital, and a change of target costs a share of the
capital moved. Capital that falls to zero stays zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from finchaos.core.errors import InputError

_SOUND = -1


@dataclass(frozen=True)
class Figures:
    """What a backtest came to; ratios that are not defined are NaN.

    Attributes
    ----------
    bars : int
        Returns counted, one fewer than closes.
    final_wealth : float
        Value at the last close of one unit of capital, before trading there.
    max_drawdown : float
        Deepest fall from a high, in [-1, 0].
    sharpe : float
        Mean return over its standard deviation (n - 1), a year; cash earns nothing.
    volatility : float
        Standard deviation (n - 1) of returns a year.
    turnover : float
        Half the sum of absolute changes of exposure a year.
    exposure : float
        Mean fraction of capital held.
    changes : int
        Changes of the held target, the first entry included.
    cost : float
        Sum of the costs paid, each as a fraction of capital at its time.
    """

    bars: int
    final_wealth: float
    max_drawdown: float
    sharpe: float
    volatility: float
    turnover: float
    exposure: float
    changes: int
    cost: float


def backtest_figures(
    position: np.ndarray,
    close: np.ndarray,
    *,
    cost_bps: float,
    delay_bars: int,
    bars_per_year: float,
) -> Figures:
    """Figures of holding ``position`` on ``close``.

    Parameters
    ----------
    position : numpy.ndarray, shape (t,)
        Target exposure decided at each close, as a fraction of capital.
    close : numpy.ndarray, shape (t,)
        At least two prices.
    cost_bps : float
        Cost of one way in basis points of the exposure changed.
    delay_bars : int
        0 trades at the close that decides; 1 at the next.
    bars_per_year : float

    Raises
    ------
    InputError
        If shapes do not fit, a parameter is out of range, or a price or target is not usable;
        the message names the row.

    Notes
    -----
    Memory does not grow with the history. Means and squares are summed about the first return
    held, so that a small mean does not cancel; a million bars agree with two passes to 1e-10.

    Examples
    --------
    >>> found = backtest_figures(np.ones(3), np.array([100.0, 110.0, 99.0]), cost_bps=0.0,
    ...                          delay_bars=0, bars_per_year=252.0)
    >>> round(found.final_wealth, 6), round(found.max_drawdown, 6)
    (0.99, -0.1)
    """
    held, price = _series("position", position), _series("close", close)
    if held.shape != price.shape or len(price) < 2:
        raise InputError(
            "positions and closes do not fit together",
            expected="the same number of both, at least 2",
            got=f"{held.shape} and {price.shape}",
        )
    if not (np.isfinite(cost_bps) and cost_bps >= 0 and delay_bars >= 0):
        raise InputError(
            "cost and delay must not be negative", got=f"{cost_bps} bps, {delay_bars} bars"
        )
    if not (np.isfinite(bars_per_year) and bars_per_year > 0):
        raise InputError("bars_per_year must be positive", got=repr(bars_per_year))
    n = len(price) - 1
    bad, wealth, deepest, mean, squares, traded, exposure, changes, cost = _one_pass(
        held, price, cost_bps / 1e4, int(delay_bars)
    )
    if bad != _SOUND:
        raise InputError(
            f"row {bad} cannot be traded on",
            expected="a finite target and a finite positive price",
            got=f"target {held[bad]}, price {price[bad]}",
            remedy="repair the bars, or leave out what comes before",
        )
    deviation = np.sqrt(squares / (n - 1)) if n > 1 else np.nan
    annual = np.sqrt(bars_per_year)
    return Figures(
        bars=n,
        final_wealth=wealth,
        max_drawdown=deepest,
        sharpe=float(mean / deviation * annual) if deviation > 0 else np.nan,
        volatility=float(deviation * annual),
        turnover=0.5 * traded * bars_per_year / n,
        exposure=exposure / n,
        changes=changes,
        cost=cost,
    )


def _series(name: str, values: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"{name} must be a series", expected="shape (t,)", got=str(array.shape))
    return array


def _scan(
    target: np.ndarray, price: np.ndarray, rate: float, delay: int
) -> tuple[int, float, float, float, float, float, float, int, float]:
    """Sums over the bars; the first entry is the row that cannot be used, or -1."""
    wealth = peak = 1.0
    worst = 1.0
    held = traded = exposure = cost = 0.0
    shifted = squares = shift = 0.0
    changes = 0
    n = len(price) - 1
    for i in range(n):
        now = target[i - delay] if i >= delay else 0.0
        step = price[i + 1] / price[i]
        if not (0.0 < price[i] < np.inf and -np.inf < target[i] < np.inf):
            return i, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0
        paid = 0.0
        if now != held:
            moved = abs(now - held)
            paid, traded, changes = moved * rate, traded + moved, changes + 1
            held = now
        net = held * (step - 1.0) - paid
        cost += paid
        exposure += held
        if i == 0:
            shift = net
        shifted += net - shift
        squares += (net - shift) ** 2
        wealth *= max(1.0 + net, 0.0)
        if wealth > peak:
            peak = wealth
        elif wealth < worst * peak:
            worst = wealth / peak
    if not (0.0 < price[n] < np.inf and -np.inf < target[n] < np.inf):
        return n, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0
    mean = shifted / n
    return (
        _SOUND, wealth, worst - 1.0, mean + shift, max(squares - n * mean * mean, 0.0),
        traded, exposure, changes, cost,
    )  # fmt: skip


_one_pass = njit(cache=True, error_model="numpy")(_scan)
