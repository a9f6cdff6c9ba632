"""Intervals of quantiles that ask nothing of the distribution."""

from __future__ import annotations

import numpy as np
from scipy.stats import quantile_test

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
    sample = np.asarray(values, dtype=np.float64)
    if not len(sample) or not np.isfinite(sample).all():
        raise InputError("a median needs finite values", got=f"{len(sample)} values")
    found = quantile_test(sample, p=0.5).confidence_interval(level)
    if not np.isfinite([found.low, found.high]).all():
        return None
    return Interval(
        low=float(found.low),
        high=float(found.high),
        level=level,
        method="order statistics (binomial)",
    )
