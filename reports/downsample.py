"""Fewer points with the same picture: the lowest and highest of every bucket stay."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def extremes(values: np.ndarray, buckets: int) -> np.ndarray:
    """Rows to keep so that no peak, trough or gap disappears.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
        May contain NaN; the first NaN of a bucket is kept, so that gaps stay gaps.
    buckets : int
        Equal shares of the rows. At most three rows of each are kept, and the ends.

    Returns
    -------
    numpy.ndarray, shape (m,), int
        Sorted rows; all of them if there are no more than three per bucket.

    Examples
    --------
    >>> extremes(np.array([0.0, 9.0, 1.0, 2.0, -5.0, 3.0, 1.0, 1.0]), 2).tolist()
    [0, 1, 4, 5, 7]
    """
    n = len(values)
    if n <= 3 * buckets:
        return np.arange(n)
    edges = np.linspace(0, n, buckets + 1).astype(int)
    kept = {0, n - 1}
    for start, stop in pairwise(edges):
        part = values[start:stop]
        gaps = np.isnan(part)
        if gaps.any():
            kept.add(int(start + np.argmax(gaps)))
        if not gaps.all():
            kept.update((int(start + np.nanargmin(part)), int(start + np.nanargmax(part))))
    return np.array(sorted(kept))
