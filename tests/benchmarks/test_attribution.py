"""The benchmark of attribution at a small size: equal attributions are timed, others not."""

from __future__ import annotations

import pytest

from benchmarks import attribution
from tests.benchmarks.small import MAMBA, ONCE


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WINDOWS": 3, "BARS": 8, "NODES": 4, "SHAPE": MAMBA}.items():
        monkeypatch.setattr(attribution, name, value)


def test_cost_of_a_window_beside_captum() -> None:
    (table,) = attribution.run(ONCE).tables
    assert table.column("peer") == ["captum, one window at a time"]
    assert "ms of processor time a window" in table.notes[0]


def test_attributions_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="differ by up to"):
        attribution.run(ONCE)
