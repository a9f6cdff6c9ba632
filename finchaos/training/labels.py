"""What the network learns to say about bars: variances present and to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from finchaos.features.volatility import garman_klass

VARIANCE_FLOOR = 1e-10
"""Variance of a bar below which logarithms stop; a volatility of 0.1 basis points."""
MAD_TO_SD = 1.4826


def bar_variance(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Variance of each bar: squared overnight gap and Garman-Klass range variance.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray, shape (..., t)
        open, high, low and close. The first bar has no gap.

    Returns
    -------
    numpy.ndarray, shape (..., t)
    """
    close = arrays["close"]
    before = np.concatenate([arrays["open"][..., :1], close[..., :-1]], axis=-1)
    gap = np.log(arrays["open"] / before)
    range_ = garman_klass(np.log(arrays["high"] / arrays["low"]), np.log(close / arrays["open"]))
    return gap**2 + range_


def forward_log_variance(variance: np.ndarray, horizons: Sequence[int]) -> np.ndarray:
    """Log of the mean variance of the next bars; NaN where those are not all known.

    Parameters
    ----------
    variance : numpy.ndarray, shape (..., t)
        Variance of each bar.
    horizons : sequence of int
        Numbers of bars k; the last k rows get no label.

    Returns
    -------
    numpy.ndarray, shape (..., t, h)

    Examples
    --------
    >>> forward_log_variance(np.exp([0.0, 1.0, 1.0]), [1, 2])[:, 1].round(6).tolist()
    [1.0, nan, nan]
    """
    total = np.concatenate([np.zeros((*variance.shape[:-1], 1)), variance.cumsum(-1)], axis=-1)
    labels = np.full((*variance.shape, len(horizons)), np.nan)
    for column, bars in enumerate(horizons):
        ahead = (total[..., bars + 1 :] - total[..., 1:-bars]) / bars
        labels[..., : ahead.shape[-1], column] = np.log(np.maximum(ahead, VARIANCE_FLOOR))
    return labels


def standardise(labels: np.ndarray) -> np.ndarray:
    """Labels less their median over their median absolute deviation, column by column.

    NaN stay; a column that does not vary, or has no label, is only centred.
    """
    flat = labels.reshape(-1, labels.shape[-1])
    scaled = np.full_like(flat, np.nan)
    for column in range(flat.shape[1]):
        known = np.isfinite(flat[:, column])
        values = flat[known, column]
        if len(values):
            centred = values - np.median(values)
            spread = MAD_TO_SD * float(np.median(np.abs(centred)))
            scaled[known, column] = centred / (spread if spread > 0.0 else 1.0)
    return scaled.reshape(labels.shape)
