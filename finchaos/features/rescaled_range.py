"""Rolling Hurst exponent by the rescaled range, less its bias on independent returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from scipy.special import gammaln

from finchaos.core.errors import DataError
from finchaos.features.formula import whole
from finchaos.features.hurst import NEUTRAL_HURST, next_box
from finchaos.features.window import Rolling, add_to_window, geometric_sizes, slope_weights

STILL = 1e-24
"""Mean squared deviations below this share of the mean square are rounding: no movement."""


def expected_rescaled_range(count: int) -> float:
    """Expected R/S of ``count`` independent normal returns.

    (n - 1/2) / n * Gamma((n - 1) / 2) / (sqrt(pi) Gamma(n / 2)) * sum over i < n of
    sqrt((n - i) / i), with the standard deviation that divides by n.

    Parameters
    ----------
    count : int
        At least 2.

    References
    ----------
    Anis and Lloyd (1976), Biometrika 63(1), 111-116; the first factor is Peters's (1994),
    "Fractal Market Analysis", section 5.

    Examples
    --------
    >>> round(expected_rescaled_range(64), 7)
    8.895524
    """
    n = whole("count", count, 2)
    i = np.arange(1, n)
    gammas = np.exp(gammaln(0.5 * (n - 1)) - gammaln(0.5 * n)) / np.sqrt(np.pi)
    return float((n - 0.5) / n * gammas * np.sqrt((n - i) / i).sum())


@dataclass(frozen=True)
class HurstRescaledRange:
    """Hurst exponent by R/S analysis over the last ``window`` returns, with Anis-Lloyd correction.

    Returns are cut into boxes that touch without overlapping, the newest ending at the newest
    bar. R/S of a box is the range of its cumulative deviations from its mean, over its standard
    deviation; the exponent is 0.5 plus the slope of log(mean R/S / expected R/S) on the log of
    the size, clipped to [0, 1]. Boxes without movement do not count. 0.5 until the window is
    full, and where no box of some size moves. A bar costs a time in the order of the window.

    Parameters
    ----------
    window : float
        Bars.
    box_min : float
        Bars in the smallest box, at least 4.
    box_share : float
        The largest box as a share of the window, at most one half.
    ratio : float
        Of a box size to the one before.

    References
    ----------
    Mandelbrot and Wallis (1969), Water Resources Research 5(5); Weron (2002), Physica A 312, on
    the correction.
    """

    window: float
    box_min: float = 8.0
    box_share: float = 0.5
    ratio: float = 2.0
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("window", self.window, 16)
        whole("box_min", self.box_min, 4)
        if not 0.0 < self.box_share <= 0.5:
            raise DataError(
                "box_share is out of range",
                expected="above 0, at most 0.5",
                got=repr(self.box_share),
            )
        if len(self._sizes) < 3:
            raise DataError(
                "too few sizes of boxes for a slope",
                expected="at least 3 from box_min to box_share times the window",
                got=str(self._sizes.tolist()),
                remedy="raise the window or lower the ratio",
            )

    @property
    def _sizes(self) -> np.ndarray:
        return geometric_sizes(int(self.box_min), self.box_share * self.window, self.ratio)

    @property
    def lookback(self) -> int:
        """The window."""
        return int(self.window)

    def open(self, paths: int) -> Rolling:
        """Start neutral."""
        window, sizes = int(self.window), self._sizes
        boxes = window // sizes
        weights = slope_weights(sizes)
        expected = np.array([expected_rescaled_range(int(size)) for size in sizes])
        shift = float(weights @ np.log(expected)) - 0.5
        starts = np.concatenate([[0], np.cumsum(sizes * boxes)])
        phases = np.concatenate([[0], np.cumsum(sizes)])
        recent = np.zeros((paths, 2 * int(sizes[-1])))
        place = np.zeros((paths, len(sizes), 2), dtype=np.int64)
        before = np.zeros((2, paths, int(phases[-1])))
        kept = np.zeros((2, paths, int(starts[-1])))
        layout = (sizes, boxes, starts, phases)
        return Rolling(
            rescaled_range_loop, (window, weights, shift, layout, recent, place, before, kept)
        )


@njit(cache=True)
def rescaled_range_loop(
    moves: np.ndarray,
    bar: int,
    window: int,
    weights: np.ndarray,
    shift: float,
    layout: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    recent: np.ndarray,
    place: np.ndarray,
    before: np.ndarray,
    kept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`HurstRescaledRange`; ``recent`` holds each return twice, one turn apart.

    The first of ``before`` and ``kept`` is of rescaled ranges, the second of boxes that moved.
    """
    sizes, boxes, starts, phases = layout
    turn = recent.shape[1] // 2
    for path in range(moves.shape[1]):
        for row in range(moves.shape[0]):
            newest = (bar + row) % turn
            recent[path, newest] = recent[path, newest + turn] = moves[row, path]
            hurst, moved = -shift, bar + row + 1 >= window
            for index in range(sizes.shape[0]):
                phase, at = place[path, index, 0], place[path, index, 1]
                slot, start = phases[index] + phase, starts[index] + phase * boxes[index]
                end = newest + turn + 1
                ratio = rescaled_range(recent[path, end - sizes[index] : end])
                total, before[0, path, slot] = add_to_window(
                    kept[0, path], start, boxes[index], at, before[0, path, slot], ratio
                )
                count, before[1, path, slot] = add_to_window(
                    kept[1, path],
                    start,
                    boxes[index],
                    at,
                    before[1, path, slot],
                    1.0 if ratio > 0.0 else 0.0,
                )
                next_box(place[path, index], sizes[index], boxes[index])
                moved = moved and count > 0.0
                if moved:
                    hurst += weights[index] * np.log(total / count)
            out[row, path] = min(max(hurst, 0.0), 1.0) if moved else NEUTRAL_HURST


@njit(cache=True)
def rescaled_range(returns: np.ndarray) -> float:
    """Range of cumulative deviations over the standard deviation; zero without movement."""
    total = 0.0
    for value in returns:
        total += value
    mean = total / returns.shape[0]
    walk, high, low, spread, square = 0.0, 0.0, 0.0, 0.0, 0.0
    for value in returns:
        walk += value - mean
        high, low = max(high, walk), min(low, walk)
        spread += (value - mean) * (value - mean)
        square += value * value
    if spread <= STILL * square:
        return 0.0
    return float((high - low) / np.sqrt(spread / returns.shape[0]))
