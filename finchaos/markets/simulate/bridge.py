"""Highs and lows between two simulated prices: extremes of Brownian bridges."""

from __future__ import annotations

import numpy as np


def bridge_extremes(
    start: np.ndarray, end: np.ndarray, spread: np.ndarray, tail: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum and minimum of a Brownian bridge, by inversion of their distribution functions.

    Each has its exact law; that the two are drawn independently widens the range slightly.

    Parameters
    ----------
    start, end : numpy.ndarray, shape (p,)
        Log prices at both ends of the step.
    spread : numpy.ndarray, shape (p,)
        Variance of the unconditioned move over the step, not annual.
    tail : numpy.ndarray, shape (2, p)
        Logarithms of uniform numbers in (0, 1].

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Highest and lowest log price, shape (p,) each.

    References
    ----------
    Glasserman (2004), Monte Carlo Methods in Financial Engineering, section 6.4:
    P(max > m) = exp(-2 (m - start) (m - end) / spread).
    """
    top, bottom = np.sqrt((end - start) ** 2 - 2.0 * spread * tail)
    return 0.5 * (start + end + top), 0.5 * (start + end - bottom)


def bar_range(
    start: np.ndarray, moves: np.ndarray, spread: np.ndarray, tail: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """High, low and end of bars that move by Brownian steps.

    Parameters
    ----------
    start : numpy.ndarray, shape (...)
        Log prices before the first step.
    moves : numpy.ndarray, shape (steps, ...)
    spread : numpy.ndarray, shape (...)
        Variance of one step's unconditioned move.
    tail : numpy.ndarray, shape (steps, 2, ...)
        Logarithms of uniform numbers in (0, 1].

    Returns
    -------
    tuple of three numpy.ndarray, shape (...)
        The range holds start and end.
    """
    high, low, here = start, start, start
    for move, uniform in zip(moves, tail, strict=True):
        end = here + move
        top, bottom = bridge_extremes(here, end, spread, uniform)
        high, low = np.maximum(high, np.maximum(top, end)), np.minimum(low, np.minimum(bottom, end))
        here = end
    return high, low, here
