from __future__ import annotations

import pytest

from benchmarks import bootstrap, comparisons, s4d
from tests.benchmarks.small import ONCE


def test_s4d_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHANNELS": 2, "STATES": 4, "BATCH": 2}.items():
        monkeypatch.setattr(s4d, name, value)
    (table,) = comparisons.s4d(ONCE).tables
    assert len(table.rows) == 9
    assert all(ratio > 0 for ratio in table.column("peer / ours"))


def test_bootstrap_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DRAWS", 300)
    monkeypatch.setattr(bootstrap, "DAYS", 1000)
    monkeypatch.setattr(bootstrap, "BLOCK", 20)
    (table,) = comparisons.sharpe(ONCE).tables
    assert table.column("peer") == ["arch StationaryBootstrap"]
