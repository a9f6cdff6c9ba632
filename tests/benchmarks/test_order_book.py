"""The benchmark of the order book at a small size."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import order_book
from tests.benchmarks.small import ONCE

SMALL = order_book.Sizes(ours=3_000.0, tick=3_000.0, plain=300.0)


def test_both_tables_have_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_book, "find_spec", lambda name: None)
    flow, book = order_book.run(ONCE, SMALL).tables
    assert order_book.ABSENT in flow.notes
    for table in (flow, book):
        assert table.column("side")[0] == order_book.OURS
        ratios = table.column("side's time / ours")
        assert ratios[0] is None
        assert all(ratio > 0 for ratio in ratios[1:])
        assert all(rate > 0 for rate in table.column("events a second"))


def test_rates_that_are_wrong_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_book, "find_spec", lambda name: None)
    monkeypatch.setattr(order_book, "_thinning", lambda horizon: np.zeros(6))
    with pytest.raises(RuntimeError, match="rates"):
        order_book.run(ONCE, SMALL)


def test_quotes_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_book, "find_spec", lambda name: None)
    monkeypatch.setattr(order_book, "_interpreted", lambda: lambda *args: args[5].fill(0))
    with pytest.raises(RuntimeError, match="other quotes"):
        order_book.run(ONCE, SMALL)
