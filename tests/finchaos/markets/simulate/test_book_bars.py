"""Bars of trades against pandas, and their labels against the times of switches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.book_bars import book_bars
from finchaos.markets.simulate.order_book import (
    CALM,
    FlowRegime,
    OrderBookConfig,
    OrderBookRun,
    simulate_order_book,
)

SPARSE = OrderBookConfig(
    regimes=(FlowRegime(0.3, 0.1, 0.01, 900.0), FlowRegime(0.3, 0.1, 0.1, 400.0))
)


@pytest.fixture(scope="module")
def run() -> OrderBookRun:
    return simulate_order_book(SPARSE, 9_010.0, random_stream(4, "test.book_bars"), seed=4)


def test_bars_are_those_of_pandas(run: OrderBookRun) -> None:
    found = book_bars(run, 10.0)
    trades = run.trades
    frame = pd.DataFrame({"price": trades.tick * 0.01, "lots": trades.lots.astype(float)})
    frame["buy"] = frame["lots"] * (trades.sign > 0)
    grouped = frame.groupby(np.ceil(trades.time / 10.0).astype(int) - 1)
    rows = pd.RangeIndex(901)
    ohlc = grouped["price"].ohlc().reindex(rows)
    close = ohlc["close"].ffill().fillna(100.0)
    traded = ohlc["close"].notna().to_numpy()
    assert 50 < traded.sum() < 850
    for name in ("open", "high", "low", "close"):
        expected = ohlc[name].where(traded, close).to_numpy()
        assert getattr(found.bars, name) == pytest.approx(expected, rel=1e-14)
    assert (found.bars.volume == grouped["lots"].sum().reindex(rows, fill_value=0.0)).all()
    assert (found.buy_volume == grouped["buy"].sum().reindex(rows, fill_value=0.0)).all()


def test_a_trade_on_an_edge_closes_the_earlier_bar(run: OrderBookRun) -> None:
    bars = book_bars(run, 10.0).bars
    row = int(np.searchsorted(run.trades.time, 3000.0))
    time = run.trades.time.copy()
    time[row] = 3000.0
    moved = replace(run, trades=replace(run.trades, time=time))
    found = book_bars(moved, 10.0).bars
    assert found.close[299] == 0.01 * run.trades.tick[row]
    assert found.volume[299] == bars.volume[299] + run.trades.lots[row]


def test_labels_are_the_regime_at_the_close(run: OrderBookRun) -> None:
    found = book_bars(run, 60.0)
    closes = 60.0 * np.arange(1, 151)
    expected = [run.regime[int((run.switch_time <= close).sum())] for close in closes]
    assert len(found.bars) == 150
    assert found.regime.tolist() == expected
    assert len(found.switch_points) > 2
    assert (np.diff(found.regime)[found.switch_points - 1] != 0).all()
    assert found.switch.sum() == np.count_nonzero(np.diff(found.regime))


def test_stamps_and_provenance(run: OrderBookRun) -> None:
    bars = book_bars(run, 60.0).bars
    assert str(bars.index[0]) == "2000-01-03 14:31:00+00:00"
    assert bars.bars_per_year == 252 * 390
    assert bars.provenance.kind == "simulated"
    assert bars.provenance.seed == 4
    other = simulate_order_book(OrderBookConfig(), 100.0, random_stream(4, "test.book_bars"))
    assert book_bars(other, 10.0).bars.provenance.notes != bars.provenance.notes


def test_a_longer_run_has_the_same_bars_before(run: OrderBookRun) -> None:
    longer = simulate_order_book(SPARSE, 12_000.0, random_stream(4, "test.book_bars"))
    one, other = book_bars(run, 30.0), book_bars(longer, 30.0)
    assert (one.bars.frame().to_numpy() == other.bars.frame().to_numpy()[:300]).all()
    assert (one.regime == other.regime[:300]).all()


def test_a_run_without_trades_repeats_the_opening_bid() -> None:
    none = tuple(tuple(0.0 for _ in range(6)) for _ in range(6))
    quiet = FlowRegime(0.5, 0.0, 1e-9, 1e9)
    config = OrderBookConfig(regimes=(quiet,), excitation=(none,), decay=(1.0,))
    found = book_bars(simulate_order_book(config, 100.0, random_stream(1, "test.quiet")), 10.0)
    assert (found.bars.frame().to_numpy() == [100.0, 100.0, 100.0, 100.0, 0.0]).all()


@pytest.mark.parametrize("seconds", [0.0, -1.0, 7.0, 23_400.0, 0.7, np.nan, np.inf])
def test_impossible_lengths_are_refused(run: OrderBookRun, seconds: float) -> None:
    with pytest.raises(InputError, match="no bars of that length"):
        book_bars(run, seconds)


def test_one_regime_has_one_label() -> None:
    config = OrderBookConfig(regimes=(CALM,))
    found = book_bars(simulate_order_book(config, 3_600.0, random_stream(1, "test.one")))
    assert not found.switch.any()
    assert not found.regime.any()
