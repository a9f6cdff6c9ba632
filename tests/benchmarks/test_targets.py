from __future__ import annotations

import pytest

from benchmarks import fallback, latency, memory, s4d, targets
from benchmarks.accuracy import Grid
from benchmarks.stacks import Case
from benchmarks.targets import AS_SET, Bar, Sizes
from tests.benchmarks.small import MAMBA, MAMBA2, ONCE

SMALL = Sizes(
    mambapy=Case(MAMBA, 1, 5, ("mambapy",)),
    transformers=Case(MAMBA, 1, 5, ("transformers",)),
    inference=Case(MAMBA, 1, 5, ("mambapy",)),
    mamba2=Case(MAMBA2, 1, 5, ("transformers", "transformers_64")),
    token=latency.Case(MAMBA, ("stream", "mambapy", "onnx")),
    memory=Case(MAMBA, 1, 5, ("mambapy",)),
    fallback=fallback.Case(1, 5, 8, 3),
    grid=Grid((1,), (3,), (16,), (3,)),
    stacks=(Case(MAMBA, 1, 5, ()), Case(MAMBA2, 1, 5, ())),
)


@pytest.fixture
def small_s4d(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHANNELS": 2, "STATES": 4}.items():
        monkeypatch.setattr(s4d, name, value)


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fresh processes have a test of their own.
    sizes = {"tuned": 60e6, "system": 40e6}
    monkeypatch.setattr(memory, "measure", lambda _, __, key: {"ours": 5e6, "mambapy": sizes[key]})


@pytest.mark.usefixtures("small_s4d", "peaks")
def test_every_target_is_measured_and_judged() -> None:
    (table,) = targets.run(ONCE, SMALL).tables
    assert len(table.rows) == 18
    assert all(value > 0 for value in table.column("measured"))
    kept = next(row for row in table.rows if "memory" in str(row[0]))
    assert kept[4] == 8.0
    assert "system" in str(kept[7])
    verdicts = table.column("floor is")
    assert set(verdicts) <= {"met", "MISSED"}
    assert table.notes[0].startswith(f"{verdicts.count('MISSED')} of 18 floors")


def test_floors_and_goals_are_those_that_were_set() -> None:
    bars = [bar for target in targets.targets(AS_SET) for bar in target.bars.values()]
    assert [(bar.floor, bar.goal) for bar in bars] == [
        (7, 12),
        (80, 150),
        (8, 15),
        (3.5, 6),
        (1.8, 3),
        (60, 100),
        (8, 14),
        (6, 10),
        (15, 30),
        (1.7, 2.2),
        *[(1e-6, 4e-7), (5e-6, 1e-6)] * 4,
    ]


@pytest.mark.parametrize(
    ("value", "at_least", "expected"),
    [
        (7.0, True, ("met", "MISSED")),
        (12.0, True, ("met", "met")),
        (6.9, True, ("MISSED", "MISSED")),
        (7.0, False, ("met", "met")),
        (12.1, False, ("MISSED", "MISSED")),
    ],
)
def test_verdicts(value: float, at_least: bool, expected: tuple[str, str]) -> None:
    floor, goal = (7.0, 12.0) if at_least else (12.0, 7.0)
    assert Bar("peer", floor, goal, at_least).verdicts(value) == expected
