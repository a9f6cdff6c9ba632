"""Whether several series together moved: energy distance with a null from blocks in time.

Each series is replaced by normal scores of its ranks in both samples together, so that scales do
not matter and outliers do not decide. The null relabels whole blocks of neighbouring rows, since
rows that follow each other are not exchangeable one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from scipy.stats import rankdata

from finchaos.core.errors import InputError
from governance.statistics.null_distances import share_kept_in_panel
from governance.statistics.resampling import block_length

MOST_ROWS = 4000
"""Latest rows of a reference that are compared: distances of all pairs are kept in memory."""


@dataclass(frozen=True)
class EnergyTest:
    """Result of :func:`energy_test`.

    Attributes
    ----------
    statistic : float
        Squared energy distance.
    limit : float
        Exceeded by this share of relabelled samples: the false-alarm rate asked for.
    p_value : float
    block : int
        Rows that were relabelled together.
    drawn : numpy.ndarray, shape (draws,)
        The statistic of relabelled samples, over the share of the long-run variance of the
        reference that such blocks keep.
    """

    statistic: float
    limit: float
    p_value: float
    block: int
    drawn: np.ndarray = field(compare=False)


def energy_distance(reference: np.ndarray, current: np.ndarray) -> float:
    """Squared energy distance of two samples, shapes (n, s) and (m, s); 0 for equal ones.

    References
    ----------
    Székely & Rizzo, Energy statistics: a class of statistics based on distances, Journal of
    Statistical Planning and Inference 143 (2013), (6).
    """
    between = cdist(reference, current).mean()
    return float(
        2.0 * between - cdist(reference, reference).mean() - cdist(current, current).mean()
    )


def energy_test(
    reference: np.ndarray,
    current: np.ndarray,
    rng: np.random.Generator,
    *,
    draws: int = 999,
    false_alarm_rate: float = 0.05,
) -> EnergyTest:
    """Energy distance of normal scores, and its p-value by relabelled blocks.

    Parameters
    ----------
    reference : numpy.ndarray, shape (n, s), finite
        The latest :data:`MOST_ROWS` rows of it are used.
    current : numpy.ndarray, shape (m, s), finite
        The rows right after.
    rng : numpy.random.Generator
    draws : int
    false_alarm_rate : float

    Raises
    ------
    InputError
        If the panels do not fit, or are not finite or too short.

    Notes
    -----
    Blocks are twice as long as the dependence asks for, since they lose what crosses their seams,
    and at most a quarter of the current rows. What they lose all the same is given back: a distance
    is quadratic in the data, so that its null grows with the long-run variance.
    """
    old = np.asarray(reference, dtype=np.float64)[-MOST_ROWS:]
    new = np.asarray(current, dtype=np.float64)
    _fitting(old, new)
    pooled = np.concatenate([old, new])
    scores = ndtri((rankdata(pooled, axis=0) - 0.5) / len(pooled))
    m = len(new)
    block = _block(scores[: len(old)], m)
    apart = cdist(scores, scores).astype(np.float32)
    labels = _labels(rng, len(pooled), m, block, draws)
    actual = np.zeros((len(pooled), 1), dtype=np.float32)
    actual[len(old) :] = 1.0
    statistic = float(_energy(apart, actual)[0])
    drawn = _energy(apart, labels) / share_kept_in_panel(old[:, np.ptp(old, axis=0) > 0.0], block)
    # A tie counts against a finding.
    p_value = float((1 + (drawn >= statistic).sum()) / (1 + draws))
    limit = float(np.quantile(drawn, 1.0 - false_alarm_rate))
    return EnergyTest(statistic, limit, p_value, block, drawn)


def _fitting(old: np.ndarray, new: np.ndarray) -> None:
    sound = old.ndim == new.ndim == 2 and old.shape[1:] == new.shape[1:] and old.size
    if not sound or min(len(old), len(new)) < 10 or not np.isfinite([old.sum(), new.sum()]).all():
        raise InputError(
            "these panels cannot be compared",
            expected="ten finite rows or more of the same series in both",
            got=f"shapes {old.shape} and {new.shape}",
        )


def _block(scores: np.ndarray, rows: int) -> int:
    longest = max((block_length(column) for column in scores.T if np.ptp(column) > 0.0), default=1)
    return int(np.clip(2 * longest, 1, max(1, rows // 4)))


def _labels(
    rng: np.random.Generator, rows: int, current: int, block: int, draws: int
) -> np.ndarray:
    """Which rows are called current, shape (rows, draws): whole blocks, the last one cut."""
    found = np.empty((rows, draws), dtype=np.float32)
    row = np.arange(rows)
    parts = -(-rows // block)
    sizes = np.full(parts, block)
    sizes[-1] = rows - block * (parts - 1)
    before = np.empty(parts, dtype=np.int64)
    for draw in range(draws):
        place = (row - int(rng.integers(rows))) % rows
        order = rng.permutation(parts)
        before[order] = np.cumsum(sizes[order]) - sizes[order]
        found[:, draw] = before[place // block] + place % block < current
    return found


def _energy(apart: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared energy distances of labelled rows from the others, shape (draws,)."""
    total = float(apart.sum(dtype=np.float64))
    m = labels.sum(axis=0, dtype=np.float64)
    n = len(labels) - m
    pulled = apart @ labels
    within = np.einsum("ij,ij->j", labels, pulled, dtype=np.float64)
    touching = pulled.sum(axis=0, dtype=np.float64)
    between = touching - within
    rest = total - 2.0 * between - within
    return 2.0 * between / (n * m) - within / m**2 - rest / n**2
