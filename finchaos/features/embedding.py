"""Choice of lag and dimension of a delay embedding, on a training window only."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from finchaos.core.errors import DataError
from finchaos.features.formula import whole


def delay_vectors(series: np.ndarray, dimension: int, lag: int) -> np.ndarray:
    """Rows (x_t, x_{t - lag}, ...) for every t that has them.

    Parameters
    ----------
    series : numpy.ndarray, shape (t,)
    dimension, lag : int

    Returns
    -------
    numpy.ndarray, shape (t - (dimension - 1) * lag, dimension)

    Raises
    ------
    DataError
        If the series is too short or not finite, or a parameter is out of range.

    Examples
    --------
    >>> delay_vectors(np.arange(5.0), 2, 3).tolist()
    [[3.0, 0.0], [4.0, 1.0]]
    """
    reach = (whole("dimension", dimension, 1) - 1) * whole("lag", lag, 1)
    values = _checked(series, reach + 1)
    count = len(values) - reach
    starts = (reach - coordinate * lag for coordinate in range(dimension))
    return np.column_stack([values[start : start + count] for start in starts])


def autocorrelation_lag(series: np.ndarray, max_lag: int) -> int:
    """The first lag at which the autocorrelation is at most 1 / e.

    Parameters
    ----------
    series : numpy.ndarray, shape (t,)
        Of a training window.
    max_lag : int
        Given back if there is no such lag up to it.

    Raises
    ------
    DataError
        If the series is constant, not finite or not longer than twice the largest lag.

    Examples
    --------
    >>> autocorrelation_lag(np.sin(2.0 * np.pi * np.arange(4000) / 40.0), 30)
    8
    """
    values = _checked(series, 2 * whole("max_lag", max_lag, 1) + 1)
    values = values - values.mean()
    power = float(values @ values)
    for lag in range(1, max_lag + 1):
        if float(values[lag:] @ values[:-lag]) <= power / np.e:
            return lag
    return max_lag


def mutual_information(series: np.ndarray, lag: int, bins: int = 16) -> float:
    """Mutual information of a series and itself ``lag`` steps later, in nats.

    From counts in bins of equal probability, less the bias (bins - 1)^2 / (2 n) that independent
    series would show; not below zero.

    Parameters
    ----------
    series : numpy.ndarray, shape (t,)
    lag : int
    bins : int
        Of each axis.

    Raises
    ------
    DataError
        If the series is constant, not finite or too short.

    References
    ----------
    Miller (1955), "Note on the bias of information estimates".
    """
    whole("bins", bins, 2)
    values = _checked(series, 4 * bins + whole("lag", lag, 1))
    edges = np.quantile(values, np.arange(1, bins) / bins)
    place = np.searchsorted(edges, values, side="right")
    pairs = np.zeros((bins, bins))
    np.add.at(pairs, (place[:-lag], place[lag:]), 1.0)
    joint = pairs / pairs.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0.0
    found = float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())
    return max(found - (bins - 1) ** 2 / (2.0 * pairs.sum()), 0.0)


def mutual_information_lag(series: np.ndarray, max_lag: int, bins: int = 16) -> int:
    """The first lag with less mutual information than its neighbours.

    Parameters
    ----------
    series : numpy.ndarray, shape (t,)
        Of a training window.
    max_lag : int
        Given back if information falls all the way to it.
    bins : int

    Raises
    ------
    DataError
        If the series is constant, not finite or too short.

    References
    ----------
    Fraser and Swinney (1986), Physical Review A 33(2), 1134-1140.
    """
    whole("max_lag", max_lag, 1)
    before = mutual_information(series, 1, bins)
    for lag in range(2, max_lag + 1):
        now = mutual_information(series, lag, bins)
        if now >= before:
            return lag - 1
        before = now
    return max_lag


def false_neighbours(
    series: np.ndarray, lag: int, max_dimension: int, *, stretch: float = 10.0, size: float = 2.0
) -> np.ndarray:
    """Share of nearest neighbours that part when a coordinate is added, for each dimension.

    A neighbour is false if the added coordinate is more than ``stretch`` times as far away as
    the vectors were, or the longer vectors are more than ``size`` standard deviations of the
    series apart.

    Parameters
    ----------
    series : numpy.ndarray, shape (t,)
        Of a training window.
    lag, max_dimension : int
    stretch, size : float

    Returns
    -------
    numpy.ndarray, shape (max_dimension,)
        For dimensions from 1 on.

    Raises
    ------
    DataError
        If the series is constant, not finite or too short.

    References
    ----------
    Kennel, Brown and Abarbanel (1992), Physical Review A 45(6), 3403-3411, eq. 4 and 5.
    """
    whole("lag", lag, 1)
    values = _checked(series, whole("max_dimension", max_dimension, 1) * lag + 2)
    spread = float(values.std())
    shares = np.empty(max_dimension)
    for dimension in range(1, max_dimension + 1):
        longer = delay_vectors(values, dimension + 1, lag)
        # The added coordinate is the newest: the future of a deterministic system follows from
        # its past, while its past may not be told from its future.
        vectors, added = longer[:, 1:], longer[:, 0]
        apart, near = cKDTree(vectors).query(vectors, k=2)
        # Of equal vectors either may come first.
        itself = near[:, 0] == np.arange(len(near))
        other = np.where(itself, near[:, 1], near[:, 0])
        close = np.where(itself, apart[:, 1], apart[:, 0])
        gap = np.abs(added - added[other])
        false = (gap > stretch * close) | (np.hypot(gap, close) > size * spread)
        shares[dimension - 1] = false.mean()
    return shares


def embedding_dimension(
    series: np.ndarray, lag: int, max_dimension: int, *, tolerance: float = 0.01
) -> int:
    """The smallest dimension with at most a share ``tolerance`` of false neighbours.

    Parameters
    ----------
    series : numpy.ndarray, shape (t,)
        Of a training window.
    lag : int
    max_dimension : int
        Given back if no smaller dimension will do, as for noise.
    tolerance : float

    Raises
    ------
    DataError
        If the series is constant, not finite or too short, or the tolerance is not in [0, 1).
    """
    if not 0.0 <= tolerance < 1.0:
        raise DataError("tolerance is out of range", expected="0 to 1", got=repr(tolerance))
    enough = np.flatnonzero(false_neighbours(series, lag, max_dimension) <= tolerance)
    return int(enough[0]) + 1 if enough.size else max_dimension


def _checked(series: np.ndarray, least: int) -> np.ndarray:
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or len(values) < least:
        raise DataError(
            "the series is too short for the embedding",
            expected=f"one axis of at least {least} values",
            got=f"shape {values.shape}",
            remedy="take a longer training window, or smaller lags and dimensions",
        )
    if not np.isfinite(values).all():
        raise DataError("the series has values that are not finite")
    if np.ptp(values) == 0.0:
        raise DataError("the series is constant, and a constant has no phase space")
    return values
