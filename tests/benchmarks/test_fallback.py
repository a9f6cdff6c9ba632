from __future__ import annotations

import pytest

from benchmarks import fallback
from benchmarks.fallback import Case
from tests.benchmarks.small import ONCE


def test_the_scan_alone_agrees_with_mambapy() -> None:
    (table,) = fallback.run(ONCE, (Case(2, 9, 8, 3),)).tables
    (row,) = table.rows
    assert row[0] == "scan B2, L9, D8, N3"
    assert table.column("peer / ours")[0] > 0
    assert table.column("output deviation")[0] < 1e-6


def test_scans_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = fallback.selective_scan

    def wrong(*args, **options):
        return (1.01 * right(*args, **options)[0],)

    monkeypatch.setattr(fallback, "selective_scan", wrong)
    with pytest.raises(RuntimeError, match=r"disagree.*nothing was timed"):
        fallback.measure(Case(2, 9, 8, 3), ONCE)
