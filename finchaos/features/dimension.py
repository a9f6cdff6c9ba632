"""Rolling fractal dimensions of the log close: 1 for a straight line, 1.5 for a random walk, 2 for
noise that fills the plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from finchaos.features.formula import whole
from finchaos.features.window import Rolling, add_to_window, slope_weights, without_oldest

NEUTRAL_DIMENSION = 1.5
"""The value before the window is full, and of a window without movement at some scale."""
KATZ_MOST = 3.0
"""Katz's dimension has no upper bound of its own; values above this are taken for it."""


@dataclass(frozen=True)
class HiguchiDimension:
    """Higuchi's fractal dimension of the log close over the last ``window`` bars.

    The slope of log L(k) on log(1 / k) for k from 1 to ``scales``. L(k) is the mean, over the k
    ways to take every k-th close counting back from the newest, of the length of that curve,
    normalised to the window; clipped to [1, 2]. 1.5 until the window is full, and where some
    L(k) is zero. A bar costs a time in the order of ``scales`` squared, whatever the window.

    Parameters
    ----------
    window : float
        Bars, at least four times the scales.
    scales : float
        The largest k.

    References
    ----------
    Higuchi (1988), Physica D 31(2), 277-283.
    """

    window: float
    scales: float = 8.0
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        scales = whole("scales", self.scales, 2)
        whole("window", self.window, 4 * scales)

    @property
    def lookback(self) -> int:
        """The window."""
        return int(self.window)

    def open(self, paths: int) -> Rolling:
        """Start neutral."""
        window, scales = int(self.window), int(self.scales)
        weights = -slope_weights(np.arange(1, scales + 1))
        change = np.zeros((paths, scales))
        place = np.zeros((paths, scales, 2), dtype=np.int64)
        # Of each scale and phase: the block so far, the sum, the sum without the oldest.
        sums = np.zeros((paths, scales, scales, 3))
        kept = np.zeros((paths, scales * (window + scales)))
        return Rolling(higuchi_loop, (window, weights, change, place, sums, kept))


@njit(cache=True)
def higuchi_loop(
    moves: np.ndarray,
    bar: int,
    window: int,
    weights: np.ndarray,
    change: np.ndarray,
    place: np.ndarray,
    sums: np.ndarray,
    kept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`HiguchiDimension`; ``change[path, k - 1]`` is the move over k bars."""
    scales = weights.shape[0]
    for path in range(moves.shape[1]):
        for row in range(moves.shape[0]):
            move = moves[row, path]
            for lag in range(scales - 1, 0, -1):
                change[path, lag] = change[path, lag - 1] + move
            change[path, 0] = move
            dimension, moved = 0.0, bar + row + 1 >= window
            for index in range(scales):
                length = curve_length(
                    abs(change[path, index]),
                    index + 1,
                    window,
                    place[path, index],
                    sums[path, index],
                    kept[path, index * (window + scales) :],
                )
                moved = moved and length > 0.0
                if moved:
                    dimension += weights[index] * np.log(length)
            out[row, path] = min(max(dimension, 1.0), 2.0) if moved else NEUTRAL_DIMENSION


@njit(cache=True)
def curve_length(
    step: float, k: int, window: int, place: np.ndarray, sums: np.ndarray, kept: np.ndarray
) -> float:
    """L(k) after one more step over k bars.

    Steps that end k bars apart belong to one of k curves. Counting back from the newest, the
    first ``longer`` curves have ``most`` steps inside the window and the others one less.
    """
    most = (window - 1) // k
    longer = window - most * k
    phase, at = place[0], place[1]
    sums[phase, 1], sums[phase, 0] = add_to_window(
        kept, phase * most, most, at, sums[phase, 0], step
    )
    sums[phase, 2] = without_oldest(kept, phase * most, most, at, sums[phase, 0])
    place[0] += 1
    if place[0] == k:
        place[0] = 0
        place[1] = at + 1 if at + 1 < most else 0
    length = 0.0
    for back in range(k):
        curve = phase - back if phase >= back else phase - back + k
        length += sums[curve, 1] / most if back < longer else sums[curve, 2] / (most - 1)
    return length * (window - 1) / (k * k * k)


@dataclass(frozen=True)
class KatzDimension:
    """Katz's fractal dimension of the log close over the last ``window`` bars.

    log n / (log n + log(d / L)) with n steps of total length L, d the largest distance of a close
    from the oldest; steps and distances are those of the log close alone, so that the unit of
    time does not matter. At least 1, and at most 3 where noise would take it higher. 1.5 until
    the window is full and where nothing moves. A bar costs a time in the order of the window.

    Parameters
    ----------
    window : float
        Bars, at least 3.

    References
    ----------
    Katz (1988), Computers in Biology and Medicine 18(3), 145-156.
    """

    window: float
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("window", self.window, 3)

    @property
    def lookback(self) -> int:
        """The window."""
        return int(self.window)

    def open(self, paths: int) -> Rolling:
        """Start neutral."""
        steps = int(self.window) - 1
        return Rolling(katz_loop, (np.zeros((paths, 2 * steps)),))


@njit(cache=True)
def katz_loop(moves: np.ndarray, bar: int, recent: np.ndarray, out: np.ndarray) -> None:
    """Values of :class:`KatzDimension`; ``recent`` holds each step twice, one turn apart."""
    turn = recent.shape[1] // 2
    for path in range(moves.shape[1]):
        for row in range(moves.shape[0]):
            newest = (bar + row) % turn
            recent[path, newest] = recent[path, newest + turn] = moves[row, path]
            out[row, path] = NEUTRAL_DIMENSION
            if bar + row >= turn:
                out[row, path] = katz(recent[path, newest + 1 : newest + turn + 1])


@njit(cache=True)
def katz(steps: np.ndarray) -> float:
    """Katz's dimension of the curve with these steps, oldest first."""
    level, length, farthest = 0.0, 0.0, 0.0
    for step in steps:
        level += step
        length += abs(step)
        farthest = max(farthest, abs(level))
    if length == 0.0:
        return NEUTRAL_DIMENSION
    log_n = np.log(steps.shape[0])
    below = log_n + np.log(farthest / length)
    # A curve that is nowhere farther from its start than a mean step.
    if below * KATZ_MOST <= log_n:
        return KATZ_MOST
    return float(max(log_n / below, 1.0))
