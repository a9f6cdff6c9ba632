"""Intervals of quantiles that ask nothing of the distribution."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from finchaos.core.errors import InputError
from governance.record import Interval


def median_interval(values: np.ndarray, *, level: float = 0.95) -> Interval | None:
    """Interval of the median between two order statistics of independent values.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
    level : float
        Coverage, at least this for every continuous distribution.

    Returns
    -------
    Interval or None
        None if n is too small for any interval of this level (below 6 for 0.95).

    References
    ----------
    Hahn & Meeker, Statistical Intervals (1991), section 5.3; David & Nagaraja, Order Statistics
    (2003), section 7.1.

    Examples
    --------
    >>> found = median_interval(np.arange(1.0, 11.0))
    >>> found.low, found.high
    (2.0, 9.0)
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n < 1 or not np.isfinite(ordered).all():
        raise InputError("a median needs finite values", got=f"{n} values")
    below = int(binom.ppf(0.5 * (1.0 - level), n, 0.5))
    # The k-th smallest lies above the median with probability P(B < k), B ~ binomial(n, 1/2).
    rank = below if binom.cdf(below, n, 0.5) > 0.5 * (1.0 - level) else below + 1
    if rank < 1:
        return None
    return Interval(
        low=float(ordered[rank - 1]),
        high=float(ordered[n - rank]),
        level=level,
        method="order statistics (binomial)",
    )
