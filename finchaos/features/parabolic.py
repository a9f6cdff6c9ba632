"""Wilder's parabolic stop and reverse, a machine of two states in constant time per bar."""

from __future__ import annotations

import numpy as np
from numba import njit


class Parabolic:
    """Parabolic SAR in units of the price: TA-Lib's SAR from the second row on.

    On the first row the close, and as long as the price does not move at all. A bar whose whole
    range is the stop itself does not reverse it.

    Parameters
    ----------
    acceleration : float
        Share of the way to the extreme that the stop moves at first, and by which each new
        extreme raises that share.
    maximum : float
        Of that share.
    paths : int
    """

    def __init__(self, acceleration: float, maximum: float, paths: int) -> None:
        self._acceleration, self._maximum = min(acceleration, maximum), maximum
        self._seen = 0
        self._state = np.zeros((6, paths))

    def advance(self, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
        """The stop that was in force in each row, shape (t, n)."""
        out = np.empty(close.shape)
        rates = (self._acceleration, self._maximum)
        parabolic_loop(high, low, close, rates, self._seen, self._state, out)
        self._seen += len(close)
        return out


@njit(cache=True)
def parabolic_loop(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    rates: tuple[float, float],
    seen: int,
    state: np.ndarray,
    out: np.ndarray,
) -> None:
    """Stops of :class:`Parabolic`.

    The state holds direction (1 is long), next stop, extreme and acceleration, and high and low
    of the bar before. A short trend is a long one of the negative price.
    """
    acceleration, maximum = rates
    side, stop, extreme, rate, last_high, last_low = state
    for row in range(close.shape[0]):
        for path in range(close.shape[1]):
            top, bottom = high[row, path], low[row, path]
            out[row, path] = close[row, path]
            if seen == 1:
                _start(path, top, bottom, acceleration, state)
            if seen > 0:
                sign = side[path]
                # In the direction of the trend: near is the adverse end of a bar, far the other.
                near, far = (bottom, top) if sign > 0.0 else (-top, -bottom)
                if seen == 1:
                    near_before, far_before = near, far
                elif sign > 0.0:
                    near_before, far_before = last_low[path], last_high[path]
                else:
                    near_before, far_before = -last_high[path], -last_low[path]
                level, best = sign * stop[path], sign * extreme[path]
                if near <= level and not near == level == far:
                    # Reverse: the stop jumps to the extreme, beyond both bars.
                    level = max(best, far_before, far)
                    out[row, path] = sign * level
                    best, rate[path] = near, acceleration
                    level = max(level + acceleration * (best - level), far_before, far)
                    side[path] = -sign
                else:
                    out[row, path] = sign * level
                    if far > best:
                        best = far
                        rate[path] = min(rate[path] + acceleration, maximum)
                    level = min(level + rate[path] * (best - level), near_before, near)
                stop[path], extreme[path] = sign * level, sign * best
            last_high[path], last_low[path] = top, bottom
        seen += 1


@njit(cache=True)
def _start(path: int, top: float, bottom: float, acceleration: float, state: np.ndarray) -> None:
    """Trend of the first two bars: short where the low moved further than the high rose."""
    side, stop, extreme, rate, last_high, last_low = state
    rise, fall = top - last_high[path], last_low[path] - bottom
    short = fall > 0.0 and fall > rise
    side[path] = -1.0 if short else 1.0
    extreme[path] = bottom if short else top
    stop[path] = last_high[path] if short else last_low[path]
    rate[path] = acceleration
