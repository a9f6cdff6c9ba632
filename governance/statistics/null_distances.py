"""How far apart two samples of one law lie by chance, when each value depends on those before it.

Both samples are drawn from the reference in blocks, so that a series which follows itself closely
counts as the few independent values it is worth. Fixed limits, such as a population stability
index of 0.25, speak of independent values only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.special import ndtri
from scipy.stats import rankdata

from finchaos.core.errors import InputError
from governance.statistics.dependence import effective_sample_size, share_kept_by_blocks
from governance.statistics.resampling import block_length
from governance.statistics.series_reference import SeriesReference
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
    def of(cls, reference: np.ndarray, current_size: int, *, least_block: int = 1) -> BlockPlan:
        """The plan for a reference panel: its longest block and its smallest share kept.

        Length and share come from normal scores of the ranks and their absolute values: level and
        dispersion count alike, outliers do not, and rescaling a series changes nothing.

        Parameters
        ----------
        reference : numpy.ndarray, shape (n, s)
        current_size : int
            Rows of the sample that is compared; no block is longer.
        least_block : int
            Where the panel is known to follow something slower than it shows.
        """
        longest = max(block_length(levels_and_sizes(column)[0]) for column in reference.T)
        block = max(1, min(max(longest, least_block), current_size))
        return cls(block, share_kept_in_panel(reference, block))


def share_kept_in_panel(reference: np.ndarray, block: int) -> float:
    """The smallest share of long-run variance that blocks keep, over series, levels and sizes."""
    shares = (
        share_kept_by_blocks(scores, block)
        for column in reference.T
        for scores in levels_and_sizes(column)
    )
    return min(shares, default=1.0)


def studentised(
    drawn: np.ndarray, freedom: float, rng: np.random.Generator, *, quadratic: bool = True
) -> np.ndarray:
    """Draws of a null whose scale was itself estimated from few independent values.

    Each is multiplied by ``freedom`` over a chi-square of as many degrees of freedom (by its root
    if the statistic is linear in the data): what F is to chi-square and Student's t to the normal.
    Far in the tail this decides: with 40 degrees the point exceeded once in a thousand is a
    quarter further out.

    Parameters
    ----------
    drawn : numpy.ndarray, shape (draws,)
        Of a distance, quadratic near zero, or of a mean.
    freedom : float
        Independent values behind the scale.
    rng : numpy.random.Generator
    quadratic : bool

    References
    ----------
    Ibragimov & Müller, t-statistic based correlation and heterogeneity robust inference, JBES 28
    (2010); Kiefer & Vogelsang, A new asymptotic theory for heteroskedasticity-autocorrelation
    robust tests, Econometric Theory 21 (2005).
    """
    factor = freedom / rng.chisquare(freedom, size=len(drawn))
    return np.asarray(drawn * (factor if quadratic else np.sqrt(factor)))


def independent_worth(values: np.ndarray) -> float:
    """Independent values that a series is worth, by its level or its dispersion: the fewer."""
    return min(effective_sample_size(scores) for scores in levels_and_sizes(values))


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
    columns = [SeriesReference(column, bins).cells for column in panel.T]
    found = {name: np.empty((draws, len(columns))) for name in DISTANCES}
    step = max(1, _CHUNK_ROWS // n)
    for first in range(0, draws, step):
        chunk = slice(first, min(first + step, draws))
        starts = [
            rng.integers(0, n, size=(chunk.stop - first, -(-size // plan.block))) for size in sizes
        ]
        for j, (codes, cells) in enumerate(columns):
            drawn = _distances(codes, cells, starts, sizes, plan, bins)
            for name in DISTANCES:
                found[name][chunk, j] = drawn[name]
    return found


def levels_and_sizes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores of the ranks, and their absolute values."""
    scores = ndtri((rankdata(values) - 0.5) / len(values))
    return scores, np.abs(scores)


def _distances(
    codes: np.ndarray,
    cells: int,
    starts: list[np.ndarray],
    sizes: tuple[int, int],
    plan: BlockPlan,
    bins: int,
) -> dict[str, np.ndarray]:
    """Distances of drawn samples, each of shape (draws,).

    The pseudo-count shrinks with the samples: an empty bin then has the share that it has in
    samples of the actual sizes.
    """
    targets = quantile_targets(sizes[0], bins)
    ends, own, new, ks = _count_draws(
        codes, cells, starts[0], starts[1], sizes[0], sizes[1], plan.block, targets
    )
    frequent = np.zeros(ends.shape, dtype=bool)
    frequent[:, :-1] = ends[:, 1:] == ends[:, :-1]
    # An edge after the k-th cell (k from 0) has place 2 k + 1, one just before it 2 k.
    after = 2 * ends + 1
    places = np.sort(np.concatenate([after, np.where(frequent, 2 * ends, after)], axis=1), axis=1)
    # Equal places are one edge: the bins between them do not exist.
    used = np.ones((len(places), places.shape[1] + 1), dtype=bool)
    used[:, 1:-1] = places[:, 1:] != places[:, :-1]
    shares = []
    for (before, upto), size in zip((own, new), sizes, strict=True):
        # Counts up to an edge rise with its place.
        held = np.sort(np.concatenate([upto, np.where(frequent, before, upto)], axis=1), axis=1)
        counts = np.diff(held, axis=1, prepend=0, append=size)
        shares.append(smoothed_shares(counts, used, PSEUDO_COUNT * plan.kept))
    found = {name: distance(*shares) for name, distance in BINNED_DISTANCES.items()}
    return {**found, "ks": ks}


@njit(cache=True, error_model="numpy", nogil=True)
def _count_draws(
    codes: np.ndarray,
    cells: int,
    own_starts: np.ndarray,
    new_starts: np.ndarray,
    own_size: int,
    new_size: int,
    block: int,
    targets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts of each draw's two samples: one pass over their rows, one over the cells.

    Returns the cells in which the first sample reaches the targets, shape (draws, b - 1); the
    values of each sample before and up to the end of these, shape (2, draws, b - 1); and the
    largest gap of the two distribution functions, shape (draws,).
    """
    draws, edges = len(own_starts), len(targets)
    ends = np.empty((draws, edges), np.int64)
    own, new = np.empty((2, draws, edges), np.int64), np.empty((2, draws, edges), np.int64)
    ks = np.empty(draws)
    for i in range(draws):
        first = _counted(codes, cells, own_starts[i], own_size, block)
        second = _counted(codes, cells, new_starts[i], new_size, block)
        upto_own, upto_new, k, gap = 0, 0, 0, 0.0
        for cell in range(cells):
            before_own, before_new = upto_own, upto_new
            upto_own += first[cell]
            upto_new += second[cell]
            gap = max(gap, abs(upto_own / own_size - upto_new / new_size))
            while k < edges and upto_own >= targets[k]:
                ends[i, k] = cell
                own[0, i, k], own[1, i, k] = before_own, upto_own
                new[0, i, k], new[1, i, k] = before_new, upto_new
                k += 1
        ks[i] = gap
    return ends, own, new, ks


@njit(cache=True, error_model="numpy", nogil=True)
def _counted(
    codes: np.ndarray, cells: int, starts: np.ndarray, size: int, block: int
) -> np.ndarray:
    """Values in every cell of a sample of blocks around the circle, the last block cut."""
    found, n, left = np.zeros(cells, np.int64), len(codes), size
    for start in starts:
        row = start
        for _ in range(min(block, left)):
            found[codes[row]] += 1
            row += 1
            if row == n:
                row = 0
        left -= block
    return found
