"""Volatility over a window of bars by the published estimators, and RiskMetrics' exponential one.

All are the logarithm of a volatility per bar. Over fewer bars than the window, those not yet seen
count with the prior variance, so that values are finite from the first bar on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import DataError
from finchaos.features.formula import (
    PRIOR_VOLATILITY,
    VOLATILITY_FLOOR,
    Formula,
    Moves,
    log_volatility,
    memory,
    whole,
)
from finchaos.features.recursion import Ema, WindowSum
from finchaos.features.volatility import garman_klass

PRIOR_VARIANCE = PRIOR_VOLATILITY**2


def parkinson(log_range: np.ndarray) -> np.ndarray:
    """Variance of a bar from its range, ln(H/L)^2 / (4 ln 2).

    References
    ----------
    Parkinson (1980), Journal of Business 53(1), 61-65.

    Examples
    --------
    >>> round(float(parkinson(np.array(0.02))) * 1e4, 6)
    1.442695
    """
    return log_range**2 / (4.0 * np.log(2.0))


def rogers_satchell(to_high: np.ndarray, to_low: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Variance of a bar whatever its drift: h (h - c) + l (l - c).

    Parameters
    ----------
    to_high, to_low, body : numpy.ndarray
        h = ln(H/O) >= 0, l = ln(L/O) <= 0 and c = ln(C/O).

    References
    ----------
    Rogers and Satchell (1991), Annals of Applied Probability 1(4), 504-512.
    """
    return to_high * (to_high - body) + to_low * (to_low - body)


def yang_zhang_weight(window: int) -> float:
    """Weight k of the open-to-close variance that makes the estimator's variance least.

    References
    ----------
    Yang and Zhang (2000), Journal of Business 73(3), 477-491: k = 0.34 / (1.34 + (n+1)/(n-1)).

    Examples
    --------
    >>> round(yang_zhang_weight(20), 6)
    0.139044
    """
    return 0.34 / (1.34 + (window + 1.0) / (window - 1.0))


@dataclass(frozen=True)
class _Window:
    """What the formulas here share: a window in bars."""

    window: float = 20
    version: ClassVar[int] = 1
    bounded: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", whole("window", self.window, self.least))

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs nothing."""
        return int(self.window)


@dataclass(frozen=True)
class LogRealised(_Window):
    """Log of the root mean square return of the last bars.

    Parameters
    ----------
    window : int
        In bars.
    """

    needs_range: ClassVar[bool] = False

    def open(self, paths: int) -> _LogMean:
        """Start from the prior."""
        return _LogMean(self, paths)

    def variance(self, moves: Moves) -> np.ndarray:
        """Of each bar."""
        return moves.log_return**2


@dataclass(frozen=True)
class LogParkinson(_Window):
    """Log of the Parkinson volatility of the last bars.

    Parameters
    ----------
    window : int
        In bars.
    """

    needs_range: ClassVar[bool] = True

    def open(self, paths: int) -> _LogMean:
        """Start from the prior."""
        return _LogMean(self, paths)

    def variance(self, moves: Moves) -> np.ndarray:
        """Of each bar."""
        return parkinson(moves.log_range)


@dataclass(frozen=True)
class LogGarmanKlass(_Window):
    """Log of the Garman-Klass volatility of the last bars.

    Parameters
    ----------
    window : int
        In bars.
    """

    needs_range: ClassVar[bool] = True

    def open(self, paths: int) -> _LogMean:
        """Start from the prior."""
        return _LogMean(self, paths)

    def variance(self, moves: Moves) -> np.ndarray:
        """Of each bar."""
        return garman_klass(moves.log_range, moves.log_body)


@dataclass(frozen=True)
class LogRogersSatchell(_Window):
    """Log of the Rogers-Satchell volatility of the last bars.

    Parameters
    ----------
    window : int
        In bars.
    """

    needs_range: ClassVar[bool] = True

    def open(self, paths: int) -> _LogMean:
        """Start from the prior."""
        return _LogMean(self, paths)

    def variance(self, moves: Moves) -> np.ndarray:
        """Of each bar."""
        return _rogers_satchell(moves)


class _LogMean:
    """Log of the root of a windowed mean of variances of bars."""

    def __init__(
        self, formula: LogRealised | LogParkinson | LogGarmanKlass | LogRogersSatchell, paths: int
    ) -> None:
        self._formula = formula
        self._sum = WindowSum(int(formula.window), paths)

    def advance(self, moves: Moves) -> np.ndarray:
        total = self._sum.advance(self._formula.variance(moves))
        unseen = self._sum.window - self._sum.full(len(total))
        return log_volatility((total + unseen * PRIOR_VARIANCE) / self._sum.window)


@dataclass(frozen=True)
class LogYangZhang(_Window):
    """Log of the Yang-Zhang volatility of the last bars, which counts the gaps at the open too.

    The sample variance of overnight returns ln(O_t / C_{t-1}), plus k times that of returns from
    open to close, plus 1 - k times the mean Rogers-Satchell variance.

    Parameters
    ----------
    window : int
        In bars, at least 2.

    References
    ----------
    Yang and Zhang (2000), Journal of Business 73(3), 477-491, eqs. 8 and 9.
    """

    needs_range: ClassVar[bool] = True
    least: ClassVar[int] = 2

    def open(self, paths: int) -> _LogYangZhang:
        """Start from the prior."""
        return _LogYangZhang(int(self.window), paths)


class _LogYangZhang:
    def __init__(self, window: int, paths: int) -> None:
        self._window, self._weight = window, yang_zhang_weight(window)
        self._sums = WindowSum(window, 5 * paths)

    def advance(self, moves: Moves) -> np.ndarray:
        gap, body = np.log(moves.open / moves.previous_close), moves.log_body
        parts = (_rogers_satchell(moves), gap, gap * gap, body, body * body)
        sums = self._sums.advance(np.concatenate(parts, axis=1))
        seen = self._sums.full(len(sums))
        columns = sums.reshape(len(sums), 5, -1).transpose(1, 0, 2)
        inside, gaps, gap_squares, bodies, body_squares = columns
        overnight = _sample_variance(gaps, gap_squares, seen)
        session = _sample_variance(bodies, body_squares, seen)
        variance = overnight + self._weight * session + (1.0 - self._weight) * inside / seen
        known = (seen * variance + (self._window - seen) * PRIOR_VARIANCE) / self._window
        return log_volatility(known)


def _sample_variance(
    total: np.ndarray, squares: np.ndarray, seen: np.ndarray | float
) -> np.ndarray:
    """Over the rows seen; over a single one its square."""
    about_mean = squares - np.where(np.greater(seen, 1.0), total * total / seen, 0.0)
    return np.maximum(about_mean, 0.0) / np.maximum(seen - 1.0, 1.0)


@dataclass(frozen=True)
class LogEwmaVolatility:
    """Log of RiskMetrics' volatility: v_t = decay v_{t-1} + (1 - decay) r_t^2.

    Parameters
    ----------
    decay : float
        Weight of the past, between 0 and 1; 0.94 of daily bars is a half-life of 11.2 bars.
    prior_volatility : float
        Per bar, before the first return; the sample's where the schema is fitted.

    References
    ----------
    J.P. Morgan and Reuters (1996), RiskMetrics technical document, section 5.2.
    """

    decay: float = 0.94
    prior_volatility: float = PRIOR_VOLATILITY
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked_decay(self.decay)
        checked_prior(self.prior_volatility)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return memory(half_life_of(self.decay))

    def fit(self, moves: Moves) -> dict[str, float]:
        """The root mean square return of training moves, as the prior."""
        return {"prior_volatility": fitted_prior(moves)}

    def open(self, paths: int) -> _LogEwmaVolatility:
        """Start from the prior."""
        return _LogEwmaVolatility(self, paths)


class _LogEwmaVolatility:
    def __init__(self, formula: LogEwmaVolatility, paths: int) -> None:
        self._mean = Ema(1.0 - formula.decay, formula.prior_volatility**2, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return log_volatility(self._mean.advance(moves.log_return**2))


@dataclass(frozen=True)
class VolatilityRegime:
    """Log of the realised volatility over its own mean of a longer window.

    Parameters
    ----------
    window : int
        Of the volatility, in bars.
    long_window : int
        Of its mean, in bars.
    """

    window: float = 20
    long_window: float = 252
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", whole("window", self.window))
        long = whole("long_window", self.long_window, int(self.window))
        object.__setattr__(self, "long_window", long)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs nothing."""
        return int(self.window + self.long_window)

    def open(self, paths: int) -> _VolatilityRegime:
        """Start from the prior."""
        return _VolatilityRegime(self, paths)


class _VolatilityRegime:
    def __init__(self, formula: VolatilityRegime, paths: int) -> None:
        self._level = _LogMean(LogRealised(formula.window), paths)
        self._sum = WindowSum(int(formula.long_window), paths)

    def advance(self, moves: Moves) -> np.ndarray:
        level = self._level.advance(moves)
        total = self._sum.advance(np.exp(level))
        return level - np.log(total / self._sum.full(len(total)))


def half_life_of(decay: float) -> float:
    """Half-life in bars of a decay per bar.

    Examples
    --------
    >>> round(half_life_of(0.94), 1)
    11.2
    """
    return float(np.log(0.5) / np.log(decay))


def checked_decay(decay: float) -> None:
    """Refuse what is not between 0 and 1.

    Raises
    ------
    DataError
    """
    if not 0.0 < decay < 1.0:
        raise DataError("a decay must lie between 0 and 1", got=repr(decay))


def checked_prior(volatility: float) -> None:
    """Refuse a prior volatility that is not positive and finite.

    Raises
    ------
    DataError
    """
    if not 0.0 < volatility < np.inf:
        raise DataError("a prior volatility must be positive", got=repr(volatility))


def fitted_prior(moves: Moves) -> float:
    """The root mean square return of training moves, floored."""
    return max(float(np.sqrt(np.mean(moves.log_return**2))), VOLATILITY_FLOOR)


def _rogers_satchell(moves: Moves) -> np.ndarray:
    to_high, to_low = np.log(moves.high / moves.open), np.log(moves.low / moves.open)
    return rogers_satchell(to_high, to_low, moves.log_body)


FORMULAS: dict[str, type[Formula]] = {
    "log_realised": LogRealised,
    "log_parkinson": LogParkinson,
    "log_garman_klass": LogGarmanKlass,
    "log_rogers_satchell": LogRogersSatchell,
    "log_yang_zhang": LogYangZhang,
    "log_ewma_volatility": LogEwmaVolatility,
    "volatility_regime": VolatilityRegime,
}
