"""Features of the path as a curve: its bending in units of volatility, and indicators led by it."""

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
    Recursion,
    checked_number,
    memory,
    whole,
)
from finchaos.features.indicators import Directional, Rsi
from finchaos.features.recursion import Change, Ema
from finchaos.features.technical import exponential_memory, wilder_memory
from finchaos.features.trend import ParabolicDistance
from finchaos.features.window_volatility import (
    checked_decay,
    checked_prior,
    fitted_prior,
    half_life_of,
)

MEDIAN_SIZE = 0.6744897501960817
"""Phi^-1(0.75): the median absolute value of a standard normal variable."""
STOP_DISTANCE = 10.0
"""Bound of the distance of the adaptive stop, in average true ranges."""


def menger_curvature(
    first: np.ndarray, middle: np.ndarray, last: np.ndarray, spacing: float = 1.0
) -> np.ndarray:
    """Curvature of three points at equal distances in time: four times area over sides.

    It is the inverse radius of the circle through them, and 0 on a line.

    Parameters
    ----------
    first, middle, last : numpy.ndarray
        Heights of the points.
    spacing : float
        Between their times.

    References
    ----------
    Menger (1930), Mathematische Annalen 103, 466-501.

    Examples
    --------
    On a circle of radius 5:

    >>> heights = np.sqrt(25.0 - np.array([-1.0, 0.0, 1.0]) ** 2)
    >>> round(float(menger_curvature(*heights)), 12)
    0.2
    """
    bend = 2.0 * spacing * np.abs(first - 2.0 * middle + last)
    one = np.sqrt(spacing**2 + (middle - first) ** 2)
    two = np.sqrt(spacing**2 + (last - middle) ** 2)
    across = np.sqrt(4.0 * spacing**2 + (last - first) ** 2)
    return bend / (one * two * across)


class _Volatility:
    """RiskMetrics' volatility, floored."""

    def __init__(self, decay: float, prior_volatility: float, paths: int) -> None:
        self._mean = Ema(1.0 - decay, prior_volatility**2, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return np.sqrt(np.maximum(self._mean.advance(moves.log_return**2), VOLATILITY_FLOOR**2))


@dataclass(frozen=True)
class _Scaled:
    """What formulas in units of volatility share.

    Parameters
    ----------
    decay : float
        Of the exponentially weighted variance, per bar.
    prior_volatility : float
        Per bar, before the first return; the sample's where the schema is fitted.
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
        """The constants that training moves determine."""
        return {"prior_volatility": fitted_prior(moves)}


@dataclass(frozen=True)
class Curvature(_Scaled):
    """ln(1 + Menger curvature) of the last three points (t, r_t / volatility_t).

    Points before the first bar lie at 0. Scale-free and bounded: at most 0.7.
    """

    bounded: ClassVar[bool] = True

    def open(self, paths: int) -> Recursion:
        """Start on a straight line."""
        return _Curvature(self, paths)


class _Curvature:
    def __init__(self, formula: Curvature, paths: int) -> None:
        self._volatility = _Volatility(formula.decay, formula.prior_volatility, paths)
        self._points = np.zeros((2, paths))

    def advance(self, moves: Moves) -> np.ndarray:
        heights = moves.log_return / self._volatility.advance(moves)
        points = np.concatenate([self._points, heights])
        self._points = points[-2:].copy()
        return np.log1p(menger_curvature(points[:-2], points[1:-1], points[2:]))


@dataclass(frozen=True)
class KappaProxy(_Scaled):
    """Bending of the log price in units of volatility: mean of r_t - r_{t-1} over volatility.

    Parameters
    ----------
    window : int
        Of the exponential mean, whose weight is 2 / (window + 1), in bars.
    legacy : int
        1 for the plain r_t - 2 r_{t-1} + r_{t-2} in place of the mean, as first printed; that is
        a third difference of the log price.
    """

    window: float = 64
    legacy: float = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "window", whole("window", self.window))
        if self.legacy not in (0, 1):
            raise DataError("legacy must be 0 or 1", got=repr(self.legacy))

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return max(exponential_memory(self.window), super().lookback)

    def open(self, paths: int) -> Recursion:
        """Start on a straight line."""
        return _KappaProxy(self, paths)

    @property
    def noise_median(self) -> float:
        """Median size over independent normal returns of constant volatility.

        With weight a the mean of differences has the variance 2 a^2 / (2 - a) of a return, and
        the legacy form 6 times that of a return.
        """
        gain = 2.0 / (self.window + 1.0)
        variance = 6.0 if self.legacy else 2.0 * gain**2 / (2.0 - gain)
        return MEDIAN_SIZE * float(np.sqrt(variance))


class _KappaProxy:
    def __init__(self, formula: KappaProxy, paths: int) -> None:
        self._legacy = bool(formula.legacy)
        self._volatility = _Volatility(formula.decay, formula.prior_volatility, paths)
        self._change, self._second = Change(), Change()
        self._mean = Ema(2.0 / (formula.window + 1.0), 0.0, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        change = self._change.advance(moves.log_return)
        bend = self._second.advance(change) if self._legacy else self._mean.advance(change)
        return bend / self._volatility.advance(moves)


@dataclass(frozen=True)
class VolatilityEnergy(KappaProxy):
    """ln(1 + |kappa| / median |kappa|), of :class:`KappaProxy`; ln 2 at the median.

    Parameters
    ----------
    median : float, optional
        Of the training window where the schema is fitted; that of independent normal returns
        where it is left out.
    """

    median: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.median is not None and not 0.0 < self.median < np.inf:
            raise DataError("the median of |kappa| must be positive", got=repr(self.median))

    def fit(self, moves: Moves) -> dict[str, float]:
        """The constants that training moves determine.

        Raises
        ------
        DataError
            If the training window does not move.
        """
        found = super().fit(moves)
        paths = moves.log_return.shape[1]
        plain = KappaProxy(self.decay, found["prior_volatility"], self.window, self.legacy)
        median = float(np.median(np.abs(plain.open(paths).advance(moves))))
        if median <= 0.0:
            raise DataError(
                "the training window's median curvature is zero",
                expected="returns that change in most bars",
                got=f"{len(moves.log_return)} bars, most without a change",
                remedy="fit on bars that move, or leave the median out",
            )
        return {**found, "median": median}

    def open(self, paths: int) -> Recursion:
        """Start without energy."""
        return _VolatilityEnergy(self, paths)


class _VolatilityEnergy:
    def __init__(self, formula: VolatilityEnergy, paths: int) -> None:
        self._kappa = _KappaProxy(formula, paths)
        self._median = formula.noise_median if formula.median is None else formula.median

    def advance(self, moves: Moves) -> np.ndarray:
        return np.log1p(np.abs(self._kappa.advance(moves)) / self._median)


@dataclass(frozen=True)
class DynamicRelativeStrength(KappaProxy):
    """RSI led by curvature and centred: (RSI - 50) (1 + beta tanh kappa) / 50, cut to [-1, 1].

    Parameters
    ----------
    beta : float
        Weight of the curvature, 0 to 1.
    rsi_window : int
        Of the RSI, in bars.
    """

    beta: float = 0.5
    rsi_window: float = 14
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number("beta", self.beta, 0.0, 1.0)
        object.__setattr__(self, "rsi_window", whole("rsi_window", self.rsi_window))

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return max(super().lookback, wilder_memory(self.rsi_window))

    def open(self, paths: int) -> Recursion:
        """Start in the middle."""
        return _DynamicRelativeStrength(self, paths)


class _DynamicRelativeStrength:
    def __init__(self, formula: DynamicRelativeStrength, paths: int) -> None:
        self._kappa, self._beta = _KappaProxy(formula, paths), formula.beta
        self._rsi = Rsi(int(formula.rsi_window), paths)

    def advance(self, moves: Moves) -> np.ndarray:
        centred = (self._rsi.advance(moves.close) - 50.0) / 50.0
        led = centred * (1.0 + self._beta * np.tanh(self._kappa.advance(moves)))
        return np.clip(led, -1.0, 1.0)


@dataclass(frozen=True)
class AdaptiveDirectionalIndex(VolatilityEnergy):
    """ADX damped by the energy of volatility, over 100: ADX / (1 + gamma E) / 100, from 0 to 1.

    Parameters
    ----------
    gamma : float
        Weight of the energy, not negative.
    adx_window : int
        Of the ADX, in bars.
    """

    gamma: float = 0.15
    adx_window: float = 14
    needs_range: ClassVar[bool] = True
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number("gamma", self.gamma, 0.0, 1e6)
        object.__setattr__(self, "adx_window", whole("adx_window", self.adx_window, 2))

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return max(super().lookback, 2 * wilder_memory(self.adx_window))

    def open(self, paths: int) -> Recursion:
        """Start without a trend."""
        return _AdaptiveDirectionalIndex(self, paths)


class _AdaptiveDirectionalIndex:
    def __init__(self, formula: AdaptiveDirectionalIndex, paths: int) -> None:
        self._energy, self._gamma = _VolatilityEnergy(formula, paths), formula.gamma
        self._directional = Directional(int(formula.adx_window), paths)

    def advance(self, moves: Moves) -> np.ndarray:
        index = self._directional.advance(moves.high, moves.low, moves.close)[2]
        return index / 100.0 / (1.0 + self._gamma * self._energy.advance(moves))


@dataclass(frozen=True)
class AdaptiveParabolic(ParabolicDistance):
    """Distance from the parabolic stop in average true ranges, cut to 10 on either side.

    What adapts is the unit; parameters as of the distance without bounds.
    """

    bounded: ClassVar[bool] = True

    def open(self, paths: int) -> Recursion:
        """Start at the stop."""
        return _AdaptiveParabolic(self, paths)


class _AdaptiveParabolic:
    def __init__(self, formula: AdaptiveParabolic, paths: int) -> None:
        self._distance = ParabolicDistance(formula.acceleration, formula.maximum).open(paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return np.clip(self._distance.advance(moves), -STOP_DISTANCE, STOP_DISTANCE)


FORMULAS: dict[str, type[Formula]] = {
    "curvature": Curvature,
    "kappa_proxy": KappaProxy,
    "vol_energy": VolatilityEnergy,
    "rsi_dyn": DynamicRelativeStrength,
    "adx_adaptive": AdaptiveDirectionalIndex,
    "psar_adaptive": AdaptiveParabolic,
}
