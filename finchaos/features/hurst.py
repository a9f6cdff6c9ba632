"""Rolling Hurst exponents: 0.5 for a random walk, more where moves persist, less where they revert.

On 256 bars the standard deviation of any of these estimates is about 0.05 to 0.1; treat
differences below that as noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from finchaos.core.errors import DataError
from finchaos.features.formula import whole
from finchaos.features.window import Rolling, add_to_window, geometric_sizes, slope_weights

NEUTRAL_HURST = 0.5
"""The value before the window is full, and of a window without movement at some scale."""
STRAIGHT = 1e-13
"""Squared residuals below this share of the squares are rounding: the box is a straight line."""


@dataclass(frozen=True)
class GeneralisedHurst:
    """Generalised Hurst exponent of order two of the log close over the last ``window`` bars.

    Half the slope of log K(k) on log k for lags k from 1 to ``lags``, where K(k) is the mean
    squared change over k bars inside the window; clipped to [0, 1]. A drift counts as
    persistence. 0.5 until the window is full, and where K(k) is zero at some lag. A bar costs a
    time that depends on ``lags`` only.

    Parameters
    ----------
    window : float
        Bars, at least four times the lags.
    lags : float
        The longest lag, in bars.

    References
    ----------
    Di Matteo, Aste and Dacorogna (2005), Journal of Banking and Finance 29(4), eq. 1 and 2.
    """

    window: float
    lags: float = 16.0
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        lags = whole("lags", self.lags, 2)
        whole("window", self.window, 4 * lags)

    @property
    def lookback(self) -> int:
        """The window."""
        return int(self.window)

    def open(self, paths: int) -> Rolling:
        """Start neutral."""
        window, lags = int(self.window), int(self.lags)
        lag = np.arange(1, lags + 1)
        weights = 0.5 * slope_weights(lag)
        shift = float(weights @ np.log(window - lag))
        place = np.zeros((paths, lags), dtype=np.int64)
        kept = np.zeros((paths, lags * window))
        change, before = np.zeros((paths, lags)), np.zeros((paths, lags))
        return Rolling(
            generalised_hurst_loop, (window, weights, shift, change, place, before, kept)
        )


@njit(cache=True)
def generalised_hurst_loop(
    moves: np.ndarray,
    bar: int,
    window: int,
    weights: np.ndarray,
    shift: float,
    change: np.ndarray,
    place: np.ndarray,
    before: np.ndarray,
    kept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`GeneralisedHurst`; ``change[path, k - 1]`` is the move over k bars."""
    lags = weights.shape[0]
    for path in range(moves.shape[1]):
        for row in range(moves.shape[0]):
            move = moves[row, path]
            for lag in range(lags - 1, 0, -1):
                change[path, lag] = change[path, lag - 1] + move
            change[path, 0] = move
            hurst, moved = -shift, bar + row + 1 >= window
            for lag in range(lags):
                size, at = window - lag - 1, place[path, lag]
                square = change[path, lag] * change[path, lag]
                total, before[path, lag] = add_to_window(
                    kept[path], lag * window, size, at, before[path, lag], square
                )
                place[path, lag] = at + 1 if at + 1 < size else 0
                moved = moved and total > 0.0
                if moved:
                    hurst += weights[lag] * np.log(total)
            out[row, path] = min(max(hurst, 0.0), 1.0) if moved else NEUTRAL_HURST


@dataclass(frozen=True)
class HurstDetrended:
    """Hurst exponent by detrended fluctuation analysis of order one over the last ``window`` bars.

    The log close is the profile. It is cut into boxes that touch without overlapping, the newest
    ending at the newest bar; F(n) is the root mean square distance from each box's own straight
    line, and the exponent is the slope of log F(n) on log n, clipped to [0, 1]. 0.5 until the
    window is full, and where all boxes of a size are straight lines. A bar costs a time in the
    order of the largest box.

    Parameters
    ----------
    window : float
        Bars.
    box_min : float
        Bars in the smallest box, at least 4.
    box_share : float
        The largest box as a share of the window, at most a quarter.
    ratio : float
        Of a box size to the one before.

    References
    ----------
    Peng et al. (1994), Physical Review E 49(2), 1685-1689. The packages nolds and antropy take
    sizes from 4 to a tenth of the series; smaller boxes than the default's 10 have less noise
    and more bias (0.06 upwards from 4 to 25 in a window of 256).
    """

    window: float
    box_min: float = 10.0
    box_share: float = 0.25
    ratio: float = 1.2
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("window", self.window, 16)
        whole("box_min", self.box_min, 4)
        if not 0.0 < self.box_share <= 0.25:
            raise DataError(
                "box_share is out of range",
                expected="above 0, at most 0.25",
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
        weights = 0.5 * slope_weights(sizes)
        shift = float(weights @ np.log(sizes * boxes))
        starts = np.concatenate([[0], np.cumsum(sizes * boxes)])
        phases = np.concatenate([[0], np.cumsum(sizes)])
        profile = np.zeros((paths, int(sizes[-1])))
        place = np.zeros((paths, len(sizes), 2), dtype=np.int64)
        before, kept = np.zeros((paths, int(phases[-1]))), np.zeros((paths, int(starts[-1])))
        layout = (sizes, boxes, starts, phases)
        return Rolling(
            detrended_loop, (window, weights, shift, layout, profile, place, before, kept)
        )


@njit(cache=True)
def detrended_loop(
    moves: np.ndarray,
    bar: int,
    window: int,
    weights: np.ndarray,
    shift: float,
    layout: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    profile: np.ndarray,
    place: np.ndarray,
    before: np.ndarray,
    kept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`HurstDetrended`; ``profile[path, j]`` is the move since j bars ago."""
    sizes, boxes, starts, phases = layout
    residual = np.empty(sizes.shape[0])
    for path in range(moves.shape[1]):
        for row in range(moves.shape[0]):
            box_residuals(profile[path], moves[row, path], sizes, residual)
            hurst, moved = -shift, bar + row + 1 >= window
            for index in range(sizes.shape[0]):
                phase, at = place[path, index, 0], place[path, index, 1]
                slot = phases[index] + phase
                total, before[path, slot] = add_to_window(
                    kept[path],
                    starts[index] + phase * boxes[index],
                    boxes[index],
                    at,
                    before[path, slot],
                    residual[index],
                )
                next_box(place[path, index], sizes[index], boxes[index])
                moved = moved and total > 0.0
                if moved:
                    hurst += weights[index] * np.log(total)
            out[row, path] = min(max(hurst, 0.0), 1.0) if moved else NEUTRAL_HURST


@njit(cache=True)
def next_box(place: np.ndarray, size: int, boxes: int) -> None:
    """Move on by a bar: boxes that end ``size`` bars apart share a window of ``boxes`` values."""
    place[0] += 1
    if place[0] == size:
        place[0] = 0
        place[1] += 1
        if place[1] == boxes:
            place[1] = 0


@njit(cache=True)
def box_residuals(
    profile: np.ndarray, move: float, sizes: np.ndarray, residual: np.ndarray
) -> None:
    """Squared distances from a straight line, summed over the newest box of each size."""
    for back in range(profile.shape[0] - 1, 0, -1):
        profile[back] = profile[back - 1] + move
    total, moment, square, back = 0.0, 0.0, 0.0, 0
    for index in range(sizes.shape[0]):
        size = sizes[index]
        while back < size:
            value = profile[back]
            total += value
            moment += back * value
            square += value * value
            back += 1
        mean = total / size
        tilt = moment - 0.5 * (size - 1) * total
        left = square - mean * total - tilt * tilt * 12.0 / (size * (size * size - 1.0))
        residual[index] = left if left > STRAIGHT * square else 0.0
