"""Tests of what should follow nothing: serial correlation, of squares too, and normality.

All statistics reduce the last axis, so that one call serves a stack of simulated series.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from finchaos.core.errors import InputError


def ljung_box(values: np.ndarray, lags: int) -> np.ndarray:
    """Ljung and Box's statistic, shape (...); chi-squared with ``lags`` degrees if independent.

    Parameters
    ----------
    values : numpy.ndarray, shape (..., n)
    lags : int

    References
    ----------
    Ljung & Box, On a measure of lack of fit in time series models, Biometrika 65 (1978).
    """
    centred = _centred(values, lags)
    n = centred.shape[-1]
    total = (centred**2).sum(axis=-1)
    found = np.zeros(centred.shape[:-1])
    for lag in range(1, lags + 1):
        correlation = (centred[..., lag:] * centred[..., :-lag]).sum(axis=-1) / total
        found = found + correlation**2 / (n - lag)
    return n * (n + 2.0) * found


def robust_ljung_box(values: np.ndarray, lags: int) -> np.ndarray:
    """The same where volatility clusters, shape (...); chi-squared with ``lags`` degrees.

    Every autocovariance is divided by its own standard error, which does not take squares as
    independent of each other, only signs as unforeseeable.

    Parameters
    ----------
    values : numpy.ndarray, shape (..., n)
    lags : int

    References
    ----------
    Lobato, Nankervis & Savin, Testing for autocorrelation using a modified Box-Pierce Q test,
    International Economic Review 42 (2001), equation 4; Taylor, Estimating the variances of
    autocorrelations, Journal of the Royal Statistical Society C 33 (1984).
    """
    centred = _centred(values, lags)
    found = np.zeros(centred.shape[:-1])
    for lag in range(1, lags + 1):
        product = centred[..., lag:] * centred[..., :-lag]
        found = found + product.sum(axis=-1) ** 2 / np.maximum(
            (product**2).sum(axis=-1), np.finfo(float).tiny
        )
    return found


def arch_lm(values: np.ndarray, lags: int) -> np.ndarray:
    """Engle's Lagrange multiplier, shape (...): n R-squared of squares on their own lags.

    Chi-squared with ``lags`` degrees if volatility does not cluster.

    Parameters
    ----------
    values : numpy.ndarray, shape (..., n)
        Taken as they are: residuals have mean zero.
    lags : int

    References
    ----------
    Engle, Autoregressive conditional heteroscedasticity, Econometrica 50 (1982), section 8.
    """
    squares = np.asarray(values, dtype=np.float64) ** 2
    _centred(squares, lags)
    n = squares.shape[-1]
    target = squares[..., lags:]
    columns = [squares[..., lags - k : n - k] for k in range(1, lags + 1)]
    design = np.stack(columns, axis=-1)
    design = design - design.mean(axis=-2, keepdims=True)
    target = target - target.mean(axis=-1, keepdims=True)
    moments = np.swapaxes(design, -1, -2) @ design
    product = np.einsum("...ti,...t->...i", design, target)
    solved = np.linalg.solve(moments, product[..., None])[..., 0]
    explained = np.einsum("...i,...i->...", solved, product) / (target**2).sum(axis=-1)
    return (n - lags) * explained


def jarque_bera(values: np.ndarray) -> np.ndarray:
    """Jarque and Bera's statistic, shape (...); chi-squared with 2 degrees if normal.

    Parameters
    ----------
    values : numpy.ndarray, shape (..., n)

    References
    ----------
    Jarque & Bera, A test for normality of observations and regression residuals, International
    Statistical Review 55 (1987).
    """
    return np.asarray(stats.jarque_bera(_centred(values, 1), axis=-1).statistic)


def _centred(values: np.ndarray, lags: int) -> np.ndarray:
    series = np.asarray(values, dtype=np.float64)
    if lags < 1 or series.shape[-1] < 2 * lags + 2 or not np.isfinite(series).all():
        raise InputError(
            "serial dependence needs a long enough finite series",
            expected="at least 2 lags + 2 values, none missing",
            got=f"shape {series.shape}, {lags} lags",
        )
    if (np.ptp(series, axis=-1) == 0.0).any():
        raise InputError("a series that does not vary has no autocorrelation")
    return series - series.mean(axis=-1, keepdims=True)
