"""The paper account against the backtest, against sums over fills, and at its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finchaos.core.bars import Bars
from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.signals import Signals
from finchaos.live.broker import AccountRow, BrokerRules, PaperBroker, PaperFill
from finchaos.trading.backtest import run_backtest
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(3, 900)
TARGETS = np.repeat(np.random.default_rng(5).choice([0.0, 0.3, 1.0, 1.5, -0.5], 180), 5)


def traded(
    rules: BrokerRules, bars: Bars, targets: np.ndarray, **options: Any
) -> tuple[list[AccountRow], list[PaperFill]]:
    broker, rows, fills = PaperBroker(rules, **options), [], []
    for t, ts in enumerate(bars.index.as_unit("ns").asi8.tolist()):
        volume = float(bars.volume[t])
        fills += broker.open_bar(ts, float(bars.open[t]), volume, urgent=targets[t] == 0.0)
        target = float(targets[t])
        new, row = broker.close_bar(ts, float(bars.close[t]), volume, target, urgent=target == 0.0)
        rows.append(row)
        fills += new
    return rows, fills


def column(rows: list[AccountRow], name: str) -> np.ndarray:
    return np.array([getattr(row, name) for row in rows])


@pytest.mark.parametrize(("fill", "delay"), [("same_close", 0), ("next_close", 1)])
def test_a_kept_fraction_gives_the_ledger_of_the_backtest_bit_for_bit(
    fill: Any, delay: int
) -> None:
    rules = BrokerRules(capital=1e5, fill=fill, holding="fraction", commission_bps=10.0)
    rows, fills = traded(rules, BARS, TARGETS)
    signals = Signals(BARS.index, TARGETS)
    ledger = run_backtest(signals, BARS, cost_bps=10.0, delay_bars=delay, capital=1e5)
    for name in ("equity", "exposure", "units", "cash", "costs"):
        assert np.array_equal(column(rows, name), getattr(ledger, name)), name
    stamps = [
        (fill.decided.as_unit("ns").value, fill.filled.as_unit("ns").value) for fill in ledger.fills
    ]
    assert [(fill.decided, fill.filled) for fill in fills] == stamps
    assert len(stamps) > 50


def test_fills_at_the_next_open_are_those_of_a_backtest_over_opens_and_closes() -> None:
    rules = BrokerRules(fill="next_open", holding="fraction", half_spread_bps=4.0, slippage_bps=6.0)
    rows, _ = traded(rules, BARS, TARGETS)
    prices = np.column_stack([BARS.open, BARS.close]).ravel()
    index = pd.date_range("2000-01-01", periods=len(prices), freq="h", tz="UTC")
    both = Bars(index, prices, prices, prices, prices, np.zeros(len(prices)), "T")
    # What is decided at a close is held from the open after it, and kept at the close.
    held = np.repeat(np.concatenate([[0.0], TARGETS[:-1]]), 2)
    ledger = run_backtest(Signals(index, held), both, cost_bps=10.0, delay_bars=0)
    assert np.array_equal(column(rows, "equity"), ledger.equity[1::2])
    assert np.array_equal(column(rows, "cash"), ledger.cash[1::2])


@given(
    arrays(np.float64, 40, elements=st.floats(-1.2, 1.2)),
    st.sampled_from(["next_open", "next_close", "same_close"]),
    st.floats(0, 40),
    st.floats(0, 40),
    st.sampled_from([None, 1e-4, 0.01, 1.0]),
)
def test_cash_and_units_are_the_sums_over_the_fills(
    targets: np.ndarray, fill: Any, commission: float, slip: float, participation: float | None
) -> None:
    bars = BARS.rows(0, 40)
    rules = BrokerRules(1e5, fill, "units", commission, slip / 2, slip / 2, participation)
    rows, fills = traded(rules, bars, targets)
    times = bars.index.as_unit("ns").asi8
    for t, row in enumerate(rows):
        done = [fill for fill in fills if fill.filled <= times[t]]
        units = sum(fill.units for fill in done)
        paid = sum(
            fill.units * fill.price + abs(fill.units) * fill.price * commission / 1e4
            for fill in done
        )
        assert row.units == pytest.approx(units, abs=1e-9)
        assert row.cash == pytest.approx(1e5 - paid, rel=1e-9, abs=1e-5)
    assert column(rows, "costs").sum() == pytest.approx(sum(fill.cost for fill in fills))
    if participation is not None:
        volume = dict(zip(times.tolist(), bars.volume.tolist(), strict=True))
        assert all(abs(f.units) <= participation * volume[f.filled] * (1 + 1e-12) for f in fills)


def test_units_held_to_the_end_earn_the_price_and_pay_once() -> None:
    rules = BrokerRules(capital=1000.0, fill="same_close", commission_bps=10.0, slippage_bps=20.0)
    rows, (only,) = traded(rules, BARS, np.ones(len(BARS)))
    units = 1000.0 / BARS.close[0]
    paid = BARS.close[0] * 1.002
    assert only.price == pytest.approx(paid)
    cash = 1000.0 - units * paid - units * paid * 0.001
    assert column(rows, "equity")[1:] == pytest.approx(cash + units * BARS.close[1:], rel=1e-12)


def test_an_order_larger_than_the_market_is_filled_bar_by_bar() -> None:
    rules = BrokerRules(capital=1e9, fill="same_close", participation=0.1)
    _, fills = traded(rules, BARS, np.ones(len(BARS)))
    wanted = 1e9 / BARS.close[0]
    assert fills[0].units == pytest.approx(0.1 * BARS.volume[0])
    assert fills[0].left == pytest.approx(wanted - fills[0].units)
    assert sum(fill.units for fill in fills) == pytest.approx(wanted)
    assert fills[-1].left == 0.0
    assert len({fill.decided for fill in fills}) == 1


def test_liquidation_has_its_own_pace() -> None:
    class Half:
        def quantity(self, units: float, price: float, volume: float) -> float:
            return -units / 2

    rules = BrokerRules(capital=1e6, fill="same_close", participation=1.0)
    targets = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    _, fills = traded(rules, BARS.rows(0, 5), targets, liquidation=Half())
    bought, *sold = [fill.units for fill in fills]
    assert sold == pytest.approx([-bought / 2, -bought / 4, -bought / 8])


@pytest.mark.parametrize("holding", ["units", "fraction"])
def test_capital_that_is_gone_stays_gone(holding: Any) -> None:
    close = np.array([100.0, 40.0, 80.0, 90.0])
    index = pd.date_range("2024-01-01", periods=4, freq="D", tz="UTC")
    bars = Bars(index, close, close, close, close, np.ones(4), "T")
    rules = BrokerRules(fill="same_close", holding=holding)
    rows, _ = traded(rules, bars, np.full(4, 2.0))
    assert column(rows, "equity").tolist() == [1.0, 0.0, 0.0, 0.0]
    assert column(rows, "units")[1:].tolist() == [0.0] * 3


def test_a_broker_goes_on_from_its_state() -> None:
    rules = BrokerRules(capital=1e9, participation=0.01)
    broker = PaperBroker(rules)
    broker.request(1, 1.0)
    broker.open_bar(2, 100.0, 1e4, urgent=False)
    other = PaperBroker(rules)
    other.restore(broker.state())
    for each in (broker, other):
        each.close_bar(2, 101.0, 1e4, 0.5, urgent=False)
        each.open_bar(3, 102.0, 1e4, urgent=False)
    assert broker.state() == other.state()
    with pytest.raises(CheckpointError):
        other.restore({"cash": 1.0, "gold": 2.0})


@pytest.mark.parametrize(
    "wrong",
    [
        {"capital": 0.0},
        {"capital": float("nan")},
        {"commission_bps": -1.0},
        {"slippage_bps": float("nan")},
        {"half_spread_bps": 6e3, "slippage_bps": 6e3},
        {"participation": 0.0},
        {"participation": 1.5},
        {"fill": "never"},
        {"holding": "tight"},
        {"holding": "fraction", "participation": 0.5},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        BrokerRules(**wrong)
