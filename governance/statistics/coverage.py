"""Back-tests of value at risk: are quantiles undercut as often as said, and at random?"""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from finchaos.core.errors import InputError

_TOLERANCE = float(np.sqrt(np.finfo(float).eps))


def coverage_ratio(hits: np.ndarray, level: float) -> np.ndarray:
    """Likelihood ratio of unconditional coverage, shape (...); chi-squared with 1 degree.

    Parameters
    ----------
    hits : numpy.ndarray, shape (..., n), bool
    level : float
        Probability of a hit under the null.

    References
    ----------
    Kupiec, Techniques for verifying the accuracy of risk measurement models, Journal of
    Derivatives 3(2), 1995.
    """
    n = hits.shape[-1]
    count = hits.sum(axis=-1).astype(np.float64)
    share = count / n
    null = xlogy(count, level) + xlogy(n - count, 1.0 - level)
    free = xlogy(count, share) + xlogy(n - count, 1.0 - share)
    return np.maximum(2.0 * (free - null), 0.0)


def independence_ratio(hits: np.ndarray) -> np.ndarray:
    """Likelihood ratio of independence against a Markov chain, shape (...); chi-squared with 1.

    Parameters
    ----------
    hits : numpy.ndarray, shape (..., n), bool

    References
    ----------
    Christoffersen, Evaluating interval forecasts, International Economic Review 39(4), 1998,
    equation 9.
    """
    before, now = hits[..., :-1], hits[..., 1:]
    stayed = (before & now).sum(axis=-1).astype(np.float64)
    began = (~before & now).sum(axis=-1).astype(np.float64)
    ended = (before & ~now).sum(axis=-1).astype(np.float64)
    quiet = now.shape[-1] - stayed - began - ended
    share = (began + stayed) / now.shape[-1]
    after_quiet = began / np.maximum(quiet + began, 1.0)
    after_hit = stayed / np.maximum(ended + stayed, 1.0)
    null = xlogy(quiet + ended, 1.0 - share) + xlogy(began + stayed, share)
    chain = (
        xlogy(quiet, 1.0 - after_quiet)
        + xlogy(began, after_quiet)
        + xlogy(ended, 1.0 - after_hit)
        + xlogy(stayed, after_hit)
    )
    return np.maximum(2.0 * (chain - null), 0.0)


def conditional_ratio(hits: np.ndarray, level: float) -> np.ndarray:
    """Sum of the two, shape (...): conditional coverage; chi-squared with 2 degrees."""
    return coverage_ratio(hits, level) + independence_ratio(hits)


def dynamic_quantile(
    hits: np.ndarray, quantiles: np.ndarray, level: float, *, lags: int = 4
) -> np.ndarray:
    """Statistic of the dynamic quantile test, shape (...).

    Hits less their probability are regressed on a constant, their own lags and the quantile
    forecast; under the null none of them helps. Chi-squared with lags + 2 degrees of freedom in
    large samples, lags + 1 if the quantile never changes.

    Parameters
    ----------
    hits : numpy.ndarray, shape (..., n), bool
    quantiles : numpy.ndarray, shape (n,)
    level : float
    lags : int

    References
    ----------
    Engle & Manganelli, CAViaR, Journal of Business & Economic Statistics 22(4), 2004, section 6.
    """
    n = hits.shape[-1]
    if n <= lags + 2:
        raise InputError("too few forecasts for the dynamic quantile test", got=str(n))
    centred = hits.astype(np.float64) - level
    size = float(np.sqrt(np.mean(quantiles[lags:] ** 2)))
    fixed = np.stack([np.ones(n - lags), quantiles[lags:] / (size if size > 0.0 else 1.0)], axis=-1)
    lagged = np.stack([centred[..., lags - k : n - k] for k in range(1, lags + 1)], axis=-1)
    design = np.concatenate(
        [np.broadcast_to(fixed, (*lagged.shape[:-1], fixed.shape[-1])), lagged], axis=-1
    )
    target = centred[..., lags:]
    moments = np.swapaxes(design, -1, -2) @ design
    product = np.einsum("...ti,...t->...i", design, target)
    solved = np.einsum("...ij,...j->...i", np.linalg.pinv(moments, rcond=_TOLERANCE), product)
    return np.einsum("...i,...i->...", solved, product) / (level * (1.0 - level))
