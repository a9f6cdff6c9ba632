"""The benchmark of rolling Hurst exponents at a small size: equal values are timed, others not."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import fractal
from benchmarks.report import Options
from benchmarks.timing import Protocol

ONCE = Options(protocol=Protocol(rounds=1))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fractal, "BARS", 400)
    monkeypatch.setattr(fractal, "LIBRARY_WINDOWS", 20)
    monkeypatch.setattr(fractal, "NAIVE_WINDOWS", 10)


def detrended(series: np.ndarray) -> float:
    """What antropy computes, box by box by a fit of a polynomial."""
    walk = np.cumsum(series - series.mean())
    logs = []
    for size in (4, 5, 6, 8, 9, 11):
        boxes = walk[: len(walk) // size * size].reshape(-1, size).T
        left = np.polyfit(np.arange(size), boxes, 1, full=True)[1].sum()
        logs.append((np.log(size), 0.5 * np.log(left / boxes.size)))
    return float(np.polyfit(*np.array(logs).T, 1)[0])


def test_a_ratio_to_pandas_and_a_word_on_who_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fractal, "find_spec", lambda name: None)
    (table,) = fractal.run(ONCE).tables
    assert table.column("peer") == ["pandas apply, scaled from 10 windows"] * 2
    assert fractal.ABSENT in table.notes


def test_the_library_first_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fractal, "find_spec", lambda name: True)
    stand_in = SimpleNamespace(detrended_fluctuation=detrended)
    monkeypatch.setitem(sys.modules, "antropy", stand_in)
    (table,) = fractal.run(ONCE).tables
    assert table.column("peer")[0] == ("antropy, detrended_fluctuation, scaled from 20 windows")
    assert fractal.ABSENT not in table.notes


def test_values_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fractal, "find_spec", lambda name: None)
    monkeypatch.setattr(fractal, "_pandas_dfa", lambda close: np.full(10, 0.5))
    with pytest.raises(RuntimeError, match="pandas apply differs from ours by up to 0"):
        fractal.run(ONCE)
