"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from finchaos.core.errors import InputError


def berkowitz_ratio(pit: np.ndarray) -> np.ndarray:
    """Likelihood ratio of independent standard normal scores, shape (...).

    Against a Gaussian autoregression of first order with free mean and variance, conditional on
    the first score; chi-squared with 3 degrees.

    Parameters
    ----------
    pit : numpy.ndarray, shape (..., n)
        Probability integral transforms, inside (0, 1).

    References
    ----------
    Berkowitz, Testing density forecasts, with applications to risk management, Journal of Business
    & Economic Statistics 19(4), 2001, equations 7 and 8.
    """
    if not ((pit > 0.0) & (pit < 1.0)).all():
        raise InputError("probability integral transforms lie between 0 and 1")
    scores = ndtri(pit)
    before, now = scores[..., :-1], scores[..., 1:]
    x = before - before.mean(axis=-1, keepdims=True)
    y = now - now.mean(axis=-1, keepdims=True)
    slope = (x * y).sum(axis=-1) / (x**2).sum(axis=-1)
    residual = y - slope[..., None] * x
    n = now.shape[-1]
    variance = (residual**2).mean(axis=-1)
    found = (now**2).sum(axis=-1) - n * (np.log(variance) + 1.0)
    return np.maximum(found, 0.0)


@dataclass(frozen=True, eq=False)
class BrierScore:
    """A Brier score and what it is made of.

    ``score = reliability - resolution + uncertainty + within_bins``, exactly.

    Attributes
    ----------
    score : float
        Mean squared difference of probability and event.
    reliability : float
        Mean squared difference of mean probability and event rate by bin; 0 is calibrated.
    resolution : float
        Mean squared difference of event rate by bin from the overall rate.
    uncertainty : float
        Variance of the event.
    within_bins : float
        What binning hides: variance of probabilities within a bin less twice their covariance
        with the event.
    counts, probabilities, rates : numpy.ndarray, shape (bins,)
        Of the bins that are not empty.
    bins : numpy.ndarray, shape (n,)
        Bin of every forecast, from 0.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float
    counts: np.ndarray
    probabilities: np.ndarray
    rates: np.ndarray
    bins: np.ndarray


def brier_score(probability: np.ndarray, event: np.ndarray, bins: int = 10) -> BrierScore:
    """Score and decomposition.

    Parameters
    ----------
    probability : numpy.ndarray, shape (n,)
        In [0, 1].
    event : numpy.ndarray, shape (n,), bool
    bins : int
        Of equal width. Where forecasts take no more values than this, each value is a bin.

    References
    ----------
    Murphy, A new vector partition of the probability score, Journal of Applied Meteorology 12
    (1973); Stephenson, Coelho & Jolliffe, Two extra components in the Brier score decomposition,
    Weather and Forecasting 23 (2008).
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(event, dtype=np.float64)
    if p.ndim != 1 or p.shape != y.shape or not len(p) or not ((p >= 0.0) & (p <= 1.0)).all():
        raise InputError("a Brier score needs a probability for every event", got=str(p.shape))
    values = np.unique(p)
    if len(values) <= bins:
        found = np.searchsorted(values, p)
    else:
        found = np.minimum((p * bins).astype(np.int64), bins - 1)
        found = np.unique(found, return_inverse=True)[1]
    counts = np.bincount(found)
    mean, rate = np.bincount(found, p) / counts, np.bincount(found, y) / counts
    share, overall = counts / len(p), y.mean()
    spread = p - mean[found]
    return BrierScore(
        score=float(((p - y) ** 2).mean()),
        reliability=float((share * (mean - rate) ** 2).sum()),
        resolution=float((share * (rate - overall) ** 2).sum()),
        uncertainty=float(overall * (1.0 - overall)),
        within_bins=float((spread**2 - 2.0 * spread * (y - rate[found])).mean()),
        counts=counts,
        probabilities=mean,
        rates=rate,
        bins=found,
    )


def realised_volatility(returns: np.ndarray, horizon: int) -> np.ndarray:
    """Root mean square of the next ``horizon`` returns at every bar, shape (bars,).

    NaN where fewer follow. Row t reads returns t to t + horizon - 1, all after bar t: this is an
    outcome to score forecasts with, never an input.

    Parameters
    ----------
    returns : numpy.ndarray, shape (bars - 1,)
        Row t runs from bar t to bar t + 1.
    horizon : int
    """
    total = np.concatenate([[0.0], np.cumsum(np.asarray(returns, dtype=np.float64) ** 2)])
    found = np.full(len(total), np.nan)
    if len(returns) >= horizon:
        sums = np.maximum(total[horizon:] - total[:-horizon], 0.0)
        found[: len(sums)] = np.sqrt(sums / horizon)
    return found
