from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import latency
from benchmarks.steps import STEPS
from tests.benchmarks.small import MAMBA, MAMBA2, ONCE


def test_every_path_advances_by_the_same_rows() -> None:
    report = latency.run(ONCE, (latency.Case(MAMBA), latency.Case(MAMBA2)))
    (table,) = report.tables
    assert len(table.rows) == 2 * len(STEPS) - 1  # mambapy has no Mamba-2
    assert any("advanced by the backend torch" in note for note in table.notes)
    assert set(table.column("n")) == {4}
    assert all(
        p99 >= p50 > 0
        for p50, p99 in zip(table.column("p50 us"), table.column("p99 us"), strict=True)
    )


def test_a_path_that_loses_its_state_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(shape, weights):
        return lambda x: STEPS["eager"].build(shape, weights)(x)

    monkeypatch.setitem(STEPS, "mambapy", replace(STEPS["mambapy"], build=forgetful))
    with pytest.raises(RuntimeError, match=r"mambapy and eager.*nothing was timed"):
        latency.measure(latency.Case(MAMBA, ("eager", "mambapy")), ONCE)


def test_declared_cases_name_known_paths() -> None:
    assert all(set(case.peers) <= set(STEPS) for case in latency.CASES)
