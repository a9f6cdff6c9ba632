"""Return and risk ratios of a series of simple returns, with the annualisation always given.

Every function reduces the last axis, so that one call also serves a stack of resampled series.
``bars_per_year`` has no default: a ratio annualised at the wrong frequency looks plausible. A
ratio that is not defined, such as the Sharpe ratio of returns that never vary, is NaN.
"""

from __future__ import annotations

import numpy as np

from finchaos.core.errors import InputError

TAIL_SHARE = 0.05


def wealth(returns: np.ndarray) -> np.ndarray:
    """Compounded value of one unit of capital, shape (..., n + 1), starting at 1.

    A loss of everything is final: wealth stays at zero.

    Examples
    --------
    >>> wealth(np.array([0.5, -0.5])).tolist()
    [1.0, 1.5, 0.75]
    """
    growth = np.cumprod(np.maximum(1.0 + _series(returns), 0.0), axis=-1)
    return np.concatenate([np.ones((*growth.shape[:-1], 1)), growth], axis=-1)


def drawdown(returns: np.ndarray) -> np.ndarray:
    """Wealth relative to its highest value so far, minus one; shape (..., n + 1), in [-1, 0]."""
    value = wealth(returns)
    return value / np.maximum.accumulate(value, axis=-1) - 1.0


def max_drawdown(returns: np.ndarray) -> np.ndarray:
    """Deepest drawdown, shape (...): -0.25 is a fall of a quarter; the start counts as a high."""
    return drawdown(returns).min(axis=-1)


def annual_return(returns: np.ndarray, bars_per_year: float) -> np.ndarray:
    """Compound growth a year, shape (...)."""
    series = _series(returns)
    final = np.prod(np.maximum(1.0 + series, 0.0), axis=-1)
    return np.asarray(final ** (_positive(bars_per_year) / series.shape[-1]) - 1.0)


def annual_volatility(returns: np.ndarray, bars_per_year: float) -> np.ndarray:
    """Standard deviation (n - 1) of returns a year, shape (...)."""
    return np.asarray(_series(returns).std(axis=-1, ddof=1) * np.sqrt(_positive(bars_per_year)))


def sharpe(returns: np.ndarray, bars_per_year: float, *, cash_annual: float = 0.0) -> np.ndarray:
    """Mean excess return over its standard deviation (n - 1), annualised; shape (...).

    Parameters
    ----------
    returns : numpy.ndarray, shape (..., n)
        Simple returns per bar.
    bars_per_year : float
    cash_annual : float
        Return of cash **a year**, 0.02 for two per cent; spread evenly over the bars.

    References
    ----------
    Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21(1), 1994.
    """
    excess = _excess(returns, bars_per_year, cash_annual)
    varies = excess.max(axis=-1) > excess.min(axis=-1)
    return _ratio(excess.mean(axis=-1), excess.std(axis=-1, ddof=1), varies, bars_per_year)


def sortino(returns: np.ndarray, bars_per_year: float, *, cash_annual: float = 0.0) -> np.ndarray:
    """Mean excess return over its downside deviation, annualised; shape (...).

    The downside deviation is the root mean square of the shortfalls over **all** n bars, bars
    without a shortfall counting as zero.

    References
    ----------
    Sortino & Price, Performance Measurement in a Downside Risk Framework, Journal of Investing
    3(3), 1994.
    """
    excess = _excess(returns, bars_per_year, cash_annual)
    downside = np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2, axis=-1))
    return _ratio(excess.mean(axis=-1), downside, downside > 0.0, bars_per_year)


def sortino_where(returns: np.ndarray, chosen: np.ndarray, bars_per_year: float) -> np.ndarray:
    """Sortino ratio over the chosen bars alone, annualised as if there were no others.

    Parameters
    ----------
    returns, chosen : numpy.ndarray, shape (..., n)
        Simple returns, and which of them count.
    bars_per_year : float
    """
    series, weight = _series(returns), np.asarray(chosen, dtype=np.float64)
    count = np.maximum(weight.sum(axis=-1), 1.0)
    mean = (series * weight).sum(axis=-1) / count
    downside = np.sqrt((np.minimum(series, 0.0) ** 2 * weight).sum(axis=-1) / count)
    return _ratio(mean, downside, downside > 0.0, _positive(bars_per_year))


def calmar(returns: np.ndarray, bars_per_year: float) -> np.ndarray:
    """Compound return a year over the size of the deepest drawdown of the whole series."""
    depth = -max_drawdown(returns)
    growth = annual_return(returns, bars_per_year)
    return np.where(depth > 0.0, growth / np.where(depth > 0.0, depth, 1.0), np.nan)


def expected_shortfall(returns: np.ndarray, share: float = TAIL_SHARE) -> np.ndarray:
    """Mean of the worst ``share`` of the bars' returns, shape (...); not annualised.

    The observation on the edge of the tail counts with the part of it that belongs there.

    References
    ----------
    Acerbi & Tasche, On the coherence of expected shortfall, Journal of Banking & Finance 26
    (2002), definition 3.2 of the estimator.
    """
    series = _series(returns)
    if not 0.0 < share <= 1.0:
        raise InputError("the tail share must lie in (0, 1]", got=repr(share))
    mass = share * series.shape[-1]
    whole = min(int(mass), series.shape[-1] - 1)
    worst = np.sort(series, axis=-1)[..., : whole + 1]
    return (worst[..., :whole].sum(axis=-1) + (mass - whole) * worst[..., whole]) / mass


def turnover_per_year(traded: np.ndarray, bars_per_year: float) -> np.ndarray:
    """Half the sum of absolute changes of exposure a year: in and out again once counts 1.

    Parameters
    ----------
    traded : numpy.ndarray, shape (..., n)
        Absolute change of the held exposure at each bar, as a fraction of capital.
    bars_per_year : float
    """
    return np.asarray(0.5 * _series(traded).mean(axis=-1) * _positive(bars_per_year))


def _series(values: np.ndarray) -> np.ndarray:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim < 1 or series.shape[-1] < 1:
        raise InputError("a ratio needs at least one return", got=f"shape {series.shape}")
    return series


def _positive(bars_per_year: float) -> float:
    if not (np.isfinite(bars_per_year) and bars_per_year > 0):
        raise InputError("bars_per_year must be positive", got=repr(bars_per_year))
    return bars_per_year


def _excess(returns: np.ndarray, bars_per_year: float, cash_annual: float) -> np.ndarray:
    if not -0.5 < cash_annual < 0.5:
        raise InputError(
            "the return of cash is not plausible",
            expected="a fraction a year between -0.5 and 0.5, such as 0.02",
            got=repr(cash_annual),
        )
    series = _series(returns)
    if series.shape[-1] < 2:
        raise InputError("a ratio needs at least two returns", got=str(series.shape[-1]))
    return series - cash_annual / _positive(bars_per_year)


def _ratio(
    mean: np.ndarray, risk: np.ndarray, defined: np.ndarray, bars_per_year: float
) -> np.ndarray:
    annual = mean / np.where(defined, risk, 1.0) * np.sqrt(bars_per_year)
    return np.where(defined, annual, np.nan)
