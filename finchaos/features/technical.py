"""Technical indicators as scale-free features.

Distances in price are divided by the average true range, which is taken for
:data:`~finchaos.features.formula.VOLATILITY_FLOOR` of the price where it is smaller. Before an
indicator's warm-up its feature has a neutral value: 0, and 0.5 for the position between bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import DataError
from finchaos.features.formula import (
    VOLATILITY_FLOOR,
    Formula,
    Moves,
    memory,
    whole,
)
from finchaos.features.indicators import Atr, Bands, Directional, Macd, Rsi
from finchaos.features.window_volatility import half_life_of

ATR_WINDOW = 14
"""Of the average true range that distances are measured in."""
DEAD_BAND = 0.02
"""MACD less its signal counts as zero within this share of the average true range."""


def wilder_memory(window: float) -> int:
    """Look-back of a mean that keeps (window - 1) / window of itself, and its start.

    Examples
    --------
    >>> wilder_memory(14)
    52
    """
    return int(window) + (memory(half_life_of(1.0 - 1.0 / window)) if window > 1 else 0)


def exponential_memory(window: float) -> int:
    """Look-back of an exponential mean of weight 2 / (window + 1), and its start.

    Examples
    --------
    >>> exponential_memory(26)
    63
    """
    decay = 1.0 - 2.0 / (window + 1.0)
    return int(window) + (memory(half_life_of(decay)) if window > 1 else 0)


def _whole(formula: object, name: str, least: int = 1) -> None:
    """Make a field of a frozen formula a whole number of bars."""
    object.__setattr__(formula, name, whole(name, getattr(formula, name), least))


class TrueRange:
    """Average true range of moves, floored, in units of the price."""

    def __init__(self, paths: int, window: int = ATR_WINDOW) -> None:
        self._atr = Atr(window, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        """Values for the next rows, shape (t, n)."""
        found = self._atr.advance(moves.high, moves.low, moves.close)
        return np.maximum(found, VOLATILITY_FLOOR * moves.close)


@dataclass(frozen=True)
class _Wilder:
    """What formulas after Wilder share: one window."""

    window: float = 14
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = True
    bounded: ClassVar[bool] = True
    least: ClassVar[int] = 1
    means: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _whole(self, "window", self.least)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return self.means * wilder_memory(self.window)


@dataclass(frozen=True)
class RelativeStrength(_Wilder):
    """Wilder's relative strength index, centred: (RSI - 50) / 50, from -1 to 1.

    Parameters
    ----------
    window : int
        In bars.
    """

    needs_range: ClassVar[bool] = False

    def open(self, paths: int) -> _RelativeStrength:
        """Start in the middle."""
        return _RelativeStrength(int(self.window), paths)


class _RelativeStrength:
    def __init__(self, window: int, paths: int) -> None:
        self._rsi = Rsi(window, paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return (self._rsi.advance(moves.close) - 50.0) / 50.0


@dataclass(frozen=True)
class LogTrueRange(_Wilder):
    """Log of Wilder's average true range over the close.

    Parameters
    ----------
    window : int
        In bars.
    """

    bounded: ClassVar[bool] = False

    def open(self, paths: int) -> _LogTrueRange:
        """Start from the first bar's range."""
        return _LogTrueRange(int(self.window), paths)


class _LogTrueRange:
    def __init__(self, window: int, paths: int) -> None:
        self._range = TrueRange(paths, window)

    def advance(self, moves: Moves) -> np.ndarray:
        return np.log(self._range.advance(moves) / moves.close)


@dataclass(frozen=True)
class PlusDirectional(_Wilder):
    """Wilder's +DI over 100, from 0 to 1.

    Parameters
    ----------
    window : int
        In bars, at least 2.
    """

    least: ClassVar[int] = 2
    part: ClassVar[int] = 0

    def open(self, paths: int) -> _Directional:
        """Start without a trend."""
        return _Directional(int(self.window), self.part, paths)


@dataclass(frozen=True)
class MinusDirectional(PlusDirectional):
    """Wilder's -DI over 100, from 0 to 1.

    Parameters
    ----------
    window : int
        In bars, at least 2.
    """

    part: ClassVar[int] = 1


@dataclass(frozen=True)
class DirectionalIndex(PlusDirectional):
    """Wilder's average directional index over 100, from 0 to 1.

    Parameters
    ----------
    window : int
        In bars, at least 2.
    """

    part: ClassVar[int] = 2
    means: ClassVar[int] = 2


class _Directional:
    def __init__(self, window: int, part: int, paths: int) -> None:
        self._directional, self._part = Directional(window, paths), part

    def advance(self, moves: Moves) -> np.ndarray:
        found = self._directional.advance(moves.high, moves.low, moves.close)
        return found[self._part] / 100.0


@dataclass(frozen=True)
class MacdLine:
    """Fast less slow exponential mean of closes, over the average true range.

    Parameters
    ----------
    fast, slow, signal : int
        Windows in bars; fast below slow.
    """

    fast: float = 12
    slow: float = 26
    signal: float = 9
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = True
    bounded: ClassVar[bool] = False
    part: ClassVar[str] = "line"

    def __post_init__(self) -> None:
        for name in ("fast", "slow", "signal"):
            _whole(self, name)
        if not self.fast < self.slow:
            raise DataError("fast must be below slow", got=f"{self.fast} and {self.slow}")

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        slow = exponential_memory(self.slow)
        after = 0 if self.part == "line" else exponential_memory(self.signal)
        return max(slow + after, wilder_memory(ATR_WINDOW))

    def open(self, paths: int) -> _Macd:
        """Start at zero."""
        return _Macd(self, paths)


@dataclass(frozen=True)
class MacdSignal(MacdLine):
    """Exponential mean of the MACD line, over the average true range. Parameters as there."""

    part: ClassVar[str] = "signal"


@dataclass(frozen=True)
class MacdHistogram(MacdLine):
    """MACD less its signal over the average true range, by tanh. Parameters as of the line."""

    bounded: ClassVar[bool] = True
    part: ClassVar[str] = "histogram"


@dataclass(frozen=True)
class MacdMark(MacdLine):
    """Sign of MACD less its signal, 0 within 2 % of the true range. Parameters as of the line."""

    bounded: ClassVar[bool] = True
    part: ClassVar[str] = "mark"


class _Macd:
    def __init__(self, formula: MacdLine, paths: int) -> None:
        self._part = formula.part
        self._macd = Macd(int(formula.fast), int(formula.slow), int(formula.signal), paths)
        self._range = TrueRange(paths)
        self._seen = 0

    def advance(self, moves: Moves) -> np.ndarray:
        line, signal = self._macd.advance(moves.close) / self._range.advance(moves)
        rows = self._seen + np.arange(len(line))[:, None]
        self._seen += len(line)
        if self._part == "line":
            return line
        if self._part == "signal":
            return signal
        above = np.where(rows >= self._macd.warmup, line - signal, 0.0)
        if self._part == "histogram":
            return np.tanh(above)
        return np.sign(above) * (np.abs(above) > DEAD_BAND)


@dataclass(frozen=True)
class BollingerBandwidth:
    """Upper less lower band over the mean of closes, with the population's deviation.

    Parameters
    ----------
    window : int
        In bars, at least 2.
    deviations : float
        From the mean to a band.
    """

    window: float = 20
    deviations: float = 2.0
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _whole(self, "window", 2)
        if not 0.0 < self.deviations < np.inf:
            raise DataError("deviations must be positive", got=repr(self.deviations))

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs nothing."""
        return int(self.window)

    def open(self, paths: int) -> _Bollinger:
        """Start with bands that meet."""
        return _Bollinger(self, paths)


@dataclass(frozen=True)
class BollingerPosition(BollingerBandwidth):
    """Where the close lies between the bands, 0 at the lower and 1 at the upper one.

    0.5 where they meet; cut to -0.5 and 1.5. Parameters as of the bandwidth.
    """

    bounded: ClassVar[bool] = True


class _Bollinger:
    def __init__(self, formula: BollingerBandwidth, paths: int) -> None:
        self._formula = formula
        self._bands = Bands(int(formula.window), paths)

    def advance(self, moves: Moves) -> np.ndarray:
        away, deviation = self._bands.advance(moves.close)
        half = self._formula.deviations * deviation
        if not self._formula.bounded:
            return 2.0 * half / (moves.close + away)
        met = half <= 1e-12 * moves.close
        position = 0.5 - away / np.where(met, 1.0, 2.0 * half)
        return np.where(met, 0.5, np.clip(position, -0.5, 1.5))


@dataclass(frozen=True)
class MeanDistance:
    """Close less the plain mean of closes, over the average true range.

    Over the closes so far while there are fewer than the window.

    Parameters
    ----------
    window : int
        In bars.
    """

    window: float = 20
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _whole(self, "window")

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        return max(int(self.window), wilder_memory(ATR_WINDOW))

    def open(self, paths: int) -> _MeanDistance:
        """Start at the mean."""
        return _MeanDistance(int(self.window), paths)


class _MeanDistance:
    def __init__(self, window: int, paths: int) -> None:
        self._bands, self._range = Bands(window, paths), TrueRange(paths)

    def advance(self, moves: Moves) -> np.ndarray:
        return (0.0 - self._bands.advance(moves.close)[0]) / self._range.advance(moves)


FORMULAS: dict[str, type[Formula]] = {
    "rsi": RelativeStrength,
    "log_atr": LogTrueRange,
    "plus_di": PlusDirectional,
    "minus_di": MinusDirectional,
    "adx": DirectionalIndex,
    "macd_line": MacdLine,
    "macd_signal": MacdSignal,
    "macd_histogram": MacdHistogram,
    "macd_mark": MacdMark,
    "bollinger_bandwidth": BollingerBandwidth,
    "bollinger_position": BollingerPosition,
    "sma_distance": MeanDistance,
}
