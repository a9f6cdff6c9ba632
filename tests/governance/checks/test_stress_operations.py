"""Operational stress: a guarded stream stops, an unguarded one takes the loss, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import InputError, SubjectFault
from finchaos.core.signals import Signal
from finchaos.core.subject import Capability
from governance.check import Skip
from governance.checks.stress_operations import StressOperations
from governance.operations import JUMP, OPERATIONS, WATCHED_BARS, capital_lost
from governance.policy import load_policy
from governance.selftest.volatility_regime import VolatilityRegime
from tests.governance.checks.stressed import Constant, context
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import measure

CHECK = StressOperations(starts=3)
BARS = regime_switching_bars(3, 900)
NAMES = {operation.name for operation in OPERATIONS}


def where():
    return context(bars=BARS)


@dataclass
class Unguarded:
    """A stream that wants what its rule says of the last bar."""

    subject: Streams

    def step(self, bar):
        return Signal(bar.ts, self.subject.rule(bar))


@dataclass(frozen=True)
class Streams(Constant):
    """A constant position, through a stream without a kill switch."""

    capabilities: frozenset[Capability] = frozenset({Capability.STREAMING})

    def rule(self, bar) -> float:
        return self.position

    def open(self, warmup=None):
        return Unguarded(self)


class BuysHighPrices(Streams):
    """Planted defect: the higher the price, the more of it."""

    def rule(self, bar) -> float:
        return 1.0 if bar.close < 1_000 else 4.0


class Refuses(Streams):
    """Answers an impossible price with an error."""

    def rule(self, bar) -> float:
        if bar.close > 1_000 or bar.close < 10:
            raise SubjectFault("no such price")
        return self.position


class Breaks(Streams):
    """Planted defect: answers an impossible price with no number."""

    def rule(self, bar) -> float:
        return float("nan") if bar.close < 10 else self.position


def test_an_unguarded_stream_takes_the_whole_fall_behind_a_frozen_feed() -> None:
    found = measure(CHECK, Streams(0.5), where())
    name = "frozen_then_jump"
    assert found.value("stopped_share", operation=name) == 0.0
    assert found.value("exposure_at_end", operation=name) == 0.5
    assert found.value("loss_over_twin", operation=name) == 0.0
    flat = measure(CHECK, Streams(0.5), where()).value("loss", operation="decimal_slip_up")
    assert found.value("loss", operation=name) > 0.5 * JUMP + flat - 0.02


def test_a_guarded_stream_stops() -> None:
    found = measure(CHECK, VolatilityRegime(), where())
    for name in ("frozen_then_jump", "decimal_slip_up", "decimal_slip_down"):
        assert found.value("stopped_share", operation=name) == 1.0
        assert found.value("exposure_at_end", operation=name) == 0.0
    assert found.value("stopped_share", operation="clock_back_one_hour") == 0.0
    assert found.value("loss_over_twin", operation="clock_back_one_hour") == 0.0
    judged = load_policy("baseline").judge(found.evidence).findings
    assert {f.verdict for f in judged if f.check == CHECK.card.name} == {"pass"}


def test_more_risk_on_a_wrong_price_is_loud() -> None:
    found = measure(CHECK, BuysHighPrices(), where())
    assert found.value("exposure_added", operation="decimal_slip_up") == 3.0
    assert found.value("exposure_added", operation="decimal_slip_down") == 0.0
    judged = load_policy("baseline").judge(found.evidence).findings
    said = {f.slice["operation"]: f.verdict for f in judged
            if f.rule == "stress_operations.no_new_risk"}  # fmt: skip
    assert said == {**dict.fromkeys(NAMES, "pass"), "decimal_slip_up": "fail"}


def test_an_error_is_a_refusal_and_the_last_order_stands() -> None:
    found = measure(CHECK, Refuses(1.0), where())
    assert found.value("stopped_share", operation="decimal_slip_up") == 1.0
    assert found.value("exposure_at_end", operation="decimal_slip_up") == 1.0
    assert found.value("loss_over_twin", operation="clock_back_one_hour") == 0.0


def test_a_position_that_is_no_number_is_counted() -> None:
    found = measure(CHECK, Breaks(1.0), where())
    assert found.value("unusable_positions", operation="decimal_slip_down") == 3.0
    assert found.value("unusable_positions", operation="decimal_slip_up") == 0.0


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_money_agrees_with_a_slow_loop(delay: int) -> None:
    rng = np.random.default_rng(delay)
    position, market = rng.random(20), [BARS[100 + k] for k in range(20)]
    found = capital_lost(position, 0.4, market, BARS[99], cost_bps=25.0, delay_bars=delay)
    capital, held, close = 1.0, 0.4, BARS[99].close
    for now, bar in enumerate(market):  # period from bar `now` to the next, bar 0 the start
        decided = now - delay
        wanted = 0.4 if decided <= 0 else position[decided - 1]
        capital *= 1.0 + wanted * (bar.close / close - 1.0) - abs(wanted - held) * 25e-4
        held, close = wanted, bar.close
    assert found == pytest.approx(1.0 - capital, abs=1e-12)


def test_operations_are_what_they_are_called() -> None:
    last, due = BARS[200], [BARS[201 + k] for k in range(70)]
    by_name = {one.name: one.spoil(last, due) for one in OPERATIONS}
    market, feed, wrong = by_name["frozen_then_jump"]
    assert {bar.close for bar in feed[:wrong]} == {last.close}
    assert feed[wrong:] == market[wrong:]
    assert market[wrong].close == pytest.approx(0.9 * due[wrong].close)
    market, feed, wrong = by_name["clock_back_one_hour"]
    assert market == due
    assert {b.ts - a.ts for a, b in zip(feed, due, strict=True)} == {pd.Timedelta(hours=1)}
    for name, factor in (("decimal_slip_up", 100.0), ("decimal_slip_down", 0.01)):
        market, feed, wrong = by_name[name]
        assert (market, feed[1:], wrong) == (due, due[1:], 1)
        assert feed[0].close == pytest.approx(factor * due[0].close)
    assert len(due) >= WATCHED_BARS


def test_starts_have_something_at_risk_or_it_is_skipped() -> None:
    with pytest.raises(Skip, match="holds nothing"):
        measure(CHECK, Streams(0.0), where())


def test_numbers_repeat() -> None:
    runs = [measure(CHECK, VolatilityRegime(), where()).digests for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0] != measure(CHECK, VolatilityRegime(), replace(where(), seed=9)).digests


@pytest.mark.parametrize("values", [{"starts": 0}, {"history_bars": 0}])
def test_impossible_parameters_are_refused(values: dict) -> None:
    with pytest.raises(InputError):
        StressOperations(**values)
