"""At which bars a decision is explained: spread over a test, at its worst bars, around a fall."""

from __future__ import annotations

from bisect import bisect_left
from datetime import date

import numpy as np
import pandas as pd

from governance.statistics.attribution import spread


def stratified_rows(rng: np.random.Generator, first: int, stop: int, count: int) -> np.ndarray:
    """One random row out of each of ``count`` equal stretches of ``first:stop``, increasing.

    All rows if there are no more than ``count``.
    """
    if stop - first <= count:
        return np.arange(first, max(stop, first))
    edges = np.linspace(first, stop, count + 1).round().astype(np.int64)
    return rng.integers(edges[:-1], edges[1:])


def worst_rows(closes: np.ndarray, first: int, stop: int, count: int) -> np.ndarray:
    """The rows of ``first:stop`` with the lowest returns, in the order of time."""
    begin = max(first, 1)
    returns = closes[begin:stop] / closes[begin - 1 : stop - 1] - 1.0
    return np.sort(begin + np.argsort(returns, kind="stable")[:count])


def calm_rows(closes: np.ndarray, length: int, first: int, stop: int) -> np.ndarray:
    """Rows of ``first:stop`` that end the calmest tenth of windows of ``length`` bars."""
    moves = np.diff(np.log(closes[:stop]), prepend=np.log(closes[0]))
    sums = np.concatenate([[0.0], np.cumsum(moves**2)])
    rows = np.arange(max(first, length), stop)
    if not len(rows):
        return rows
    variance = sums[rows + 1] - sums[rows + 1 - length]
    return rows[variance <= np.quantile(variance, 0.1)]


def rows_around_fall(
    closes: np.ndarray, first: int, stop: int, count: int, margin: int = 20
) -> np.ndarray:
    """At most ``count`` rows from before the peak to after the trough of the deepest fall."""
    path = closes[first:stop]
    below = path / np.maximum.accumulate(path) - 1.0
    trough = int(np.argmin(below))
    peak = int(np.argmax(path[: trough + 1]))
    begin, end = max(0, peak - margin), min(len(path) - 1, trough + margin)
    return first + begin + spread(end - begin + 1, count)


def rows_between(
    index: pd.DatetimeIndex,
    peak: date,
    trough: date,
    first: int,
    stop: int,
    count: int,
    margin: int = 20,
) -> np.ndarray:
    """At most ``count`` rows from before a dated peak to after its trough.

    Empty unless peak and trough both lie in ``first:stop``.
    """
    days = [stamp.date() for stamp in index]
    begin, end = bisect_left(days, peak), bisect_left(days, trough)
    if not first <= begin < end < stop:
        return np.arange(0)
    begin, end = max(first, begin - margin), min(stop - 1, end + margin)
    return begin + spread(end - begin + 1, count)
