"""Which slices of a series lose, all tested at once: studentised, resampled in blocks.

Where nothing is wrong, a family of slices is accused of anything at all with the stated
probability, whatever the dependence between slices and over time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError
from governance.statistics.resampling import resampled_rows

# Draws whose counts are held at a time.
_CHUNK = 200


@dataclass(frozen=True, eq=False)
class SliceTests:
    """One-sided tests of slices, all of shape (s,).

    Attributes
    ----------
    rows : numpy.ndarray of int
        Values in each slice.
    mean, rest : numpy.ndarray
        Means in the slice and outside of it.
    statistic : numpy.ndarray
        The less negative of two: of the mean of the slice below zero, and below the rest.
    p, adjusted_p : numpy.ndarray
        Alone, and by the step-down over all.
    """

    rows: np.ndarray
    mean: np.ndarray
    rest: np.ndarray
    statistic: np.ndarray
    p: np.ndarray
    adjusted_p: np.ndarray


def losing_slices(
    values: np.ndarray, slices: np.ndarray, *, block: int, draws: int, rng: np.random.Generator
) -> SliceTests:
    """Test each slice for a mean below zero and below that of the rest.

    Both must hold: a slice in which nothing is earned is no weakness, and neither is one that
    loses as all do. Student's statistic of the mean and Welch's of the difference each have a null
    of their own: values are resampled in blocks together with the slices that they lie in, and
    statistics of the draws are centred on the means observed. Probabilities of each are adjusted
    by stepping down from the worst slice, and the larger of both counts (Berger).

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
    slices : numpy.ndarray, shape (s, n), bool
        They may overlap. Each, and what lies outside of it, holds two values or more.
    block : int
        Mean block length.
    draws : int
    rng : numpy.random.Generator

    Raises
    ------
    InputError
        If shapes do not fit, a slice is too small, or values do not vary.

    References
    ----------
    Romano & Wolf (2005), Exact and approximate stepdown methods for multiple hypothesis testing,
    JASA 100, algorithm 4.1; Berger (1982), Technometrics 24, on tests of two conditions at once.
    """
    series, member = np.asarray(values, dtype=np.float64), np.asarray(slices, dtype=np.float64)
    if series.ndim != 1 or member.ndim != 2 or member.shape[1] != len(series) or not len(member):
        raise InputError(
            "slices cannot be tested",
            expected="n values and at least one slice of n rows",
            got=f"{series.shape} and {member.shape}",
        )
    count = member.sum(axis=1)
    if min(count.min(), (len(series) - count).min()) < 2 or np.ptp(series) == 0.0:
        raise InputError("each slice and its rest need two values, and values must vary")
    columns = np.concatenate([member, member * series, member * series**2]).T
    whole = np.stack([np.ones(len(series)), series, series**2], axis=1)
    mean, rest, below_zero, below_rest = _studentised(
        columns.sum(axis=0)[None], whole.sum(axis=0)[None], 0.0, 0.0
    )
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    for first in range(0, draws, _CHUNK):
        rows = resampled_rows(rng, len(series), block, min(_CHUNK, draws - first))
        weight = np.stack([np.bincount(row, minlength=len(series)) for row in rows])
        _, _, zero, other = _studentised(
            weight @ columns, weight @ whole, mean[0], mean[0] - rest[0]
        )
        drawn.append((zero, other))
    # Either of the two may be what is true and the other far from it: each has its own null.
    conditions = [
        (found[0], np.concatenate(null))
        for found, null in zip((below_zero, below_rest), zip(*drawn, strict=True), strict=True)
    ]
    return SliceTests(
        count.astype(np.int64),
        mean[0],
        rest[0],
        np.maximum(below_zero, below_rest)[0],
        np.maximum(*(_alone(found, null) for found, null in conditions)),
        np.maximum(*(step_down(found, null) for found, null in conditions)),
    )


def _alone(observed: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    return np.asarray((1 + (by_chance <= observed).sum(axis=0)) / (len(by_chance) + 1))


def _studentised(
    sums: np.ndarray,
    whole: np.ndarray,
    mean_under: np.ndarray | float,
    gap_under: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means in and outside of slices, and the two statistics less what is to be expected.

    Parameters
    ----------
    sums : numpy.ndarray, shape (draws, 3 s)
        Numbers, sums and sums of squares of the slices.
    whole : numpy.ndarray, shape (draws, 3)
        Of all values.
    mean_under, gap_under : float or numpy.ndarray, shape (s,)
    """
    number, total, squares = np.split(sums, 3, axis=1)
    mean, error = _mean_and_error(number, total, squares)
    rest, rest_error = _mean_and_error(
        whole[:, :1] - number, whole[:, 1:2] - total, whole[:, 2:] - squares
    )
    both = np.sqrt(error + rest_error)
    gap = mean - rest - gap_under
    # A slice in which no value varies lies where it lies: below zero for certain, or not at all.
    alone = mean - mean_under
    below_zero = np.where(error > 0.0, alone / np.sqrt(np.where(error > 0.0, error, 1.0)),
                          np.where(alone < 0.0, -np.inf, 0.0))  # fmt: skip
    below_rest = np.where(both > 0.0, gap / np.where(both > 0.0, both, 1.0), 0.0)
    return mean, rest, below_zero, below_rest


def _mean_and_error(
    number: np.ndarray, total: np.ndarray, squares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and squared standard error; a draw with fewer than two values has neither: 0 and 0."""
    enough = number > 1.0
    safe = np.where(enough, number, 2.0)
    mean = np.where(enough, total / safe, 0.0)
    # Rounding of the difference of sums is no variance.
    spread = squares - safe * mean**2
    spread = np.where(spread > 1e-12 * np.abs(squares), spread, 0.0)
    return mean, np.where(enough, spread / (safe - 1.0) / safe, 0.0)


def step_down(observed: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    """Adjusted probabilities of low statistics, shape (s,).

    The worst is compared with the worst of all under the null, the next with the worst of the
    others, and so on; no probability is less than that of a worse slice.

    Parameters
    ----------
    observed : numpy.ndarray, shape (s,)
    by_chance : numpy.ndarray, shape (draws, s)

    References
    ----------
    Romano & Wolf (2016), Efficient computation of adjusted p-values for resampling-based stepdown
    multiple testing, Statistics & Probability Letters 113, algorithm 2.1.

    Examples
    --------
    >>> step_down(np.array([-3.0, 0.0]), np.array([[-1.0, 1.0], [2.0, -4.0], [0.0, 0.5]]))
    array([0.5, 0.5])
    """
    order = np.argsort(observed, kind="stable")
    # From the mildest slice on, the worst so far: column k is the worst of order[k:].
    least = np.minimum.accumulate(by_chance[:, order[::-1]], axis=1)[:, ::-1]
    found = (1 + (least <= observed[order]).sum(axis=0)) / (len(by_chance) + 1)
    adjusted = np.empty(len(observed))
    adjusted[order] = np.maximum.accumulate(found)
    return adjusted
