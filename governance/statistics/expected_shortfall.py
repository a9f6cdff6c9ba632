"""Back-tests of expected shortfall."""

from __future__ import annotations

import numpy as np


def shortfall_given_hits(relative: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Z1 of Acerbi and Szekely, shape (...): one less the mean of loss over shortfall on hits.

    Zero on average if the shortfall is right, negative if losses beyond the quantile are larger
    than said; NaN without a hit.

    Parameters
    ----------
    relative : numpy.ndarray, shape (..., n)
        Outcome over forecast shortfall, both negative in the tail; 0 where there is no hit.
    hits : numpy.ndarray, shape (..., n), bool

    References
    ----------
    Acerbi & Szekely, Backtesting expected shortfall, Risk, December 2014, equation 4.
    """
    count = hits.sum(axis=-1)
    mean = np.where(hits, relative, 0.0).sum(axis=-1) / np.maximum(count, 1)
    return np.where(count > 0, 1.0 - mean, np.nan)


def shortfall_and_hits(relative: np.ndarray, hits: np.ndarray, level: float) -> np.ndarray:
    """Z2 of Acerbi and Szekely, shape (...): the same with the number of hits judged as well.

    Parameters
    ----------
    relative : numpy.ndarray, shape (..., n)
    hits : numpy.ndarray, shape (..., n), bool
    level : float
        Expected share of hits.

    References
    ----------
    Acerbi & Szekely (2014), equation 6.
    """
    expected = level * hits.shape[-1]
    return 1.0 - np.where(hits, relative, 0.0).sum(axis=-1) / expected
