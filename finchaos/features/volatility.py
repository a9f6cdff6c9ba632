"""Features of variance, from closes and from the range of the bar. Volatilities are per bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.features.formula import (
    PRIOR_VOLATILITY,
    Formula,
    Moves,
    checked_half_life,
    log_volatility,
    memory,
)
from finchaos.features.recursion import Change, Ewma

PRIOR_VARIANCE = PRIOR_VOLATILITY**2


def garman_klass(log_range: np.ndarray, log_body: np.ndarray) -> np.ndarray:
    """Variance of a bar from its range and body, without the overnight gap.

    Never negative, as the body lies inside the range.

    References
    ----------
    Garman and Klass (1980), Journal of Business 53(1), the practical estimator of eq. 20:
    0.5 ln(H/L)^2 - (2 ln 2 - 1) ln(C/O)^2, 7.4 times as efficient as the squared return.
    """
    return 0.5 * log_range**2 - (2.0 * np.log(2.0) - 1.0) * log_body**2


@dataclass(frozen=True)
class _HalfLife:
    """What the formulas here share: one half-life."""

    half_life: float
    version: ClassVar[int] = 1
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked_half_life(self.half_life)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return memory(self.half_life)


@dataclass(frozen=True)
class LogVolatility(_HalfLife):
    """Log of the exponentially weighted root mean square return.

    Parameters
    ----------
    half_life : float
        In bars.
    """

    needs_range: ClassVar[bool] = False

    def open(self, paths: int) -> _LogVolatility:
        """Start from the prior."""
        return _LogVolatility(self.half_life, paths)


class _LogVolatility:
    def __init__(self, half_life: float, paths: int) -> None:
        self._mean = Ewma(half_life, PRIOR_VARIANCE, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return log_volatility(self._mean.advance(moves.log_return**2))


@dataclass(frozen=True)
class LogDownside(_HalfLife):
    """Log of the exponentially weighted downside deviation, root mean square of min(r, 0).

    Parameters
    ----------
    half_life : float
        In bars.

    References
    ----------
    Half-life 10 as in Shu, Yu and Mulvey (2024), "Downside risk reduction using regime-switching
    signals: a statistical jump model approach".
    """

    needs_range: ClassVar[bool] = False

    def open(self, paths: int) -> _LogDownside:
        """Start from the prior."""
        return _LogDownside(self.half_life, paths)


class _LogDownside:
    def __init__(self, half_life: float, paths: int) -> None:
        self._mean = Ewma(half_life, 0.5 * PRIOR_VARIANCE, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return log_volatility(self._mean.advance(np.minimum(moves.log_return, 0.0) ** 2))


@dataclass(frozen=True)
class LogRangeVolatility(_HalfLife):
    """Log of the exponentially weighted Garman-Klass volatility.

    Parameters
    ----------
    half_life : float
        In bars.
    """

    needs_range: ClassVar[bool] = True

    def open(self, paths: int) -> _LogRangeVolatility:
        """Start from the prior."""
        return _LogRangeVolatility(self.half_life, paths)


class _LogRangeVolatility:
    def __init__(self, half_life: float, paths: int) -> None:
        self._mean = Ewma(half_life, PRIOR_VARIANCE, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return log_volatility(self._mean.advance(garman_klass(moves.log_range, moves.log_body)))


@dataclass(frozen=True)
class RangeVolatilityChange(_HalfLife):
    """One-bar change of :class:`LogRangeVolatility`.

    Parameters
    ----------
    half_life : float
        Of the volatility, in bars.
    """

    needs_range: ClassVar[bool] = True

    def open(self, paths: int) -> _RangeVolatilityChange:
        """Start without a change."""
        return _RangeVolatilityChange(self.half_life, paths)


class _RangeVolatilityChange:
    def __init__(self, half_life: float, paths: int) -> None:
        self._level = _LogRangeVolatility(half_life, paths)
        self._change = Change()

    def advance(self, moves: Moves) -> np.ndarray:
        return self._change.advance(self._level.advance(moves))


@dataclass(frozen=True)
class LogVolatilityOfVolatility:
    """Log of the root mean square one-bar change of the Garman-Klass volatility.

    In Heston's model the volatility diffuses with half the volatility of variance whatever its
    level, so that this tells regimes apart by their volatility of variance.

    Parameters
    ----------
    half_life : float
        Of the average of squared changes, in bars.
    level_half_life : float
        Of the volatility whose changes are taken, in bars.
    """

    half_life: float
    level_half_life: float
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked_half_life(self.half_life)
        checked_half_life(self.level_half_life)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return memory(self.half_life) + memory(self.level_half_life)

    def open(self, paths: int) -> _LogVolatilityOfVolatility:
        """Start from the prior."""
        return _LogVolatilityOfVolatility(self, paths)


class _LogVolatilityOfVolatility:
    def __init__(self, formula: LogVolatilityOfVolatility, paths: int) -> None:
        self._variance = Ewma(formula.level_half_life, PRIOR_VARIANCE, paths)
        self._change = Change()
        # Before anything is known the volatility moves by a tenth of itself in a bar.
        self._mean = Ewma(formula.half_life, 0.01 * PRIOR_VARIANCE, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        variance = self._variance.advance(garman_klass(moves.log_range, moves.log_body))
        # Rounding may leave a variance of a bar without range a hair below zero.
        change = self._change.advance(np.sqrt(np.maximum(variance, 0.0)))
        return log_volatility(self._mean.advance(change**2))


FORMULAS: dict[str, type[Formula]] = {
    "log_volatility": LogVolatility,
    "log_downside": LogDownside,
    "log_range_volatility": LogRangeVolatility,
    "range_volatility_change": RangeVolatilityChange,
    "log_volatility_of_volatility": LogVolatilityOfVolatility,
}
