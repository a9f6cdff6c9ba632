"""A reference fitted once, and any amount of new data compared with it in one pass.

Every column has ``cells`` cells of equal width between two quantiles of its reference, an open
cell on either side, and counts of what lies beyond the reference's range and of NaN. Counting is
all that new data cost; counts of batches add up. All distances of all columns follow from counts:

* the binned ones in bins of about equal reference shares, each a run of neighbouring cells, with
  half a count added to every bin as in :mod:`governance.statistics.two_sample`, whose functions
  compute them;
* Kolmogorov-Smirnov at the ends of cells, with a bound of what finer cells could add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.provenance import canonical_json, parse_json, sha256
from governance.statistics.two_sample import (
    BINNED_DISTANCES,
    DEFAULT_BINS,
    quantile_targets,
    smoothed_shares,
)

DEFAULT_CELLS = 2048
_TAIL = 0.001  # share of the reference left to each open cell, so that outliers widen no cell
_FORMAT = "finchaos sketch 1"


@dataclass(frozen=True, eq=False)
class Counts:
    """Values of a table by cell; ``a + b`` are the counts of both batches.

    Attributes
    ----------
    cells : numpy.ndarray, shape (s, cells + 2), int64
        The first and last cell are open.
    below, above : numpy.ndarray, shape (s,), int64
        Of the values counted in the open cells, those beyond all of the reference.
    missing : numpy.ndarray, shape (s,), int64
        NaN; counted nowhere else.
    """

    cells: np.ndarray
    below: np.ndarray
    above: np.ndarray
    missing: np.ndarray

    def __add__(self, other: Counts) -> Counts:
        if self.cells.shape != other.cells.shape:
            raise InputError(
                "counts of two sketches cannot be added",
                expected=f"shape {self.cells.shape}",
                got=str(other.cells.shape),
            )
        return Counts(
            self.cells + other.cells,
            self.below + other.below,
            self.above + other.above,
            self.missing + other.missing,
        )

    @cached_property
    def present(self) -> np.ndarray:
        """Values that are numbers, shape (s,)."""
        return self.cells.sum(axis=1)

    @cached_property
    def shares(self) -> np.ndarray:
        """Shares by cell, shape (s, cells + 4): beyond the reference are cells of their own."""
        inner = self.cells.copy()
        inner[:, 0] -= self.below
        inner[:, -1] -= self.above
        split = np.concatenate([self.below[:, None], inner, self.above[:, None]], axis=1)
        return split / np.maximum(self.present, 1)[:, None]


@dataclass(frozen=True, eq=False)
class SketchDistances:
    """Distances of counted data from a reference, each of shape (s,); NaN where nothing counted.

    Attributes
    ----------
    psi, kl_reference_to_current, kl_current_to_reference, jensen_shannon : numpy.ndarray
        In nats, over bins.
    ks : numpy.ndarray
        Largest gap of the distribution functions at the ends of cells; never above the exact one.
    ks_error : numpy.ndarray
        The exact one is at most ``ks + ks_error``. Large where one value is frequent: its cell
        cannot be told from a crowded one.
    beyond_range : numpy.ndarray
        Share of the new values outside the range of the reference.
    missing : numpy.ndarray
        Share of NaN.
    """

    psi: np.ndarray
    kl_reference_to_current: np.ndarray
    kl_current_to_reference: np.ndarray
    jensen_shannon: np.ndarray
    ks: np.ndarray
    ks_error: np.ndarray
    beyond_range: np.ndarray
    missing: np.ndarray


@dataclass(frozen=True, eq=False)
class ReferenceSketch:
    """Cells and counts of a reference.

    Attributes
    ----------
    low, scale : numpy.ndarray, shape (s,)
        Cell of x: ``floor((x - low) * scale)``, from 0 to ``cells - 1``; else an open one.
    least, most : numpy.ndarray, shape (s,)
        Range of the reference.
    counts : Counts
        Of the reference.
    bins : int
        Bins asked for.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sketch = ReferenceSketch.fit(rng.normal(size=(5000, 2)))
    >>> new = sketch.count(rng.normal(size=(500, 2))) + sketch.count(rng.normal(size=(500, 2)))
    >>> bool((sketch.distances(new).psi < 0.05).all())
    True
    """

    low: np.ndarray
    scale: np.ndarray
    least: np.ndarray
    most: np.ndarray
    counts: Counts
    bins: int = DEFAULT_BINS

    @classmethod
    def fit(
        cls, reference: np.ndarray, *, cells: int = DEFAULT_CELLS, bins: int = DEFAULT_BINS
    ) -> ReferenceSketch:
        """Cells of a reference, and its counts.

        Parameters
        ----------
        reference : numpy.ndarray, shape (n, s), float
            NaN counts as missing; every column needs a number and none may be infinite.
        cells : int
            Of equal width between the quantiles 0.001 and 0.999, which bounds the memory:
            8 bytes a cell and column.
        bins : int
            Of about equal shares; columns with frequent values have fewer.

        Raises
        ------
        InputError
            If there is no such table, or cells or bins are impossible.
        """
        table = _table(reference)
        possible = 2 <= bins <= cells and table.shape[1] * (cells + 3) < 2**31
        if not possible or np.isinf(table).any() or np.isnan(table).all(axis=0).any():
            raise InputError(
                "this reference cannot be sketched",
                expected="2 <= bins <= cells, no infinite value and a number in every column",
                got=f"{bins} bins, {cells} cells, shape {table.shape}",
            )
        least, most = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
        ends = np.nanquantile(table, [_TAIL, 1.0 - _TAIL], axis=0, method="inverted_cdf")
        low, high = np.ascontiguousarray(ends, dtype=np.float64)
        # The upper quantile falls into the last cell, not on its end.
        width = np.nextafter(high, np.inf) - low
        # Values too close for a width, such as a constant, have the open cells and one between.
        with np.errstate(over="ignore", divide="ignore"):
            scale = cells / width
        scale = np.where(np.isfinite(scale), scale, np.finfo(np.float64).max)
        fitted = (low, scale, least.astype(np.float64), most.astype(np.float64))
        return cls(*fitted, _counts(table, *fitted, cells), bins)

    @property
    def cells(self) -> int:
        """Cells between the open ones."""
        return self.counts.cells.shape[1] - 2

    def count(self, batch: np.ndarray) -> Counts:
        """Counts of new rows, shape (m, s); infinite values lie in the open cells."""
        table = _table(batch)
        if table.shape[1] != len(self.low):
            raise InputError(
                "new data do not fit the reference",
                expected=f"{len(self.low)} columns",
                got=str(table.shape),
            )
        return _counts(table, self.low, self.scale, self.least, self.most, self.cells)

    @cached_property
    def last_cells(self) -> np.ndarray:
        """Last cell of every bin but the last, shape (s, bins - 1), rising, repeated where the
        reference has frequent values.
        """
        cumulated = self.counts.cells.cumsum(axis=1)
        return np.stack(
            [
                np.searchsorted(row, quantile_targets(int(row[-1]), self.bins), side="left")
                for row in cumulated
            ]
        )

    def binned(self, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
        """Counts by bin, shape (s, 2 bins - 1), and which of these bins exist.

        A cell that holds several quantiles of the reference is a bin of its own.
        """
        ends = self.last_cells
        alone = np.zeros(ends.shape, dtype=bool)
        alone[:, :-1] = ends[:, 1:] == ends[:, :-1]
        after = ends + 1
        cuts = np.sort(np.concatenate([after, np.where(alone, ends, after)], axis=1), axis=1)
        cumulated = np.zeros((len(ends), self.cells + 3), dtype=np.int64)
        np.cumsum(counts.cells, axis=1, out=cumulated[:, 1:])
        held = np.take_along_axis(cumulated, cuts, axis=1)
        used = np.ones((len(cuts), cuts.shape[1] + 1), dtype=bool)
        used[:, 1:-1] = cuts[:, 1:] != cuts[:, :-1]
        # Nothing lies before a first cut at 0, or after a last one at the end.
        used[:, 0] = cuts[:, 0] > 0
        used[:, -1] = cuts[:, -1] < self.cells + 2
        return np.diff(held, axis=1, prepend=0, append=cumulated[:, -1:]), used

    def distances(self, counts: Counts) -> SketchDistances:
        """How far counted data are from the reference."""
        (own, used), (new, _) = self.binned(self.counts), self.binned(counts)
        p, q = smoothed_shares(own, used), smoothed_shares(new, used)
        empty = counts.present == 0
        found = {
            name: np.where(empty, np.nan, distance(p, q))
            for name, distance in BINNED_DISTANCES.items()
        }
        n = np.maximum(counts.present, 1)
        ks, error = _kolmogorov(self.counts.shares, counts.shares)
        rows = np.maximum(counts.present + counts.missing, 1)
        return SketchDistances(
            **found,
            ks=np.where(empty, np.nan, ks),
            ks_error=np.where(empty, np.nan, error),
            beyond_range=np.where(empty, np.nan, (counts.below + counts.above) / n),
            missing=counts.missing / rows,
        )

    def to_json(self) -> bytes:
        """Canonical JSON; its SHA-256 is the digest."""
        content: dict[str, Any] = {"format": _FORMAT, "bins": self.bins}
        for name in ("low", "scale", "least", "most"):
            content[name] = getattr(self, name).tolist()
        for name in ("cells", "below", "above", "missing"):
            content[name] = getattr(self.counts, name).tolist()
        return canonical_json(content)

    @classmethod
    def from_json(cls, data: bytes) -> ReferenceSketch:
        """The sketch that :meth:`to_json` wrote.

        Raises
        ------
        IntegrityError
            If it is none.
        """
        try:
            content = parse_json(data)
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']!r}")
            floats = [_vector(content[name]) for name in ("low", "scale", "least", "most")]
            cells = np.asarray(content["cells"], dtype=np.int64)
            whole = [np.asarray(content[name], dtype=np.int64)
                     for name in ("below", "above", "missing")]  # fmt: skip
            if cells.ndim != 2 or {len(part) for part in (*floats, *whole)} != {len(cells)}:
                raise ValueError(f"cells of shape {cells.shape} for {len(floats[0])} columns")
            low, scale, least, most = floats
            return cls(low, scale, least, most, Counts(cells, *whole), int(content["bins"]))
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError("this is not a sketch", got=str(error)[:200]) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return sha256(self.to_json())


def cell_of(values: np.ndarray, low: float, scale: float, cells: int) -> np.ndarray:
    """Cell of every value of a column, 0 and ``cells + 1`` the open ones: the definition.

    What :meth:`ReferenceSketch.count` counts, one value at a time.
    """
    with np.errstate(over="ignore"):
        place = (np.asarray(values, dtype=np.float64) - low) * scale
    return (np.floor(np.clip(place, -1.0, cells)) + 1.0).astype(np.int64)


def _table(values: np.ndarray) -> np.ndarray:
    table = np.asarray(values)
    if table.dtype not in (np.float32, np.float64):
        table = table.astype(np.float64)
    if table.ndim != 2 or not table.shape[1] or (not len(table)):
        raise InputError(
            "a sketch needs a table", expected="shape (rows, columns)", got=str(table.shape)
        )
    return table


def _vector(values: Sequence[float]) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError("a row of numbers is none")
    return found


def _kolmogorov(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest gap at the ends of cells, and how much larger it can be inside one.

    Inside a cell both functions only rise: the gap there is at most that at the left end plus
    the first share, and at most that at the right end plus the second share.
    """
    right = np.cumsum(p - q, axis=1)
    left = right - (p - q)
    ks = np.abs(right).max(axis=1)
    upper = np.minimum(left + p, right + q).max(axis=1)
    lower = np.minimum(q - left, p - right).max(axis=1)
    # A few units in the last place: sums are rounded.
    slack = p.shape[1] * np.finfo(np.float64).eps
    return ks, np.maximum(np.maximum(upper, lower) - ks, 0.0) + slack


def _counts(
    table: np.ndarray,
    low: np.ndarray,
    scale: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    cells: int,
) -> Counts:
    columns = table.shape[1]
    table = np.ascontiguousarray(table)  # neighbouring columns are computed at once
    # One slot more than there are cells: what is no number is counted there and thrown away.
    found = np.zeros(columns * (cells + 3), dtype=np.uint32)
    aside = np.zeros((3, columns), dtype=np.int64)
    _count(table, low, scale, least, most, cells, found, aside)
    return Counts(found.reshape(columns, -1)[:, :-1].astype(np.int64), *aside)


@njit(cache=True, error_model="numpy", nogil=True)
def _count(
    table: np.ndarray,
    low: np.ndarray,
    scale: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    cells: int,
    found: np.ndarray,
    aside: np.ndarray,
) -> None:
    """Cells of a row at once, then its counts: the first loop has no branch and no dependence."""
    rows, columns = table.shape
    end = float(cells)
    first = (np.arange(columns) * (cells + 3)).astype(np.int32)
    slot = np.empty(columns, np.uint32)
    for i in range(rows):
        outside = np.int64(0)
        for j in range(columns):
            place = (table[i, j] - low[j]) * scale[j]
            slot[j] = np.uint32(np.int32(min(max(place, -1.0), end) + 1.0) + first[j])
            outside += np.int64(not ((place >= 0.0) & (place < end)))
        if outside:
            for j in range(columns):
                x = table[i, j]
                place = (x - low[j]) * scale[j]
                if math.isnan(x):
                    slot[j] = np.uint32(first[j] + cells + 2)
                    aside[2, j] += 1
                elif place < 0.0:
                    aside[0, j] += x < least[j]
                elif place >= end:
                    aside[1, j] += x > most[j]
        for j in range(columns):
            # Unsigned, or every index would be tried for being negative.
            found[np.uint64(slot[j])] += np.uint32(1)
