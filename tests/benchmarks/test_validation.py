"""The validator's own benchmarks at a small size: equal answers are timed, others not."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import bootstrap, validation
from benchmarks.report import Options
from benchmarks.timing import Protocol
from governance.statistics.overfitting import backtest_overfitting

ONCE = Options(protocol=Protocol(rounds=1))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"ROWS": 900, "STARTS": 2, "STRATEGIES": 5, "DAYS": 64, "BLOCKS": 6}
    for name, value in sizes.items():
        monkeypatch.setattr(validation, name, value)
    for name, value in {"DAYS": 1000, "DRAWS": 400, "BLOCK": 20}.items():
        monkeypatch.setattr(bootstrap, name, value)


class Theirs:
    """What jumpmodels would reach, dearer by a factor."""

    dearer = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.val_ = 0.0

    def fit(self, rows: Any, returns: Any, sort_by: str) -> None:
        rule = validation.JumpRule(penalty=validation.PENALTY, starts=2)
        found = validation.JumpModel.fit(np.asarray(rows), np.asarray(returns), rule, seed=1)
        self.val_ = self.dearer * found.cost


def test_the_jump_model_beside_its_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "jumpmodels.jump", SimpleNamespace(JumpModel=Theirs))
    (table,) = validation.jump_model(ONCE).tables
    assert table.column("peer") == ["jumpmodels JumpModel"]
    assert any("At least 40 times was asked for" in note for note in table.notes)
    monkeypatch.setattr(Theirs, "dearer", 0.9)
    with pytest.raises(RuntimeError, match="not the same objective"):
        validation.jump_model(ONCE)


def test_the_table_says_who_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "find_spec", lambda name: None)
    (table,) = validation.jump_model(ONCE).tables
    assert table.column("peer") == [validation.ALONE]
    assert table.notes == (validation.ABSENT,)


def test_overfitting_is_the_same_split_by_split() -> None:
    returns = np.random.default_rng(1).standard_normal((67, 7))
    ours = backtest_overfitting(returns, 6).probability
    assert ours == pytest.approx(validation.split_by_split(returns, 6), abs=1e-12)
    (table,) = validation.overfitting(ONCE).tables
    assert "20 splits" in str(table.column("work")[0])
    assert "Under 0.1 s was asked for" in table.notes[0]


def test_bootstrap_limits_agree_or_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DAYS", 2000)
    (table,) = validation.bootstrap_sums(ONCE).tables
    assert table.column("peer") == ["arch StationaryBootstrap"]
    assert "asked for" in table.notes[1]
    monkeypatch.setattr(bootstrap, "_sharpe", lambda returns: returns.mean(axis=-1) + 9.0)
    with pytest.raises(RuntimeError, match="disagree"):
        validation.bootstrap_sums(ONCE)
