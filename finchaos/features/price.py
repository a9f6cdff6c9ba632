"""Features of returns: size, direction, drawdown."""

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
    checked_half_life,
    memory,
)
from finchaos.features.recursion import Ewma, decay_of, ready


@dataclass(frozen=True)
class LogReturn:
    """Logarithm of the close over the close before: r_t = ln(C_t / C_{t-1})."""

    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False
    lookback: ClassVar[int] = 1

    def open(self, paths: int) -> LogReturn:
        """The formula itself: it remembers nothing."""
        return self

    def advance(self, moves: Moves) -> np.ndarray:
        """Values for the next rows, shape (t, n)."""
        return moves.log_return


@dataclass(frozen=True)
class AbsoluteReturn:
    """Size of the log return, |r_t|."""

    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False
    lookback: ClassVar[int] = 1

    def open(self, paths: int) -> AbsoluteReturn:
        """The formula itself: it remembers nothing."""
        return self

    def advance(self, moves: Moves) -> np.ndarray:
        """Values for the next rows, shape (t, n)."""
        return np.abs(moves.log_return)


@dataclass(frozen=True)
class Drawdown:
    """Log distance below a high that fades: d_t = min(0, decay (d_{t-1} + r_t)).

    A fading high forgets, so that the value depends on recent bars and not on where history
    started; with an endless half-life it is the drawdown from the running high.

    Parameters
    ----------
    half_life : float
        Bars after which an unmoved price has half its drawdown left.
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

    def open(self, paths: int) -> _Drawdown:
        """Start at the high."""
        return _Drawdown(decay_of(self.half_life), np.zeros(paths))


class _Drawdown:
    def __init__(self, keep: float, depth: np.ndarray) -> None:
        self._keep, self._depth = keep, depth

    def advance(self, moves: Moves) -> np.ndarray:
        depths = np.empty(moves.log_return.shape)
        drawdown_loop(ready(moves.log_return), self._keep, self._depth, depths)
        return depths


@njit(cache=True)
def drawdown_loop(moves: np.ndarray, keep: float, depth: np.ndarray, out: np.ndarray) -> None:
    """Depths of :class:`Drawdown`; ``depth`` is changed in place."""
    for row in range(moves.shape[0]):
        for path in range(moves.shape[1]):
            moved = depth[path] + moves[row, path]
            # min(0, moved)
            depth[path] = keep * 0.5 * (moved - abs(moved))
            out[row, path] = depth[path]


@dataclass(frozen=True)
class Momentum:
    """Significance of the average return: tanh(z / 2), z = mean / volatility * sqrt(n).

    Mean and mean square are exponentially weighted with the same half-life, and n is the number
    of equally weighted observations with the same variance of the mean, (1 + decay) /
    (1 - decay). For returns without a trend z is about standard normal.

    Parameters
    ----------
    half_life : float
        In bars.
    """

    half_life: float
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_half_life(self.half_life)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return memory(self.half_life)

    def open(self, paths: int) -> _Momentum:
        """Start without a trend."""
        return _Momentum(self.half_life, paths)


class _Momentum:
    def __init__(self, half_life: float, paths: int) -> None:
        self._mean = Ewma(half_life, 0.0, paths)
        self._square = Ewma(half_life, PRIOR_VOLATILITY**2, paths)
        decay = decay_of(half_life)
        self._root_n = np.sqrt((1.0 + decay) / (1.0 - decay))

    def advance(self, moves: Moves) -> np.ndarray:
        mean = self._mean.advance(moves.log_return)
        square = self._square.advance(moves.log_return**2)
        volatility = np.sqrt(np.maximum(square, VOLATILITY_FLOOR**2))
        return np.tanh(0.5 * self._root_n * mean / volatility)


FORMULAS: dict[str, type[Formula]] = {
    "log_return": LogReturn,
    "absolute_return": AbsoluteReturn,
    "drawdown": Drawdown,
    "momentum": Momentum,
}
