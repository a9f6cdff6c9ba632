"""How far apart two samples of one series are: binned distances, Kolmogorov-Smirnov, shifts.

Bins come from the reference alone, so that a monitor can fix them before it sees new data. Every
distance depends on the order of the values only, not on their scale. How large a distance may be
by chance is a question for :mod:`governance.statistics.null_distances`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from finchaos.core.errors import InputError

DEFAULT_BINS = 10
PSEUDO_COUNT = 0.5
"""Added to every bin of both samples: an empty bin is then no infinite divergence."""


def quantile_edges(reference: np.ndarray, bins: int = DEFAULT_BINS) -> np.ndarray:
    """Inner edges of bins that hold equal shares of the reference, shape (e,), increasing.

    Edges are values of the reference (the inverse of its distribution function), and bin i holds
    ``edges[i-1] < x <= edges[i]``; the outer bins are open. A value so frequent that several
    quantiles fall on it gets a bin of its own.

    Parameters
    ----------
    reference : numpy.ndarray, shape (n,), finite
    bins : int
        Bins asked for; frequent values change how many there are.

    Raises
    ------
    InputError
        If there are fewer values than bins, or a value is not finite.

    Examples
    --------
    >>> quantile_edges(np.arange(1.0, 11.0), bins=5).tolist()
    [2.0, 4.0, 6.0, 8.0]
    >>> quantile_edges(np.array([0.0, 1.0, 1.0, 1.0, 1.0, 2.0]), bins=3).tolist()
    [0.9999999999999999, 1.0]
    """
    values = sample(reference, "reference")
    if not 2 <= bins <= len(values):
        raise InputError(
            "the reference cannot be binned",
            expected="at least two bins and as many values as bins",
            got=f"{len(values)} values, {bins} bins",
        )
    distinct, counts = np.unique(values, return_counts=True)
    targets = quantile_targets(len(values), bins)
    at = np.searchsorted(np.cumsum(counts), targets)
    frequent = distinct[at[1:][at[1:] == at[:-1]]]
    return np.unique(np.concatenate([distinct[at], np.nextafter(frequent, -np.inf)]))


def quantile_targets(n: int, bins: int) -> np.ndarray:
    """Cumulative counts at which the inner edges of ``bins`` bins of ``n`` values lie."""
    return np.ceil(np.arange(1, bins) * n / bins - 1e-9).astype(np.int64)


def bin_counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Values in each bin, shape (e + 1,), int64."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)


def smoothed_shares(
    counts: np.ndarray, used: np.ndarray | None = None, pseudo_count: float = PSEUDO_COUNT
) -> np.ndarray:
    """Shares of the bins after adding ``pseudo_count`` to each.

    Parameters
    ----------
    counts : numpy.ndarray, shape (..., b)
    used : numpy.ndarray, shape (..., b), bool, optional
        Bins that exist; the others have share 0.
    pseudo_count : float
    """
    raised = counts + pseudo_count
    if used is not None:
        raised = np.where(used, raised, 0.0)
    return raised / raised.sum(axis=-1, keepdims=True)


def kl_divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of q from p in nats, over the last axis.

    Bins where p is 0 contribute nothing; where only q is 0 the divergence is infinite.

    References
    ----------
    Kullback & Leibler, On information and sufficiency, Annals of Mathematical Statistics 22 (1951).

    Examples
    --------
    >>> round(float(kl_divergence(np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2]))), 7)
    0.0252672
    """
    p, q = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(q, np.float64))
    held = p > 0.0
    ratio = np.divide(q, p, where=held, out=np.ones_like(p))
    with np.errstate(divide="ignore"):
        # Terms p ln(p/q) - p + q are never negative, so rounding cannot make the sum so.
        terms = np.where(held, q - p - p * np.log(ratio), q)
    return terms.sum(axis=-1)


def population_stability_index(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Sum of (q - p) ln(q / p) over the last axis: both Kullback-Leibler divergences together.

    References
    ----------
    Jeffreys, An invariant form for the prior probability in estimation problems, Proceedings of
    the Royal Society A 186 (1946); Siddiqi, Credit Risk Scorecards (2006).
    """
    p, q = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(q, np.float64))
    held = (p > 0.0) | (q > 0.0)
    with np.errstate(divide="ignore"):
        logs = np.log(q, where=held, out=np.zeros_like(q)) - np.log(
            p, where=held, out=np.zeros_like(p)
        )
    return ((q - p) * logs).sum(axis=-1)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in nats over the last axis: between 0 and ln 2, symmetric.

    References
    ----------
    Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37 (1991), (4.1).
    """
    middle = 0.5 * (p + q)
    return 0.5 * (kl_divergence(p, middle) + kl_divergence(q, middle))


def entropy(p: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats over the last axis."""
    p = np.asarray(p, np.float64)
    return -(p * np.log(p, where=p > 0.0, out=np.zeros_like(p))).sum(axis=-1)


BINNED_DISTANCES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "psi": population_stability_index,
        "kl_reference_to_current": kl_divergence,
        "kl_current_to_reference": lambda p, q: kl_divergence(q, p),
        "jensen_shannon": jensen_shannon,
    }
)
DISTANCES = (*BINNED_DISTANCES, "ks")


def ks_statistic(reference: np.ndarray, current: np.ndarray) -> float:
    """Largest gap between the two empirical distribution functions."""
    first, second = np.sort(reference), np.sort(current)
    values = np.concatenate([first, second])
    gap = np.searchsorted(first, values, side="right") / len(first)
    gap = gap - np.searchsorted(second, values, side="right") / len(second)
    return float(np.abs(gap).max())


def distances(
    reference: np.ndarray, current: np.ndarray, bins: int = DEFAULT_BINS
) -> dict[str, float]:
    """Every distance of :data:`DISTANCES` between two samples, by name.

    Parameters
    ----------
    reference, current : numpy.ndarray, shapes (n,) and (m,), finite
    bins : int

    Examples
    --------
    >>> normal = np.random.default_rng(1).normal(size=4000)
    >>> found = distances(normal[:2000], normal[2000:] + 1.0)
    >>> found["psi"] > 0.5, found["ks"] > 0.3
    (True, True)
    """
    shares = binned_shares(reference, current, bins)
    found = {name: float(distance(*shares)) for name, distance in BINNED_DISTANCES.items()}
    return {**found, "ks": ks_statistic(reference, current)}


def binned_shares(
    reference: np.ndarray, current: np.ndarray, bins: int = DEFAULT_BINS
) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed shares of both samples in the bins of the reference."""
    edges = quantile_edges(reference, bins)
    new = sample(current, "current")
    return (
        smoothed_shares(bin_counts(np.asarray(reference), edges)),
        smoothed_shares(bin_counts(new, edges)),
    )


def mean_shift(reference: np.ndarray, current: np.ndarray) -> float:
    """Change of the mean in standard deviations of the reference; NaN if that is constant."""
    spread = float(np.std(reference))
    return float((np.mean(current) - np.mean(reference)) / spread) if np.ptp(reference) else np.nan


def log_scale_shift(reference: np.ndarray, current: np.ndarray) -> float:
    """Logarithm of the ratio of standard deviations; NaN if either sample is constant."""
    if not (np.ptp(reference) and np.ptp(current)):
        return np.nan
    return float(np.log(np.std(current) / np.std(reference)))


def sample(values: np.ndarray, what: str) -> np.ndarray:
    """A finite series as float64, shape (n,); InputError, which names ``what``, if it is none."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise InputError(
            f"the {what} is no sample",
            expected="a series of at least one finite value",
            got=f"shape {array.shape}, {int((~np.isfinite(array)).sum())} values not finite",
        )
    return array
