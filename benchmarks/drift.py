"""Drift of fifty columns of a million rows: the fitted sketch against what others compute.

The sketch gives the stability index, both divergences, Jensen-Shannon and Kolmogorov-Smirnov of
all columns at once; each peer computes one of them, column by column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from benchmarks.compare import Comparison, compare
from benchmarks.comparisons import table
from benchmarks.report import Options, Report, Table
from finchaos.core.provenance import random_stream
from governance.statistics.sketch import ReferenceSketch

ROWS, COLUMNS, REFERENCE_ROWS, BINS = 1_000_000, 50, 1_000_000, 10
Peer = Callable[[], np.ndarray]


def run(options: Options) -> Report:
    """Normal columns whose mean and spread grow from one to the next, counted in one pass."""
    reference, current = _data()
    sketch = ReferenceSketch.fit(reference, bins=BINS)
    work = f"distances of {ROWS} x {COLUMNS} from {REFERENCE_ROWS} rows"

    single = current.astype(np.float32)

    def ours() -> Any:
        return sketch.distances(sketch.count(current))

    found = ours()
    peers: dict[str, tuple[Peer, np.ndarray, float | np.ndarray]] = {
        "scipy ks_2samp": (lambda: _scipy(reference, current), found.ks, found.ks_error + 1e-12),
        "numpy PSI, reference not fitted": (lambda: _numpy(reference, current), found.psi, 5e-3),
    }
    added, notes = _others(reference, current)
    peers |= {name: (peer, getattr(found, what), error) for name, (peer, what, error)
              in added.items()}  # fmt: skip
    rows = [
        _compared(work, name, ours, *peer, options.protocol.rounds) for name, peer in peers.items()
    ]
    rows.append(
        compare(
            f"{work}, single precision",
            "scipy ks_2samp",
            lambda: sketch.distances(sketch.count(single)),
            peers["scipy ks_2samp"][0],
            1,
        )
    )
    rows.append(
        compare(
            f"{work}, the reference fitted anew",
            "scipy ks_2samp",
            lambda: ReferenceSketch.fit(reference, bins=BINS).distances(sketch.count(current)),
            peers["scipy ks_2samp"][0],
            1,
        )
    )
    made = table("Drift", rows)
    said = "Ours are all five distances at once; a peer is one of them, timed once it agrees."
    read = compare(work, "reading once", ours, lambda: current.sum(), options.protocol.rounds)
    floor = (
        f"To read the table once takes {1e3 * read.peer_s:.0f} ms, and 300 times scipy would be "
        f"{1e3 * rows[0].peer_s / 300.0:.0f} ms: what is left for counting is the difference."
    )
    return Report("drift", (Table(made.title, made.columns, made.rows, (said, floor, *notes)),))


def _compared(
    work: str,
    name: str,
    ours: Callable[[], object],
    peer: Peer,
    expected: np.ndarray,
    error: float | np.ndarray,
    rounds: int,
) -> Comparison:
    """Timed only where the peer's distances are ours within the sketch's error."""
    if not (np.abs(peer() - expected) <= error).all():
        raise RuntimeError(f"{name} gives {peer()[:3]}, ours {expected[:3]}")
    return compare(work, name, ours, peer, rounds)


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = random_stream(1, "benchmark/drift")
    moved = np.linspace(0.0, 1.0, COLUMNS)
    current = rng.standard_normal((ROWS, COLUMNS)) * (1.0 + 0.3 * moved) + 0.3 * moved
    return rng.standard_normal((REFERENCE_ROWS, COLUMNS)), current


def _scipy(reference: np.ndarray, current: np.ndarray) -> np.ndarray:
    return np.array(
        [
            ks_2samp(reference[:, j], current[:, j], method="asymp").statistic
            for j in range(reference.shape[1])
        ]
    )


def _numpy(reference: np.ndarray, current: np.ndarray) -> np.ndarray:
    found = []
    for old, new in zip(reference.T, current.T, strict=True):
        edges = np.quantile(old, np.linspace(0.0, 1.0, BINS + 1)[1:-1])
        p, q = (
            np.bincount(np.searchsorted(edges, values), minlength=BINS) / len(values)
            for values in (old, new)
        )
        found.append(((q - p) * np.log(q / p)).sum())
    return np.array(found)


def _others(
    reference: np.ndarray, current: np.ndarray
) -> tuple[dict[str, tuple[Peer, str, float]], list[str]]:
    """Peers that are no dependency, where they can be imported; else a note that says why not."""
    found: dict[str, tuple[Peer, str, float]] = {}
    notes = []
    try:
        from frouros.detectors.data_drift import PSI, KSTest  # type: ignore[import-not-found]

        found["frouros KSTest"] = (lambda: _frouros(KSTest(), reference, current), "ks", 0.01)
        # Its bins are of equal width: another index, which only has to exist.
        found["frouros PSI"] = (
            lambda: _frouros(PSI(num_bins=BINS), reference, current),
            "psi",
            np.inf,
        )
    except ImportError as error:
        notes.append(f"frouros is absent: {error}.")
    try:
        from evidently.legacy.calculations.stattests import (  # type: ignore[import-not-found]
            ks_stat_test,
            psi_stat_test,
        )

        # Its Kolmogorov-Smirnov test answers with a p-value.
        found["evidently K-S test"] = (
            lambda: _evidently(ks_stat_test, reference, current),
            "ks",
            np.inf,
        )
        found["evidently PSI"] = (
            lambda: _evidently(psi_stat_test, reference, current),
            "psi",
            np.inf,
        )
    except (ImportError, AttributeError, TypeError) as error:
        notes.append(f"Evidently is absent or fails to import here: {error}.")
    return found, notes


def _frouros(detector: Any, reference: np.ndarray, current: np.ndarray) -> np.ndarray:
    found = []
    for old, new in zip(reference.T, current.T, strict=True):
        detector.fit(X=old)
        result, _ = detector.compare(X=new)
        found.append(getattr(result, "statistic", getattr(result, "distance", np.nan)))
        detector.reset()
    return np.array(found)


def _evidently(test: Any, reference: np.ndarray, current: np.ndarray) -> np.ndarray:
    import pandas as pd
    from evidently.legacy.core import ColumnType  # type: ignore[import-not-found]

    return np.array(
        [
            test(pd.Series(old), pd.Series(new), ColumnType.Numerical, 0.1).drift_score
            for old, new in zip(reference.T, current.T, strict=True)
        ]
    )
