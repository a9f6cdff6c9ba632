"""What attributions of windows say together: shares, buckets of lags, rank agreement, intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from finchaos.core.errors import InputError
from governance.record import Interval
from governance.statistics.resampling import block_length, percentile_interval, resampled_rows

LEAST_RANKED = 3
"""Values below which a rank correlation says nothing."""
_BUCKET_STARTS = (0, 1, 2, 5, 10, 20, 40, 80, 160)


@dataclass(frozen=True, eq=False)
class Attributions:
    """How far each input moved the decision of each window away from a baseline's.

    Attributes
    ----------
    values : numpy.ndarray, shape (n, l, f)
        Window, bar (the last one is the newest) and feature. Windows are in the order of time.
    outputs, baseline_outputs : numpy.ndarray, shape (n,)
        Decisions for window and baseline, probabilities.
    """

    values: np.ndarray
    outputs: np.ndarray
    baseline_outputs: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.values.ndim != 3 or not self.outputs.shape == self.baseline_outputs.shape == (n,):
            raise InputError(
                "attributions do not fit their outputs",
                expected="shapes (n, l, f), (n,) and (n,)",
                got=f"{self.values.shape}, {self.outputs.shape}, {self.baseline_outputs.shape}",
            )

    @property
    def residuals(self) -> np.ndarray:
        """Sum of attributions less the change of the decision; zero if complete, shape (n,)."""
        return self.values.sum(axis=(1, 2)) - (self.outputs - self.baseline_outputs)

    @property
    def by_feature(self) -> np.ndarray:
        """Absolute attribution over lags, shape (n, f)."""
        return np.abs(self.values).sum(axis=1)

    @property
    def net_by_feature(self) -> np.ndarray:
        """Attribution over lags with its sign, shape (n, f)."""
        return self.values.sum(axis=1)

    def by_lag(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Names of lag buckets and absolute attribution in them, shape (n, buckets)."""
        names, table = self.by_lag_and_feature()
        return names, table.sum(axis=2)

    def by_lag_and_feature(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Names of lag buckets and absolute attribution, shape (n, buckets, f)."""
        length = self.values.shape[1]
        starts = [start for start in _BUCKET_STARTS if start < length]
        stops = [*starts[1:], length]
        newest_first = np.abs(self.values[:, ::-1, :])
        table = np.stack(
            [newest_first[:, a:b].sum(axis=1) for a, b in zip(starts, stops, strict=True)], axis=1
        )
        names = tuple(
            str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in zip(starts, stops, strict=True)
        )
        return names, table

    def rows(self, rows: np.ndarray) -> Attributions:
        """Those of some of the windows."""
        return Attributions(self.values[rows], self.outputs[rows], self.baseline_outputs[rows])


def spread(n: int, count: int) -> np.ndarray:
    """At most ``count`` of the positions 0 to n - 1, evenly spread, increasing."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(np.int64))


def shares(magnitudes: np.ndarray) -> np.ndarray | None:
    """Share of each column in the total, shape (k,); None if the total is zero.

    Examples
    --------
    >>> shares(np.array([[1.0, 0.0], [2.0, 1.0]])).tolist()
    [0.75, 0.25]
    """
    total = magnitudes.sum(axis=0)
    return total / total.sum() if total.sum() > 0.0 else None


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation of two flattened arrays.

    None if there are fewer than three values or either side is constant.
    """
    a, b = np.ravel(first), np.ravel(second)
    if len(a) < LEAST_RANKED or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return None
    a, b = rankdata(a), rankdata(b)
    return float(np.corrcoef(a, b)[0, 1])


@dataclass(frozen=True)
class WindowBootstrap:
    """Intervals from windows drawn with replacement in blocks, because neighbours are alike.

    Attributes
    ----------
    block : int
        Mean number of neighbouring windows that stay together.
    draws : int
    level : float
        Confidence level.
    """

    block: int
    draws: int
    level: float

    @classmethod
    def of(cls, series: np.ndarray, draws: int, level: float) -> WindowBootstrap:
        """With the automatic block length of one value per window, in the order of time."""
        return cls(block_length(series), draws, level)

    def intervals(
        self,
        table: np.ndarray,
        statistic: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ) -> list[Interval | None]:
        """Interval of every column of a statistic.

        Parameters
        ----------
        table : numpy.ndarray, shape (n, ...)
            One row per window.
        statistic : function
            From tables of shape (draws, n, ...) to values of shape (draws, k).
        rng : numpy.random.Generator
        """
        block = min(self.block, len(table))
        rows = resampled_rows(rng, len(table), block, self.draws)
        drawn = statistic(table[rows])
        method = f"stationary bootstrap over windows, mean block {block}, {self.draws} draws"
        return [percentile_interval(column, self.level, method) for column in drawn.T]


def drawn_shares(tables: np.ndarray) -> np.ndarray:
    """Shares of columns for every resampled table: (draws, n, k) to (draws, k)."""
    totals = tables.sum(axis=1)
    whole = totals.sum(axis=1, keepdims=True)
    return np.divide(totals, whole, where=whole > 0.0, out=np.full_like(totals, np.nan))


def drawn_means(tables: np.ndarray) -> np.ndarray:
    """Means of columns for every resampled table: (draws, n, k) to (draws, k)."""
    return tables.mean(axis=1)


def window_agreement(first: Attributions, second: Attributions) -> np.ndarray:
    """Absolute rank correlation over bars and features in each window, NaN where undefined."""
    pairs = zip(first.values, second.values, strict=True)
    found = [rank_correlation(a, b) for a, b in pairs]
    return np.array([np.nan if value is None else abs(value) for value in found])


def importance_agreement(first: np.ndarray, second: np.ndarray) -> float | None:
    """Rank correlation of two tables' column sums, shapes (n, f) and (m, f)."""
    return rank_correlation(first.sum(axis=0), second.sum(axis=0))


def drawn_agreements(tables: np.ndarray) -> np.ndarray:
    """Rank correlation of two halves' column sums, for every resampled table.

    Parameters
    ----------
    tables : numpy.ndarray, shape (draws, n, 2 f)
        Two tables of f columns side by side.

    Returns
    -------
    numpy.ndarray, shape (draws, 1)
        NaN where undefined.
    """
    halves = np.split(tables.sum(axis=1), 2, axis=1)
    ranks = [rankdata(half, axis=1) for half in halves]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    found = np.divide(
        (a * b).sum(axis=1), scale, where=scale > 0.0, out=np.full(len(scale), np.nan)
    )
    return found[:, None]
