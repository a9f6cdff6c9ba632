"""Orders to liquidate, alone, through the paper broker and through a session."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.live.broker import BrokerRules, Liquidation, PaperBroker
from finchaos.live.engine import GuardRules
from finchaos.live.events import Delivered
from finchaos.live.session import PaperSession, Rules
from finchaos.trading.liquidation import AtOnce, ByVolume
from tests.finchaos.live.markets import START, journal, planted, planted_market

UNITS = st.floats(-1e4, 1e4)
VOLUME = st.one_of(st.floats(0, 1e6), st.just(math.inf))


@given(UNITS, VOLUME, st.floats(0.01, 1), st.floats(0.1, 1e3))
def test_a_trade_goes_towards_zero_never_beyond_it(
    units: float, volume: float, share: float, least: float
) -> None:
    for order in (AtOnce(), ByVolume(share, least)):
        traded = order.quantity(units, 100.0, volume)
        assert traded * units <= 0.0
        assert abs(traded) <= abs(units)
    assert AtOnce().quantity(units, 100.0, volume) == -units
    assert abs(traded) == min(abs(units), max(share * volume, least))


def test_a_volume_that_is_no_number_counts_as_none() -> None:
    assert ByVolume(0.5, 2.0).quantity(10.0, 1.0, math.nan) == -2.0
    assert ByVolume(0.5, 2.0).quantity(-10.0, 1.0, -5.0) == 2.0


def liquidate(order: Liquidation, volumes: list[float], bought: float) -> list[float]:
    """Units held after each bar of an emergency, by an account that holds some."""
    broker = PaperBroker(BrokerRules(capital=bought * 100.0, participation=1.0), order)
    broker.request(1, 1.0)
    broker.open_bar(2, 100.0, math.inf, urgent=False)
    assert broker.units == bought
    broker.request(2, 0.0)
    held = []
    for ts, volume in enumerate(volumes, 3):
        broker.open_bar(ts, 100.0, volume, urgent=True)
        held.append(broker.units)
    return held


def test_all_at_once_through_a_broker() -> None:
    assert liquidate(AtOnce(), [0.0, 0.0], 64.0) == [0.0, 0.0]


def test_a_share_of_the_volume_through_a_broker() -> None:
    order = ByVolume(share=0.25, least_units=4.0)
    assert liquidate(order, [80.0, 40.0, 0.0, 8.0, 160.0], 64.0) == [44.0, 34.0, 30.0, 26.0, 0.0]


@given(st.lists(VOLUME, min_size=16, max_size=16), st.floats(1.0, 64.0))
def test_it_ends_whatever_is_traded(volumes: list[float], bought: float) -> None:
    order = ByVolume(share=0.1, least_units=4.0)
    held = liquidate(order, volumes, math.floor(bought))
    assert held == sorted(held, reverse=True)
    assert held[order.most_bars(math.floor(bought)) - 1] == 0.0


@pytest.mark.parametrize("order", [AtOnce(), ByVolume(0.05, 50.0), ByVolume(1e-9, 700.0)])
def test_a_tripped_session_closes_at_the_pace_of_the_order(tmp_path: Path, order: Any) -> None:
    bars = planted_market()
    rules = Rules(BrokerRules(capital=1e6), GuardRules())
    with PaperSession.open(
        tmp_path, planted(), history=bars.rows(0, START), rules=rules, liquidation=order, sync=False
    ) as session:
        following = iter(bars.rows(START))
        while session.engine.broker.units < 1000.0:
            session.handle(Delivered(next(following)))
        bought, before = session.engine.broker.units, len(journal(tmp_path, "fill"))
        session.trip("a test")
        expected, held = [], bought
        while session.engine.broker.units != 0.0:
            bar = next(following)
            session.handle(Delivered(bar))
            expected.append(order.quantity(held, bar.open, bar.volume))
            held += expected[-1]
    sold = [fill["units"] for fill in journal(tmp_path, "fill")[before:]]
    assert sold == pytest.approx(expected)
    assert sum(sold) == pytest.approx(-bought)
    assert len(sold) == 1 if isinstance(order, AtOnce) else len(sold) <= order.most_bars(bought)


@pytest.mark.parametrize(
    ("share", "least"), [(0.0, 1.0), (1.1, 1.0), (0.1, 0.0), (0.1, math.inf), (math.nan, 1.0)]
)
def test_impossible_orders_are_refused(share: float, least: float) -> None:
    with pytest.raises(InputError, match="impossible order"):
        ByVolume(share, least)
