"""Anchored walk-forward folds: training grows from the first bar, tests follow each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from finchaos.core.errors import InputError


@dataclass(frozen=True)
class Fold:
    """One fold, by row positions; ends are exclusive.

    Training uses rows ``0:train_end``. Rows ``train_end:test_start`` are purged: their labels or
    executions would overlap the test. Tests of successive folds join without a hole.
    """

    number: int
    train_end: int
    test_start: int
    test_end: int


def anchored_folds(n_bars: int, *, first_test: int, count: int, gap: int) -> tuple[Fold, ...]:
    """Split ``first_test:n_bars`` into ``count`` consecutive tests, each with anchored training.

    Parameters
    ----------
    n_bars : int
    first_test : int
        Row of the first test bar.
    count : int
        Number of folds; sizes differ by at most one bar.
    gap : int
        Purge plus embargo: bars cut off the end of every training window. At least the label
        horizon plus the execution delay.

    References
    ----------
    López de Prado, Advances in Financial Machine Learning (2018), chapter 7.

    Examples
    --------
    >>> [(f.train_end, f.test_start, f.test_end) for f in
    ...  anchored_folds(10, first_test=4, count=2, gap=1)]
    [(3, 4, 7), (6, 7, 10)]
    """
    length = n_bars - first_test
    if count < 1 or gap < 0 or first_test - gap < 1 or length < count:
        raise InputError(
            "the bars cannot be split into these folds",
            expected="count >= 1, gap >= 0, training of at least one bar, a test bar per fold",
            got=f"{n_bars} bars, first test row {first_test}, {count} folds, gap {gap}",
            remedy="use more bars, fewer folds or a smaller gap",
        )
    edges = [first_test + (length * k) // count for k in range(count + 1)]
    return tuple(
        Fold(k + 1, start - gap, start, end) for k, (start, end) in enumerate(pairwise(edges))
    )
