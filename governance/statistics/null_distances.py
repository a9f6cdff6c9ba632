"""How far apart two samples of one law lie by chance, when each value depends on those before it.

Both samples are drawn from the reference in blocks, so that a series which follows itself closely
counts as the few independent values it is worth. Fixed limits, such as a population stability
index of 0.25, speak of independent values only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from finchaos.core.errors import InputError
from governance.statistics.dependence import effective_sample_size, share_kept_by_blocks
from governance.statistics.resampling import block_length
from governance.statistics.two_sample import (
    BINNED_DISTANCES,
    DEFAULT_BINS,
    DISTANCES,
    PSEUDO_COUNT,
    quantile_targets,
    smoothed_shares,
)

LEAST_ROWS = 50
"""Rows of a reference below which neither its bins nor its dependence can be estimated."""

# Drawn rows counted at a time: bounds memory whatever the number of draws.
_CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class BlockPlan:
    """How samples are drawn from a reference.

    Attributes
    ----------
    block : int
        Rows that stay together.
    kept : float
        Share of the long-run variance that such blocks keep: dependence across the seam of two
        blocks is lost. Samples are drawn this much smaller, which gives the variance back.
    """

    block: int
    kept: float

    @classmethod
    def of(cls, reference: np.ndarray, current_size: int) -> BlockPlan:
        """The plan for a reference panel: its longest block and its smallest share kept.

        Length and share come from normal scores of the ranks and their absolute values: level and
        dispersion count alike, outliers do not, and rescaling a series changes nothing.

        Parameters
        ----------
        reference : numpy.ndarray, shape (n, s)
        current_size : int
            Rows of the sample that is compared; no block is longer.
        """
        longest = max(block_length(_levels_and_sizes(column)[0]) for column in reference.T)
        block = max(1, min(longest, current_size))
        kept = min(
            share_kept_by_blocks(scores, block)
            for column in reference.T
            for scores in _levels_and_sizes(column)
        )
        return cls(block, kept)


def independent_worth(values: np.ndarray) -> float:
    """Independent values that a series is worth, by its level or its dispersion: the fewer."""
    return min(effective_sample_size(scores) for scores in _levels_and_sizes(values))


def null_distances(
    reference: np.ndarray,
    current_size: int,
    rng: np.random.Generator,
    *,
    plan: BlockPlan | None = None,
    draws: int = 400,
    bins: int = DEFAULT_BINS,
) -> dict[str, np.ndarray]:
    """Distances between two samples of the reference's law, each of shape (draws, s).

    For every draw a reference and a current sample are put together from blocks of the reference
    at random places (wrapped around its end) and compared as
    :func:`governance.statistics.two_sample.distances` does, bins from the drawn reference. All
    series are drawn by the same rows, so that the draws of several series can be read jointly.

    Parameters
    ----------
    reference : numpy.ndarray, shape (n, s), finite
    current_size : int
        Rows of the sample that will be compared with the reference.
    rng : numpy.random.Generator
    plan : BlockPlan, optional
        ``BlockPlan.of(reference, current_size)`` if not given.
    draws : int
    bins : int

    Raises
    ------
    InputError
        If the reference is no finite panel or has fewer than :data:`LEAST_ROWS` rows.

    References
    ----------
    Politis & Romano, A circular block-resampling procedure for stationary data (1992).
    """
    panel = np.asarray(reference, dtype=np.float64)
    if panel.ndim != 2 or not panel.size or not np.isfinite(panel).all():
        raise InputError(
            "the reference is no panel",
            expected="finite values, one column per series",
            got=f"shape {panel.shape}",
        )
    n = len(panel)
    if draws < 1 or current_size < 1 or n < LEAST_ROWS:
        raise InputError(
            "no null can be drawn",
            expected=f"draws, a current sample and a reference of at least {LEAST_ROWS} rows",
            got=f"{draws} draws, {current_size} and {n} rows",
        )
    plan = plan or BlockPlan.of(panel, current_size)
    # Never fewer rows than bins, or quantiles could not be told apart.
    sizes = (max(bins, round(plan.kept * n)), max(1, round(plan.kept * current_size)))
    columns = [_Ordered.of(column) for column in panel.T]
    found = {name: np.empty((draws, len(columns))) for name in DISTANCES}
    step = max(1, _CHUNK_ROWS // n)
    for first in range(0, draws, step):
        chunk = slice(first, min(first + step, draws))
        count = chunk.stop - first
        samples = [_multiplicities(rng, n, size, plan.block, count) for size in sizes]
        for j, column in enumerate(columns):
            first_sample, second_sample = (column.cumulated(sample) for sample in samples)
            drawn = _distances(first_sample, second_sample, bins, PSEUDO_COUNT * plan.kept)
            for name in DISTANCES:
                found[name][chunk, j] = drawn[name]
    return found


def _levels_and_sizes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores of the ranks, and their absolute values."""
    scores = ndtri((rankdata(values) - 0.5) / len(values))
    return scores, np.abs(scores)


def _multiplicities(
    rng: np.random.Generator, n: int, size: int, block: int, draws: int
) -> np.ndarray:
    """How often each row of the reference is in each sample, shape (draws, n)."""
    starts = rng.integers(0, n, size=(draws, -(-size // block)))
    rows = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :size] % n
    flat = (rows + n * np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=draws * n).reshape(draws, n)


@dataclass(frozen=True, eq=False)
class _Ordered:
    """Rows of a series in the order of their values, and where each distinct value ends."""

    order: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> _Ordered:
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        return cls(order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)))

    def cumulated(self, multiplicities: np.ndarray) -> np.ndarray:
        """Drawn values up to each distinct one, shape (draws, distinct)."""
        return np.cumsum(multiplicities[:, self.order], axis=1)[:, self.ends]


def _distances(
    reference: np.ndarray, current: np.ndarray, bins: int, pseudo_count: float
) -> dict[str, np.ndarray]:
    """Distances from cumulated counts of both samples at the distinct values of the series.

    The pseudo-count shrinks with the samples: an empty bin then has the share that it has in
    samples of the actual sizes.

    An edge after the k-th distinct value (k from 0) has place 2 k + 1, one just before it 2 k.
    """
    n, m = int(reference[0, -1]), int(current[0, -1])
    at = np.stack([(reference < k).sum(axis=1) for k in quantile_targets(n, bins)], axis=1)
    after = 2 * at + 1
    frequent = np.zeros(at.shape, dtype=bool)
    frequent[:, :-1] = at[:, 1:] == at[:, :-1]
    places = np.sort(np.concatenate([after, np.where(frequent, 2 * at, after)], axis=1), axis=1)
    # Equal places are one edge: the bins between them do not exist.
    used = np.ones((len(places), places.shape[1] + 1), dtype=bool)
    used[:, 1:-1] = places[:, 1:] != places[:, :-1]
    cuts = (places + 1) // 2
    p = smoothed_shares(_counts(reference, cuts), used, pseudo_count)
    q = smoothed_shares(_counts(current, cuts), used, pseudo_count)
    found = {name: distance(p, q) for name, distance in BINNED_DISTANCES.items()}
    found["ks"] = np.abs(reference / n - current / m).max(axis=1)
    return found


def _counts(cumulated: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Values between cuts, where a cut at k lies after the first k distinct values."""
    padded = np.concatenate([np.zeros((len(cumulated), 1), dtype=np.int64), cumulated], axis=1)
    inner = np.take_along_axis(padded, cuts, axis=1)
    return np.diff(inner, axis=1, prepend=0, append=cumulated[:, -1:])
