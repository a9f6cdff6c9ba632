"""Coordinates of a market's phase space: delays of one series, and price, volatility, momentum.

The three coordinates of the picture price, volatility and momentum are :class:`PhasePrice` here,
:class:`finchaos.features.volatility.LogVolatility` and :class:`finchaos.features.price.Momentum`,
best with one half-life; the schema ``fractal_v1`` names them ``phase_price``, ``phase_volatility``
and ``phase_momentum``. How to choose lag and dimension of delays: see
:mod:`finchaos.features.embedding`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from finchaos.features.formula import (
    PRIOR_VOLATILITY,
    VOLATILITY_FLOOR,
    Formula,
    Moves,
    Recursion,
    checked_half_life,
    memory,
    whole,
)
from finchaos.features.price import LogReturn
from finchaos.features.recursion import Ewma, decay_of


@dataclass(frozen=True)
class PhasePrice:
    """Distance of the log close from its own exponential average, in standard deviations.

    d_t / (s_t sqrt(decay^2 / (1 - decay^2))): d_t = ln C_t less the normalised exponential mean
    of ln C up to t, s_t the exponentially weighted root mean square return, both with the same
    half-life. On a random walk its variance is about one once the average has filled.

    Parameters
    ----------
    half_life : float
        In bars.
    """

    half_life: float
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked_half_life(self.half_life)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return memory(self.half_life)

    def open(self, paths: int) -> _PhasePrice:
        """Start at the average."""
        return _PhasePrice(self.half_life, paths)


class _PhasePrice:
    def __init__(self, half_life: float, paths: int) -> None:
        self._square = Ewma(half_life, PRIOR_VOLATILITY**2, paths)
        self._decay = decay_of(half_life)
        self._scale = self._decay / np.sqrt(1.0 - self._decay**2)
        self._weight, self._distance = 1.0, np.zeros(paths)

    def advance(self, moves: Moves) -> np.ndarray:
        rows = np.require(moves.log_return, np.float64, ["C", "W"])
        distance = np.empty(rows.shape)
        self._weight = distance_loop(rows, self._decay, self._weight, self._distance, distance)
        square = np.maximum(self._square.advance(rows**2), VOLATILITY_FLOOR**2)
        return distance / (np.sqrt(square) * self._scale)


@njit(cache=True)
def distance_loop(
    moves: np.ndarray, decay: float, weight: float, distance: np.ndarray, out: np.ndarray
) -> float:
    """Distance from a normalised exponential mean, without the level; gives back the weight.

    m += (x - m) / W leaves x - m = (1 - 1 / W) (x - m before).
    """
    for row in range(moves.shape[0]):
        weight = 1.0 + decay * weight
        for path in range(moves.shape[1]):
            distance[path] = (distance[path] + moves[row, path]) * (1.0 - 1.0 / weight)
            out[row, path] = distance[path]
    return weight


@dataclass(frozen=True)
class TakensReturn:
    """One coordinate of a delay vector of log returns: r at ``coordinate * lag`` bars ago.

    Zero until there was such a bar.

    Parameters
    ----------
    dimension, lag : float
        Of the delay vector, whole numbers; lag in bars.
    coordinate : float
        0 is the newest, up to dimension - 1.

    References
    ----------
    Takens (1981), Lecture Notes in Mathematics 898, 366-381.
    """

    dimension: float
    lag: float
    coordinate: float
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _checked_delay(self.dimension, self.lag, self.coordinate)

    @property
    def lookback(self) -> int:
        """Bars up to the delayed one."""
        return int(self.coordinate * self.lag) + 1

    def open(self, paths: int) -> _Delayed:
        """Start with zeros."""
        return _Delayed(LogReturn(), int(self.coordinate * self.lag), paths)


@dataclass(frozen=True)
class TakensPrice:
    """One coordinate of a delay vector of :class:`PhasePrice`.

    Zero until there was such a bar.

    Parameters
    ----------
    half_life : float
        Of the average that the price is measured from, in bars.
    dimension, lag, coordinate : float
        As in :class:`TakensReturn`.
    """

    half_life: float
    dimension: float
    lag: float
    coordinate: float
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked_half_life(self.half_life)
        _checked_delay(self.dimension, self.lag, self.coordinate)

    @property
    def lookback(self) -> int:
        """Bars up to the delayed one, and its own look-back."""
        return int(self.coordinate * self.lag) + memory(self.half_life)

    def open(self, paths: int) -> _Delayed:
        """Start with zeros."""
        delay = int(self.coordinate * self.lag)
        return _Delayed(PhasePrice(self.half_life).open(paths), delay, paths)


def _checked_delay(dimension: float, lag: float, coordinate: float) -> None:
    whole("lag", lag, 1)
    whole("coordinate", coordinate, 0, whole("dimension", dimension, 1) - 1)


class _Delayed:
    """The values of another recursion some bars ago."""

    def __init__(self, of: Recursion, bars: int, paths: int) -> None:
        self._of = of
        self._waiting = np.zeros((bars, paths))

    def advance(self, moves: Moves) -> np.ndarray:
        values = np.concatenate([self._waiting, self._of.advance(moves)])
        rows = len(moves.log_return)
        self._waiting = values[rows:].copy()
        return values[:rows]


FORMULAS: dict[str, type[Formula]] = {
    "phase_price": PhasePrice,
    "takens_return": TakensReturn,
    "takens_price": TakensPrice,
}
