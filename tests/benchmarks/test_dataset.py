"""The benchmark of the panel at a small size: the same training, less memory."""

from __future__ import annotations

import pytest

from benchmarks import dataset
from benchmarks.dataset import COPIED, LAZY, WRITE, Case
from tests.benchmarks.small import ONCE


@pytest.mark.slow
def test_the_lazy_way_takes_less_memory_for_the_same_losses() -> None:
    case = Case(20_000, 1, 3)
    report = dataset.run(ONCE, ((case, (WRITE, LAZY, COPIED)),))
    (table,) = report.tables
    assert table.column("way") == [WRITE, LAZY, COPIED]
    _, lazy, copied = table.column("above what the imports take MB")
    copies = case.rows * dataset.WINDOW * 4 * (dataset.FEATURES + 1) / 1e6
    assert copied - lazy > 0.5 * copies
    assert table.column("steps")[1:] == [3, 3]
    losses = table.column("mean loss of the last tenth")
    assert losses[1] == losses[2] > 0


def test_trainings_that_differ_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def differing(case: Case, way: str, panel: str, backend: str) -> dict[str, object]:
        return {"loss": float(way == COPIED)}

    monkeypatch.setattr(dataset, "_in_fresh_process", differing)
    monkeypatch.setattr(dataset, "_row", lambda *found: ())
    with pytest.raises(RuntimeError, match="training differs"):
        dataset.run(ONCE)
