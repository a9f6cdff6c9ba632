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
    Borodin and Salminen (2002), Handbook of Brownian Motion, part II, 1.1.8:
    P(max > m) = exp(-2 (m - start) (m - end) / spread).
    """
    top, bottom = np.sqrt((end - start) ** 2 - 2.0 * spread * tail)
    return 0.5 * (start + end + top), 0.5 * (start + end - bottom)
