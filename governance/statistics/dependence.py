"""How much a series follows itself, and how many independent values it is therefore worth."""

from __future__ import annotations

import numpy as np

from finchaos.core.errors import InputError


def autocorrelations(values: np.ndarray) -> np.ndarray:
    """Autocorrelations from lag 0 up to where noise takes over, shape (k,).

    Cut before the first pair of neighbouring lags whose sum is negative. A constant or very short
    series has lag 0 alone.

    References
    ----------
    Geyer, Practical Markov chain Monte Carlo, Statistical Science 7 (1992), section 3.3.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or not len(series) or not np.isfinite(series).all():
        raise InputError(
            "autocorrelation needs a finite series", got=f"an array of shape {series.shape}"
        )
    n = len(series)
    if n < 4 or np.ptp(series) == 0.0:
        return np.ones(1)
    centred = series - series.mean()
    size = 1 << (2 * n - 1).bit_length()
    covariance = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[:n]
    correlation = covariance / covariance[0]
    pairs = correlation[: n - n % 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs < 0.0)
    kept = 2 * int(negative[0]) if len(negative) else n
    return correlation[: max(kept, 1)]


def autocorrelation_time(values: np.ndarray, block: int | None = None) -> float:
    """Variance of the mean of a long stretch, relative to independent values of the same spread.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
    block : int, optional
        Count only the dependence that blocks of this length keep when they are joined at random:
        lag k then weighs 1 - k / block.

    References
    ----------
    Künsch, The jackknife and the bootstrap for general stationary observations, Annals of
    Statistics 17 (1989), for the weights.
    """
    correlation = autocorrelations(values)
    weight = np.ones(len(correlation))
    if block is not None:
        weight = np.clip(1.0 - np.arange(len(correlation)) / block, 0.0, None)
    return max(float(2.0 * (weight * correlation).sum() - 1.0), 1.0 / len(values))


def effective_sample_size(values: np.ndarray) -> float:
    """Independent values that would fix the mean as well as these dependent ones; 1 to n.

    Examples
    --------
    >>> independent = np.random.default_rng(0).normal(size=5000)
    >>> bool(4000 < effective_sample_size(independent) <= 5000)
    True
    """
    n = len(values)
    return float(np.clip(n / autocorrelation_time(values), 1.0, n))


def share_kept_by_blocks(values: np.ndarray, block: int) -> float:
    """Share of the long-run variance that random blocks of this length keep, in (0, 1]."""
    return float(
        np.clip(autocorrelation_time(values, block) / autocorrelation_time(values), 1e-3, 1.0)
    )
