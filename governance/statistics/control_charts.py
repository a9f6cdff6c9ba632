"""CUSUM and EWMA charts whose limits are set by the run length they promise.

Charts take standardised values: mean 0 and standard deviation 1 while nothing has changed. The
run length (ARL) is the expected number of bars until the chart crosses its limit; here it is that
of independent normal values, computed from a Markov chain. For values that are neither,
:mod:`governance.statistics.chart_calibration` sets the limit from a reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import njit
from scipy.optimize import brentq
from scipy.special import ndtr

from finchaos.core.errors import InputError

_STATES = 150
_LIMITS = (0.05, 60.0)  # where limits are looked for


class Chart(Protocol):
    """A two-sided chart without its limit."""

    @property
    def name(self) -> str:
        """For tables: kind and parameter."""
        ...

    def path(self, values: np.ndarray) -> np.ndarray:
        """The charted statistic, shape (2, n), upper and lower side, compared with one limit."""
        ...

    def run_length(self, limit: float, shift: float = 0.0) -> float:
        """Expected bars until a side exceeds ``limit`` when all values are N(shift, 1)."""
        ...

    def highest(self, stretches: np.ndarray) -> np.ndarray:
        """Highest value of either side in each stretch, shape (count,).

        Of stretches of shape (count, bars); the chart starts anew with every one.
        """
        ...


@dataclass(frozen=True)
class Cusum:
    """Cumulative sums of what exceeds ``reference_value``: ``max(0, s + z - k)`` and its mirror.

    Parameters
    ----------
    reference_value : float
        k, half the shift to be found soonest, in standard deviations.

    References
    ----------
    Page, Continuous inspection schemes, Biometrika 41 (1954); Brook & Evans, An approach to the
    probability distribution of cusum run length, Biometrika 59 (1972).

    Examples
    --------
    >>> round(Cusum(0.5).run_length(4.0))  # Montgomery's table: 168
    168
    """

    reference_value: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.reference_value < 5.0:
            raise InputError(
                "impossible CUSUM", expected="a reference value from 0 to 5", got=repr(self)
            )

    @property
    def name(self) -> str:
        """Kind and reference value."""
        return f"cusum k={self.reference_value:g}"

    def path(self, values: np.ndarray) -> np.ndarray:
        """Both sums, shape (2, n), from 0 before the first value."""
        return _cusum_path(_series(values), self.reference_value)

    def run_length(self, limit: float, shift: float = 0.0) -> float:
        """Of both sides together: rates of alarms add (Kemp 1961; exact for two-sided CUSUMs)."""
        k = self.reference_value
        rates = [1.0 / one_sided_cusum_run_length(k, limit, side * shift) for side in (1.0, -1.0)]
        return 1.0 / sum(rates)

    def highest(self, stretches: np.ndarray) -> np.ndarray:
        """Highest of both sums in each stretch, shape (count,)."""
        return _cusum_highest(np.ascontiguousarray(stretches), self.reference_value)


@dataclass(frozen=True)
class Ewma:
    """Exponentially weighted mean ``(1 - w) e + w z`` in its long-run standard deviations.

    Parameters
    ----------
    weight : float
        w, of the newest value.

    References
    ----------
    Roberts, Control chart tests based on geometric moving averages, Technometrics 1 (1959);
    Lucas & Saccucci, Exponentially weighted moving average control schemes, Technometrics 32
    (1990).

    Examples
    --------
    >>> round(Ewma(0.1).run_length(2.814))  # Lucas & Saccucci, Table 3: 500
    500
    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1.0:
            raise InputError("impossible EWMA", expected="a weight in (0, 1]", got=repr(self))

    @property
    def name(self) -> str:
        """Kind and weight."""
        return f"ewma w={self.weight:g}"

    def path(self, values: np.ndarray) -> np.ndarray:
        """The mean and its negative, shape (2, n), from 0 before the first value."""
        mean = _ewma_path(_series(values), self.weight)
        return np.stack([mean, -mean])

    def run_length(self, limit: float, shift: float = 0.0) -> float:
        """Of the chart with constant limits at both sides."""
        _possible(limit)
        return _extrapolated(lambda m: _ewma_chain(self.weight, limit, shift, 2 * m + 1))

    def highest(self, stretches: np.ndarray) -> np.ndarray:
        """Highest absolute mean in each stretch, shape (count,)."""
        return _ewma_highest(np.ascontiguousarray(stretches), self.weight)


def normal_limit(chart: Chart, run_length: float) -> float:
    """The limit at which a chart of independent normal values has this run length.

    Raises
    ------
    InputError
        If the run length is below 2 or beyond a billion.
    """
    if not 2.0 <= run_length <= 1e9:
        raise InputError(
            "no limit has this run length", expected="from 2 to 1e9 bars", got=str(run_length)
        )

    def gap(limit: float) -> float:
        return float(np.log(chart.run_length(limit)) - np.log(run_length))

    # Steps outwards: far beyond the limit the chain's equations cannot be solved any more.
    high = 1.0
    while gap(high) < 0.0 and high < _LIMITS[1]:
        high *= 1.25
    return float(brentq(gap, _LIMITS[0], high, xtol=1e-10))


def one_sided_cusum_run_length(k: float, limit: float, shift: float = 0.0) -> float:
    """Expected bars until ``max(0, s + z - k)`` exceeds ``limit``, z being N(shift, 1).

    The sum is rounded to a grid, which makes a Markov chain; two grids are extrapolated to none.

    References
    ----------
    Brook & Evans (1972), section 2.
    """
    _possible(limit)
    return _extrapolated(lambda m: _cusum_chain(k - shift, limit, m))


def _extrapolated(chain: Callable[[int], tuple[float, float]]) -> float:
    """Richardson's extrapolation: the error of a chain falls with the square of its step."""
    (coarse, wide), (fine, narrow) = chain(_STATES), chain(2 * _STATES)
    return fine + (fine - coarse) / ((wide / narrow) ** 2 - 1.0)


def _cusum_chain(k: float, limit: float, states: int) -> tuple[float, float]:
    """Run length from 0, and the step of the grid."""
    step = 2.0 * limit / (2 * states - 1)
    place = np.arange(states)
    ahead = (place[None, :] - place[:, None]) * step + k
    moves = ndtr(ahead + 0.5 * step) - ndtr(ahead - 0.5 * step)
    moves[:, 0] = ndtr(ahead[:, 0] + 0.5 * step)
    return _absorbed(moves, 0), step


def _ewma_chain(weight: float, limit: float, shift: float, states: int) -> tuple[float, float]:
    half = limit * np.sqrt(weight / (2.0 - weight))
    step = 2.0 * half / states
    centre = -half + (np.arange(states) + 0.5) * step
    from_here = (1.0 - weight) * centre[:, None]
    upper = (centre[None, :] + 0.5 * step - from_here) / weight - shift
    lower = (centre[None, :] - 0.5 * step - from_here) / weight - shift
    return _absorbed(ndtr(upper) - ndtr(lower), states // 2), step


def _absorbed(moves: np.ndarray, start: int) -> float:
    """Expected steps until a chain with these moves among its states leaves them."""
    steps = np.linalg.solve(np.eye(len(moves)) - moves, np.ones(len(moves)))
    return float(steps[start])


def _possible(limit: float) -> None:
    if not 0.0 < limit < np.inf:
        raise InputError("a chart needs a limit above 0", got=repr(limit))


def _series(values: np.ndarray) -> np.ndarray:
    series = np.ascontiguousarray(values, dtype=np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise InputError("a chart needs a finite series", got=f"shape {series.shape}")
    return series


@njit(cache=True, error_model="numpy")
def _cusum_path(z: np.ndarray, k: float) -> np.ndarray:
    found = np.empty((2, len(z)))
    up, down = 0.0, 0.0
    for t in range(len(z)):
        up, down = max(0.0, up + z[t] - k), max(0.0, down - z[t] - k)
        found[0, t], found[1, t] = up, down
    return found


@njit(cache=True, error_model="numpy")
def _cusum_highest(stretches: np.ndarray, k: float) -> np.ndarray:
    found = np.empty(len(stretches))
    for i in range(len(stretches)):
        up, down, most = 0.0, 0.0, 0.0
        for t in range(stretches.shape[1]):
            z = stretches[i, t]
            up, down = max(0.0, up + z - k), max(0.0, down - z - k)
            most = max(most, up, down)
        found[i] = most
    return found


@njit(cache=True, error_model="numpy")
def _ewma_path(z: np.ndarray, weight: float) -> np.ndarray:
    found = np.empty(len(z))
    mean, sigma = 0.0, np.sqrt(weight / (2.0 - weight))
    for t in range(len(z)):
        mean = (1.0 - weight) * mean + weight * z[t]
        found[t] = mean / sigma
    return found


@njit(cache=True, error_model="numpy")
def _ewma_highest(stretches: np.ndarray, weight: float) -> np.ndarray:
    found, sigma = np.empty(len(stretches)), np.sqrt(weight / (2.0 - weight))
    for i in range(len(stretches)):
        mean, most = 0.0, 0.0
        for t in range(stretches.shape[1]):
            mean = (1.0 - weight) * mean + weight * stretches[i, t]
            most = max(most, abs(mean))
        found[i] = most / sigma
    return found
