"""Whether regimes keep their meaning: across refits, over time, and in what comes after them."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.metrics import adjusted_rand_score

from finchaos.core.errors import InputError
from governance.record import Interval
from governance.statistics.dependence import autocorrelations
from governance.statistics.resampling import Columns, Statistic


def adjusted_rand(first: np.ndarray, second: np.ndarray) -> float:
    """Agreement of two labellings whatever the labels are called: 1 the same, 0 as by chance.

    References
    ----------
    Hubert & Arabie (1985), Comparing partitions, Journal of Classification 2, equation 5.

    Examples
    --------
    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    _paired(first, second)
    return float(adjusted_rand_score(first, second))


def relabelling_gain(first: np.ndarray, second: np.ndarray) -> float:
    """Share of bars that would agree if the labels of the second were renamed, less that which do.

    0 where no renaming helps; near 1 where calm and stressed have changed names.

    References
    ----------
    Kuhn (1955), The Hungarian method for the assignment problem, Naval Research Logistics 2;
    Stephens (2000), Dealing with label switching in mixture models, JRSS B 62.

    Examples
    --------
    >>> relabelling_gain(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    _paired(first, second)
    names = np.unique(np.concatenate([first, second]))
    left, right = np.searchsorted(names, first), np.searchsorted(names, second)
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (left, right), 1.0)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float((table[rows, columns].sum() - np.trace(table)) / len(first))


def _paired(first: np.ndarray, second: np.ndarray) -> None:
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise InputError(
            "labellings cannot be compared",
            expected="one label each for the same bars",
            got=f"{first.shape} and {second.shape}",
        )


def spells(state: np.ndarray) -> np.ndarray:
    """Lengths of the stretches in which a state stays the same, in order; the outer ones cut.

    Examples
    --------
    >>> spells(np.array([0, 0, 1, 0, 0, 0])).tolist()
    [2, 1, 3]
    """
    edges = np.flatnonzero(np.diff(state)) + 1
    return np.diff(np.concatenate([[0], edges, [len(state)]]))


def realised_volatility(close: np.ndarray, window: int) -> np.ndarray:
    """Root mean square of the last ``window`` log returns, shape (t,); NaN until there are."""
    squares = np.diff(np.log(close)) ** 2
    found = np.full(len(close), np.nan)
    if len(squares) >= window:
        windows = np.lib.stride_tricks.sliding_window_view(squares, window)
        found[window:] = np.sqrt(windows.mean(axis=1))
    return found


def rank_columns(stress: np.ndarray, volatility: np.ndarray) -> Columns:
    """Ranks of both, to be resampled together by :func:`rank_correlation`; finite rows alone."""
    known = np.isfinite(stress) & np.isfinite(volatility)
    return {"stress": rankdata(stress[known]), "volatility": rankdata(volatility[known])}


def rank_correlation(columns: Columns) -> np.ndarray:
    """Pearson's correlation of ranks, over the last axis; NaN where one does not vary.

    References
    ----------
    Spearman (1904), The proof and measurement of association between two things.
    """
    x = columns["stress"] - columns["stress"].mean(axis=-1, keepdims=True)
    y = columns["volatility"] - columns["volatility"].mean(axis=-1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    return np.where(scale > 0.0, (x * y).sum(axis=-1) / np.where(scale > 0.0, scale, 1.0), np.nan)


def correlation_interval(columns: Columns, level: float) -> Interval | None:
    """Interval of a rank correlation of two series that both follow themselves.

    By Fisher's transformation, with as many independent pairs as give the correlation of two
    unrelated series of these autocorrelations its variance. A resampled interval is too narrow
    where a few long storms and spells are all there is. None if the correlation is undefined or
    the series are worth fewer than five pairs.

    Parameters
    ----------
    columns : mapping
        As :func:`rank_columns` gives it.
    level : float

    References
    ----------
    Bartlett (1935), Some aspects of the time-correlation problem in regard to tests of
    significance, JRSS 98; Fisher (1921), Metron 1.
    """
    value = float(rank_correlation(columns))
    if not abs(value) < 1.0:
        return None
    first, second = (autocorrelations(columns[name]) for name in ("stress", "volatility"))
    lags = min(len(first), len(second))
    n = len(columns["stress"])
    weight = 1.0 - np.arange(lags) / n
    pairs = n / max(2.0 * float((weight * first[:lags] * second[:lags]).sum()) - 1.0, 1.0)
    if pairs < 5.0:
        return None
    reach = float(ndtri(0.5 + level / 2.0)) / np.sqrt(pairs - 3.0)
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    method = f"Fisher, {pairs:.0f} effective pairs after Bartlett"
    return Interval(low=float(low), high=float(high), level=level, method=method)


def separation_statistics() -> dict[str, Statistic]:
    """Over the columns ``off`` and ``in_fall`` (0 or 1) and ``next_return``, by name.

    ``next_volatility_ratio``: standard deviation of next returns while off over that while on.
    ``fall_share_gap``: share of bars off within falls less that outside of them. NaN where one of
    the two holds fewer than two bars.
    """
    return {"next_volatility_ratio": _volatility_ratio, "fall_share_gap": _fall_gap}


def _volatility_ratio(columns: Columns) -> np.ndarray:
    stressed = _deviation(columns["next_return"], columns["off"])
    calm = _deviation(columns["next_return"], 1.0 - columns["off"])
    return np.where(calm > 0.0, stressed / np.where(calm > 0.0, calm, 1.0), np.nan)


def _deviation(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    count = weight.sum(axis=-1)
    safe = np.maximum(count, 2.0)
    mean = (values * weight).sum(axis=-1) / safe
    squares = ((values - mean[..., None]) ** 2 * weight).sum(axis=-1)
    return np.where(count > 1.0, np.sqrt(squares / (safe - 1.0)), np.nan)


def _fall_gap(columns: Columns) -> np.ndarray:
    inside, off = columns["in_fall"], columns["off"]
    within, outside = inside.sum(axis=-1), (1.0 - inside).sum(axis=-1)
    gap = (off * inside).sum(axis=-1) / np.maximum(within, 1.0) - (off * (1.0 - inside)).sum(
        axis=-1
    ) / np.maximum(outside, 1.0)
    return np.where((within > 1.0) & (outside > 1.0), gap, np.nan)
