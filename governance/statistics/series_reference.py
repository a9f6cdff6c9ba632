"""One series of a reference, fitted once: exact for ordinary lengths, sketched beyond them.

Up to :data:`MOST_EXACT_ROWS` rows every distinct value is a cell of its own, bins end at values of
the reference, and distances are those of :mod:`governance.statistics.two_sample`. Longer series
have the cells of :class:`governance.statistics.sketch.ReferenceSketch`, whose bins are runs of
cells: to compare costs one pass over the new rows, and a draw of the null one pass over cells.
What was found and what it is held against always use the same cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from governance.statistics.sketch import ReferenceSketch, cell_of
from governance.statistics.two_sample import (
    BINNED_DISTANCES,
    bin_counts,
    ks_statistic,
    population_stability_index,
    quantile_edges,
    sample,
    smoothed_shares,
)

MOST_EXACT_ROWS = 20_000
"""Eighty years of days. Beyond it cells of the sketch are narrower than sampling error: a tenth of
the rows lies in 200 of them."""


@dataclass(frozen=True, eq=False)
class SeriesReference:
    """A series and the bins that it gives.

    Attributes
    ----------
    values : numpy.ndarray, shape (n,), finite
    bins : int
        Asked for; frequent values change how many there are.

    Examples
    --------
    >>> normal = np.random.default_rng(1).normal(size=30_000)
    >>> found = SeriesReference(normal, 10).distances(normal[:5000] + 1.0)
    >>> found["psi"] > 0.5, found["ks"] > 0.3
    (True, True)
    """

    values: np.ndarray
    bins: int

    @cached_property
    def sketch(self) -> ReferenceSketch | None:
        """Of a long series; None where every distinct value is a cell."""
        if len(self.values) <= MOST_EXACT_ROWS:
            return None
        return ReferenceSketch.fit(sample(self.values, "reference")[:, None], bins=self.bins)

    @cached_property
    def cells(self) -> tuple[np.ndarray, int]:
        """Cell of every value, shape (n,), int32, rising with it, and how many cells there are."""
        if self.sketch is None:
            distinct, codes = np.unique(self.values, return_inverse=True)
            return codes.astype(np.int32).reshape(-1), len(distinct)
        low, scale = float(self.sketch.low[0]), float(self.sketch.scale[0])
        codes = cell_of(self.values, low, scale, self.sketch.cells)
        return codes.astype(np.int32), self.sketch.cells + 2

    def shares(self, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Smoothed shares of both samples in the bins of the reference, each of shape (b,)."""
        new = sample(current, "current")
        if self.sketch is None:
            edges = self._edges
            own, held = (bin_counts(values, edges) for values in (self.values, new))
            return smoothed_shares(own), smoothed_shares(held)
        counts = self.sketch.count(new[:, None])
        (own, used), (held, _) = (self.sketch.binned(c) for c in (self.sketch.counts, counts))
        kept = used[0]
        return smoothed_shares(own[0][kept]), smoothed_shares(held[0][kept])

    def stability_index(self, current: np.ndarray) -> float:
        """The population stability index alone, nats."""
        return float(population_stability_index(*self.shares(current)))

    def distances(self, current: np.ndarray) -> dict[str, float]:
        """Every distance of :data:`governance.statistics.two_sample.DISTANCES`, by name."""
        shares = self.shares(current)
        found = {name: float(distance(*shares)) for name, distance in BINNED_DISTANCES.items()}
        if self.sketch is None:
            return {**found, "ks": ks_statistic(self.values, np.asarray(current))}
        counts = self.sketch.count(np.asarray(current)[:, None])
        return {**found, "ks": float(self.sketch.distances(counts).ks[0])}

    @cached_property
    def _edges(self) -> np.ndarray:
        return quantile_edges(self.values, self.bins)
