"""Technical indicators in their own units, as recursions in constant time per bar.

After its warm-up each equals the function of TA-Lib that its docstring names; before it, it has a
stated neutral value, as it has on a price that does not move. The loops are compiled; see
:mod:`finchaos.features.recursion`.

References
----------
Wilder (1978), New Concepts in Technical Trading Systems: RSI, ATR, ADX, parabolic SAR. Appel
(1979): MACD. Lane (1984): stochastics. Bollinger (2001): bands.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

NOTHING = 1e-18
"""Share of the price that counts as no move at all where a ratio of moves would be 0/0."""


class Rsi:
    """Relative strength index, 0 to 100: TA-Lib's RSI from row ``window`` on, 50 before.

    50 also where nothing moves.
    """

    def __init__(self, window: int, paths: int) -> None:
        self._window = window
        self._seen = 0
        self._state = np.zeros((3, paths))

    def advance(self, close: np.ndarray) -> np.ndarray:
        """Values after each row of closes, shape (t, n)."""
        out = np.empty(close.shape)
        rsi_loop(close, self._window, self._seen, self._state, out)
        self._seen += len(close)
        return out


@njit(cache=True)
def rsi_loop(close: np.ndarray, window: int, seen: int, state: np.ndarray, out: np.ndarray) -> None:
    """Values of :class:`Rsi`; the state holds last close, mean gain and mean loss."""
    last, up, down = state
    for row in range(close.shape[0]):
        for path in range(close.shape[1]):
            price = close[row, path]
            move = price - last[path] if seen > 0 else 0.0
            last[path] = price
            gain = move if move > 0.0 else 0.0
            loss = -move if move < 0.0 else 0.0
            out[row, path] = 50.0
            if seen > window:
                up[path] = (up[path] * (window - 1) + gain) / window
                down[path] = (down[path] * (window - 1) + loss) / window
            else:
                up[path] += gain
                down[path] += loss
                if seen == window:
                    up[path] /= window
                    down[path] /= window
            if seen >= window:
                both = up[path] + down[path] + NOTHING * price
                out[row, path] = 50.0 + 50.0 * (up[path] - down[path]) / both
        seen += 1


class Atr:
    """Average true range in units of the price: TA-Lib's ATR from row ``window`` on.

    Before, the plain mean of true ranges so far; on the first row high less low.
    """

    def __init__(self, window: int, paths: int) -> None:
        self._window = window
        self._seen = 0
        self._state = np.zeros((2, paths))

    def advance(self, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
        """Values after each row, shape (t, n)."""
        out = np.empty(close.shape)
        atr_loop(high, low, close, self._window, self._seen, self._state, out)
        self._seen += len(close)
        return out


@njit(cache=True)
def true_range(high: float, low: float, last: float) -> float:
    """Greatest of high less low and the distances of both from the close before."""
    return max(high - low, abs(high - last), abs(low - last))


@njit(cache=True)
def atr_loop(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    window: int,
    seen: int,
    state: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`Atr`; the state holds last close and sum, later mean, of true ranges."""
    last, mean = state
    for row in range(close.shape[0]):
        for path in range(close.shape[1]):
            top, bottom = high[row, path], low[row, path]
            if seen == 0:
                out[row, path] = top - bottom
            else:
                moved = true_range(top, bottom, last[path])
                if seen > window:
                    mean[path] = (mean[path] * (window - 1) + moved) / window
                    out[row, path] = mean[path]
                else:
                    mean[path] += moved
                    out[row, path] = mean[path] / seen
                    if seen == window:
                        mean[path] = out[row, path]
            last[path] = close[row, path]
        seen += 1


class Directional:
    """Directional indicators and their average index, 0 to 100: TA-Lib's PLUS_DI, MINUS_DI, ADX.

    The first two from row ``window`` on and the index from row ``2 window - 1`` on; 0 before, and
    where nothing moves. Needs a window of at least 2.
    """

    def __init__(self, window: int, paths: int) -> None:
        self._window = window
        self._seen = 0
        self._state = np.zeros((7, paths))

    def advance(self, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
        """+DI, -DI and ADX after each row, shape (3, t, n)."""
        out = np.empty((3, *close.shape))
        directional_loop(high, low, close, self._window, self._seen, self._state, out)
        self._seen += len(close)
        return out


@njit(cache=True)
def directional_loop(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    window: int,
    seen: int,
    state: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`Directional`.

    The state holds the bar before, smoothed sums of upward and downward movement and of true
    range, and the index.
    """
    last_high, last_low, last_close, plus, minus, ranges, index = state
    for row in range(close.shape[0]):
        for path in range(close.shape[1]):
            top, bottom = high[row, path], low[row, path]
            if seen > 0:
                rise, fall = top - last_high[path], last_low[path] - bottom
                up = rise if rise > 0.0 and rise > fall else 0.0
                down = fall if fall > 0.0 and fall > rise else 0.0
                if seen >= window:
                    plus[path] -= plus[path] / window
                    minus[path] -= minus[path] / window
                    ranges[path] -= ranges[path] / window
                plus[path] += up
                minus[path] += down
                ranges[path] += true_range(top, bottom, last_close[path])
            last_high[path], last_low[path] = top, bottom
            last_close[path] = close[row, path]
            out[0, row, path] = out[1, row, path] = out[2, row, path] = 0.0
            if seen >= window:
                nothing = NOTHING * close[row, path]
                out[0, row, path] = 100.0 * plus[path] / (ranges[path] + nothing)
                out[1, row, path] = 100.0 * minus[path] / (ranges[path] + nothing)
                both = plus[path] + minus[path] + nothing
                strength = 100.0 * abs(plus[path] - minus[path]) / both
                if seen < 2 * window - 1:
                    index[path] += strength
                elif seen == 2 * window - 1:
                    index[path] = (index[path] + strength) / window
                else:
                    index[path] = (index[path] * (window - 1) + strength) / window
                if seen >= 2 * window - 1:
                    out[2, row, path] = index[path]
        seen += 1


class Macd:
    """Line and signal in units of the price: TA-Lib's MACD; 0 before their warm-up.

    The line is a fast less a slow exponential mean of closes, both started at row ``slow - 1`` by
    the plain mean of their window; the signal is that of the line, started ``signal - 1`` rows on.
    """

    def __init__(self, fast: int, slow: int, signal: int, paths: int) -> None:
        self._windows = np.array([fast, slow, signal], dtype=np.int64)
        self._seen = 0
        self._state = np.zeros((3, paths))

    @property
    def warmup(self) -> int:
        """Rows before the signal exists."""
        return int(self._windows[1] + self._windows[2] - 2)

    def advance(self, close: np.ndarray) -> np.ndarray:
        """Line and signal after each row, shape (2, t, n)."""
        out = np.empty((2, *close.shape))
        macd_loop(close, self._windows, self._seen, self._state, out)
        self._seen += len(close)
        return out


@njit(cache=True)
def started_mean(mean: float, value: float, seen: int, start: int, window: int) -> float:
    """Exponential mean that rows from ``start`` on feed, at first their sum; ``seen`` is the row.

    Its weight is 2 / (window + 1).
    """
    if seen < start:
        return 0.0
    if seen < start + window:
        mean += value
        return mean / window if seen == start + window - 1 else mean
    return mean + (value - mean) * (2.0 / (window + 1.0))


@njit(cache=True)
def macd_loop(
    close: np.ndarray, windows: np.ndarray, seen: int, state: np.ndarray, out: np.ndarray
) -> None:
    """Values of :class:`Macd`; the state holds the fast and slow means and the signal."""
    fast, slow, signal = windows
    fast_mean, slow_mean, signal_mean = state
    for row in range(close.shape[0]):
        for path in range(close.shape[1]):
            price = close[row, path]
            fast_mean[path] = started_mean(fast_mean[path], price, seen, slow - fast, fast)
            slow_mean[path] = started_mean(slow_mean[path], price, seen, 0, slow)
            line = fast_mean[path] - slow_mean[path] if seen >= slow - 1 else 0.0
            signal_mean[path] = started_mean(signal_mean[path], line, seen, slow - 1, signal)
            out[0, row, path] = line
            out[1, row, path] = signal_mean[path] if seen >= slow + signal - 2 else 0.0
        seen += 1


class Bands:
    """Mean and population standard deviation of the last closes: TA-Lib's SMA and STDDEV.

    Over the closes so far while there are fewer than ``window``. Sums are of differences to the
    newest close and taken anew on every row, so that a window without moves has a deviation of
    exactly zero and its own price as its mean.
    """

    def __init__(self, window: int, paths: int) -> None:
        self._seen = 0
        self._ring = np.zeros((window, paths))

    def advance(self, close: np.ndarray) -> np.ndarray:
        """Mean less the newest close, and deviation, after each row; shape (2, t, n)."""
        out = np.empty((2, *close.shape))
        bands_loop(close, self._seen, self._ring, out)
        self._seen += len(close)
        return out


@njit(cache=True)
def bands_loop(close: np.ndarray, seen: int, ring: np.ndarray, out: np.ndarray) -> None:
    """Values of :class:`Bands`."""
    window = ring.shape[0]
    for row in range(close.shape[0]):
        slot = seen % window
        seen += 1
        count = min(seen, window)
        for path in range(close.shape[1]):
            price = close[row, path]
            ring[slot, path] = price
            total, squares = 0.0, 0.0
            for kept in range(count):
                away = ring[kept, path] - price
                total += away
                squares += away * away
            mean = total / count
            out[0, row, path] = mean
            out[1, row, path] = math.sqrt(max(squares / count - mean * mean, 0.0))


class Stochastic:
    """Slow %K, 0 to 100: TA-Lib's STOCH from row ``window + smooth - 2`` on, 50 before.

    50 also where the window has no range.
    """

    def __init__(self, window: int, smooth: int, paths: int) -> None:
        self._seen = 0
        self._rings = np.zeros((2, window, paths))
        self._fast = np.full((smooth, paths), 50.0)

    def advance(self, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
        """Values after each row, shape (t, n)."""
        out = np.empty(close.shape)
        stochastic_loop(high, low, close, self._seen, self._rings, self._fast, out)
        self._seen += len(close)
        return out


@njit(cache=True)
def stochastic_loop(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    seen: int,
    rings: np.ndarray,
    fast: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`Stochastic`; the rings hold highs and lows, ``fast`` the last fast %K."""
    highs, lows = rings
    window, smooth = highs.shape[0], fast.shape[0]
    for row in range(close.shape[0]):
        slot = seen % window
        for path in range(close.shape[1]):
            highs[slot, path], lows[slot, path] = high[row, path], low[row, path]
            share = 50.0
            if seen >= window - 1:
                top, bottom = highs[0, path], lows[0, path]
                for kept in range(1, window):
                    top, bottom = max(top, highs[kept, path]), min(bottom, lows[kept, path])
                if top > bottom:
                    share = 100.0 * (close[row, path] - bottom) / (top - bottom)
            fast[seen % smooth, path] = share
            total = 0.0
            for kept in range(smooth):
                total += fast[kept, path]
            out[row, path] = total / smooth if seen >= window + smooth - 2 else 50.0
        seen += 1
