"""The benchmark of the backtest at a small size: equal figures are timed, others are not."""

from __future__ import annotations

import pytest

from benchmarks import backtest
from benchmarks.report import Options
from benchmarks.timing import Protocol


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "BARS", 2_000)


def test_a_ratio_to_pandas_and_a_word_on_who_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "find_spec", lambda name: None)
    (table,) = backtest.run(Options(protocol=Protocol(rounds=1))).tables
    assert table.column("peer") == ["pandas"]
    assert backtest.ABSENT in table.notes


def test_figures_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "find_spec", lambda name: None)
    monkeypatch.setattr(backtest, "_pandas", lambda target, close: (1.0, 0.9, 0.5))
    with pytest.raises(RuntimeError, match="pandas gives"):
        backtest.run(Options(protocol=Protocol(rounds=1)))
