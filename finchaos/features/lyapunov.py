"""Largest Lyapunov exponent by Rosenstein's method, of a whole series and rolling.

On a few hundred returns its error is as large as any effect: a research feature, to be judged
against surrogates, not a signal by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from finchaos.core.errors import DataError
from finchaos.features.formula import whole
from finchaos.features.window import Rolling

NEUTRAL_EXPONENT = 0.0
"""The value before the window is full, and where no two points are apart."""


def largest_lyapunov(
    series: np.ndarray,
    *,
    dimension: int,
    lag: int,
    theiler: int,
    fit_from: int,
    fit_to: int,
) -> float:
    """Largest Lyapunov exponent of a series, in 1 / step.

    Every delay vector is followed beside its nearest neighbour, Euclidean, that is more than
    ``theiler`` steps away in time; the exponent is the least-squares slope of the mean log
    distance on the steps ahead, from ``fit_from`` to ``fit_to``. The range is part of the
    question: too short and the pair still turns towards the fastest direction, too long and it
    has reached the size of the attractor.

    Parameters
    ----------
    series : numpy.ndarray, shape (t,)
    dimension, lag : int
        Of the delay vectors.
    theiler : int
        Steps around a point in which no neighbour is sought.
    fit_from, fit_to : int
        Steps ahead, 0 <= fit_from < fit_to.

    Raises
    ------
    DataError
        If a parameter is out of range, the series is too short or not finite, or no two points
        are apart.

    References
    ----------
    Rosenstein, Collins and De Luca (1993), Physica D 65(1-2), 117-134.

    Examples
    --------
    >>> x = [0.3]
    >>> for _ in range(2999): x.append(4.0 * x[-1] * (1.0 - x[-1]))
    >>> sizes = {"dimension": 2, "lag": 1, "theiler": 10}
    >>> round(largest_lyapunov(np.array(x), **sizes, fit_from=0, fit_to=4), 1)
    0.7
    """
    # Refuses what is out of range.
    LargestLyapunov(len(series), dimension, lag, theiler, fit_from, fit_to, 1)
    values = np.require(series, np.float64, ["C", "W"])
    if not np.isfinite(values).all():
        raise DataError("the series has values that are not finite")
    points = len(values) - (dimension - 1) * lag - fit_to
    vectors = np.column_stack([values[c * lag : c * lag + points] for c in range(dimension)])
    others = neighbours(vectors, theiler)
    found = float(divergence_slope(values, others, dimension, lag, fit_from, fit_to))
    if np.isnan(found):
        raise DataError(
            "the series has no two points apart",
            expected="a series that moves",
            remedy="look for a constant or a periodic series",
        )
    return found


def neighbours(vectors: np.ndarray, theiler: int) -> np.ndarray:
    """Row of each row's nearest other that is neither near in time nor the very same.

    Parameters
    ----------
    vectors : numpy.ndarray, shape (n, d)
    theiler : int
        Rows this near in time or nearer do not count.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
        -1 where there is none.
    """
    tree = cKDTree(vectors)
    found = np.full(len(vectors), -1)
    seeking, k = np.arange(len(vectors)), 4
    while seeking.size:
        k = min(2 * k, len(vectors))
        apart, near = tree.query(vectors[seeking], k=k)
        sound = (np.abs(near - seeking[:, None]) > theiler) & (apart > 0.0)
        ok = sound.any(axis=1)
        found[seeking[ok]] = near[ok, sound[ok].argmax(axis=1)]
        if k == len(vectors):
            break
        seeking = seeking[~ok]
    return found


@dataclass(frozen=True)
class LargestLyapunov:
    """Largest Lyapunov exponent of the log returns of the last ``window`` bars, in 1 / bar.

    See :func:`largest_lyapunov`. Measured at the first bar with a full window and at every
    ``stride``-th after it, and held in between; zero before and where no two points are apart. A
    measurement costs a time in the order of the window squared.

    Parameters
    ----------
    window : float
        Bars.
    dimension, lag, theiler, fit_from, fit_to : float
        As in :func:`largest_lyapunov`, whole numbers.
    stride : float
        Bars from one measurement to the next.
    """

    window: float
    dimension: float
    lag: float
    theiler: float
    fit_from: float
    fit_to: float
    stride: float
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        dimension, lag = whole("dimension", self.dimension, 1), whole("lag", self.lag, 1)
        theiler = whole("theiler", self.theiler, 0)
        fit_from = whole("fit_from", self.fit_from, 0)
        fit_to = whole("fit_to", self.fit_to, fit_from + 1)
        whole("stride", self.stride, 1)
        # So that every point has a neighbour to be sought among.
        whole("window", self.window, (dimension - 1) * lag + fit_to + 2 * theiler + 3)

    @property
    def whole(self) -> tuple[int, int, int, int, int]:
        """Dimension, lag, Theiler window and range of the fit."""
        fields = (self.dimension, self.lag, self.theiler, self.fit_from, self.fit_to)
        dimension, lag, theiler, fit_from, fit_to = map(int, fields)
        return dimension, lag, theiler, fit_from, fit_to

    @property
    def lookback(self) -> int:
        """The window, and the bars for which its value may be held."""
        return int(self.window) + int(self.stride) - 1

    def open(self, paths: int) -> Rolling:
        """Start neutral."""
        held = np.full(paths, NEUTRAL_EXPONENT)
        recent = np.zeros((paths, 2 * int(self.window)))
        return Rolling(lyapunov_loop, (self.whole, int(self.stride), held, recent))


@njit(cache=True)
def lyapunov_loop(
    moves: np.ndarray,
    bar: int,
    sizes: tuple[int, int, int, int, int],
    stride: int,
    held: np.ndarray,
    recent: np.ndarray,
    out: np.ndarray,
) -> None:
    """Values of :class:`LargestLyapunov`; ``recent`` holds each return twice, one turn apart."""
    dimension, lag, theiler, fit_from, fit_to = sizes
    window = recent.shape[1] // 2
    for path in range(moves.shape[1]):
        for row in range(moves.shape[0]):
            newest = (bar + row) % window
            recent[path, newest] = recent[path, newest + window] = moves[row, path]
            past = bar + row + 1 - window
            if past >= 0 and past % stride == 0:
                series = recent[path, newest + 1 : newest + window + 1]
                found = rosenstein(series, dimension, lag, theiler, fit_from, fit_to)
                held[path] = NEUTRAL_EXPONENT if np.isnan(found) else found
            out[row, path] = held[path]


@njit(cache=True)
def rosenstein(
    series: np.ndarray, dimension: int, lag: int, theiler: int, fit_from: int, fit_to: int
) -> float:
    """:func:`largest_lyapunov` of a short series; NaN where no two points are apart.

    Neighbours are sought among points that both can be followed to ``fit_to``, so that every
    step of the fit averages the same pairs, but for distances that are zero.
    """
    points = series.shape[0] - (dimension - 1) * lag - fit_to
    others = np.empty(points, dtype=np.int64)
    for point in range(points):
        others[point] = nearest(series, point, points, dimension, lag, theiler)
    return float(divergence_slope(series, others, dimension, lag, fit_from, fit_to))


@njit(cache=True)
def divergence_slope(
    series: np.ndarray,
    others: np.ndarray,
    dimension: int,
    lag: int,
    fit_from: int,
    fit_to: int,
) -> float:
    """Slope of the mean log distance of points and their neighbours, followed ahead together."""
    middle, slope, scale = 0.5 * (fit_from + fit_to), 0.0, 0.0
    for ahead in range(fit_from, fit_to + 1):
        total, count = 0.0, 0
        for point in range(others.shape[0]):
            if others[point] >= 0:
                square = distance(
                    series, point + ahead, others[point] + ahead, dimension, lag, np.inf
                )
                if square > 0.0:
                    total += 0.5 * np.log(square)
                    count += 1
        if count == 0:
            return np.nan
        slope += (ahead - middle) * total / count
        scale += (ahead - middle) ** 2
    return slope / scale


@njit(cache=True)
def nearest(
    series: np.ndarray, point: int, points: int, dimension: int, lag: int, theiler: int
) -> int:
    """The closest delay vector outside the Theiler window that is not the very same; -1 if none."""
    best, found = np.inf, -1
    for other in range(points):
        if abs(other - point) <= theiler:
            continue
        square = distance(series, point, other, dimension, lag, best)
        if 0.0 < square < best:
            best, found = square, other
    return found


@njit(cache=True)
def distance(
    series: np.ndarray, one: int, other: int, dimension: int, lag: int, enough: float
) -> float:
    """Squared distance of two delay vectors, given up once it reaches ``enough``."""
    square = 0.0
    for coordinate in range(dimension):
        gap = series[one + coordinate * lag] - series[other + coordinate * lag]
        square += gap * gap
        if square >= enough:
            break
    return square
