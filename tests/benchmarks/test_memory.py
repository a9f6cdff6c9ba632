from __future__ import annotations

import pytest

from benchmarks import memory
from benchmarks.machine import ALLOCATOR, ENVIRONMENT
from benchmarks.peers import PEERS, Shape
from benchmarks.stacks import Case
from tests.benchmarks.small import MAMBA, ONCE


def test_peaks_are_measured_in_fresh_processes() -> None:
    shape = Shape("mamba", 16, 16, layers=1)
    case = Case(shape, 8, 256, ("mambapy",))
    report = memory.run(ONCE, (case,), (memory.SYSTEM,))
    (table,) = report.tables
    assert table.column("allocator") == ["system"]
    # mambapy keeps the decays and the states of all steps: b t d n twice, in float32.
    kept = 2 * 4 * case.batch * case.steps * 2 * shape.d_model * shape.d_state
    assert table.column("work") == [case.label]
    assert all(peak * 1e6 > kept for peak in table.column("peer MB"))


def test_both_allocators_are_set_whatever_the_own_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ALLOCATOR:
        monkeypatch.setenv(key, "1")
    assert memory.environment(memory.TUNED).items() >= ENVIRONMENT.items()
    assert not ALLOCATOR.keys() & memory.environment(memory.SYSTEM).keys()
    assert memory.environment(memory.SYSTEM)["OMP_NUM_THREADS"] == "1"


def test_declared_cases_name_known_peers() -> None:
    assert all(set(case.peers) <= set(PEERS) for case in memory.CASES)


def test_a_peak_that_is_hidden_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "status", {"VmHWM": 2_000, "VmRSS": 1_000}.__getitem__)
    with pytest.raises(RuntimeError, match="hides"):
        memory.peak_extra(Case(MAMBA, 1, 2, ()), "ours", "torch")
