"""The benchmark of the sketch at a small size: peers that agree are timed, others are not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import drift
from benchmarks.report import Options
from benchmarks.timing import Protocol


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "ROWS", 2_000)
    monkeypatch.setattr(drift, "COLUMNS", 3)
    monkeypatch.setattr(drift, "REFERENCE_ROWS", 3_000)
    nobody: tuple[dict, list] = ({}, ["frouros is absent"])
    monkeypatch.setattr(drift, "_others", lambda reference, current: nobody)


def test_ratios_to_scipy_and_numpy_and_a_word_on_who_is_absent() -> None:
    (table,) = drift.run(Options(protocol=Protocol(rounds=1))).tables
    peers = [
        "scipy ks_2samp",
        "numpy PSI, reference not fitted",
        "scipy ks_2samp",
        "scipy ks_2samp",
    ]
    assert table.column("peer") == peers
    assert "frouros is absent" in table.notes


def test_distances_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "_scipy", lambda reference, current: np.ones(3))
    with pytest.raises(RuntimeError, match="scipy ks_2samp gives"):
        drift.run(Options(protocol=Protocol(rounds=1)))
