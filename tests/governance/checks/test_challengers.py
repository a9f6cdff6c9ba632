"""Paired comparison: silent without a difference, loud with one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError, SubjectFault
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.challengers.buy_and_hold import BuyAndHold
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context, Skip
from governance.checks.challengers import Challengers
from governance.checks.walk_forward import WalkForward
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from tests.planted.markets import labels, regime_switching_bars
from tests.planted.measurements import measure
from tests.planted.skill import Scripted, coin_flips, memoryless_bars

CHECK = Challengers(draws=300)


def context_of(bars: Bars, cost: float = 10.0, **challengers: Subject) -> Context:
    return Context(
        bars=bars,
        folds=anchored_folds(len(bars), first_test=len(bars) // 4, count=2, gap=3),
        seed=5,
        cost_bps=cost,
        challengers=challengers,
    )


@dataclass(frozen=True)
class Broken(BuyAndHold):
    digest = "0" * 64

    def signals(self, bars: Bars) -> Signals:
        raise SubjectFault("the challenger is broken")


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(21, 1200)


def test_difference_is_that_of_the_walk_forward_figures(bars: Bars) -> None:
    threshold = VolatilityThreshold()
    context = context_of(bars, buy_and_hold=BuyAndHold(), volatility_threshold=threshold)
    found = measure(CHECK, VolatilityRegime(), context)
    own = measure(WalkForward(draws=100), VolatilityRegime(), context)
    for name, challenger in context.challengers.items():
        other = measure(WalkForward(draws=100), challenger, context)
        for metric, level in (
            ("sharpe_difference", "sharpe"),
            ("annual_return_difference", "annual_return"),
            ("annual_volatility_difference", "annual_volatility"),
            ("max_drawdown_difference", "max_drawdown"),
            ("turnover_difference", "turnover_per_year"),
        ):
            expected = own.value(level) - other.value(level)
            assert found.value(metric, challenger=name) == pytest.approx(expected, abs=1e-12)
            interval = found.find(metric, challenger=name).interval
            assert interval is not None
            assert interval.low < interval.high
    assert len(found.evidence) == 10
    equity, table = found.exhibits
    assert [c.name for c in equity.columns] == [
        "time", "model", "buy_and_hold", "volatility_threshold",
    ]  # fmt: skip
    assert table.columns[0].values == ("model", "buy and hold", "volatility threshold")
    assert table.columns[1].values[0] == pytest.approx(own.value("sharpe"))


def test_a_challenger_against_itself_differs_by_nothing(bars: Bars) -> None:
    found = measure(CHECK, BuyAndHold(), context_of(bars, buy_and_hold=BuyAndHold()))
    assert {e.value for e in found} == {0.0}
    assert {e.interval for e in found} == {None}


def test_loud_on_planted_skill() -> None:
    market, state = regime_switching_bars(33, 4000), labels(33, 4000)
    knows = Scripted(1.0 - state, regime=state)
    found = measure(CHECK, knows, context_of(market, buy_and_hold=BuyAndHold()))
    for metric in ("sharpe_difference", "max_drawdown_difference", "turnover_difference"):
        interval = found.find(metric, challenger="buy_and_hold").interval
        assert interval is not None
        assert interval.low > 0
    volatility = found.find("annual_volatility_difference", challenger="buy_and_hold").interval
    assert volatility is not None
    assert volatility.high < 0


def test_pairing_narrows_the_interval() -> None:
    """Against a challenger that holds nearly the same, most of the chance cancels."""
    market = memoryless_bars(4, 1200, mean=0.0004)
    alike = Scripted(np.where(np.arange(1200) % 100 == 0, 0.0, 1.0))
    context = context_of(market, cost=0.0, alike=alike, coin=coin_flips(9, 1200))
    found = measure(CHECK, BuyAndHold(), context)
    widths = []
    for name in ("alike", "coin"):
        interval = found.find("sharpe_difference", challenger=name).interval
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths[0] < 0.4 * widths[1]


def test_quiet_on_two_coins_at_the_stated_rate() -> None:
    """Neither has skill: the 95 % interval misses zero about once in twenty."""
    check, rejected = Challengers(draws=150), 0
    for seed in range(60):
        market = memoryless_bars(seed, 450)
        context = context_of(market, cost=0.0, other=coin_flips(seed + 500, 450))
        subject = coin_flips(seed, 450)
        first = next(iter(check.measure(subject, replace(context, seed=seed))))
        assert first.metric == "sharpe_difference"  # type: ignore[union-attr]
        interval = first.interval  # type: ignore[union-attr]
        assert interval is not None
        rejected += not interval.low <= 0.0 <= interval.high
    assert rejected <= 9  # three binomial errors above the nominal three


def test_same_seed_same_numbers(bars: Bars) -> None:
    context = context_of(bars, buy_and_hold=BuyAndHold())
    one = measure(CHECK, VolatilityRegime(), context)
    two = measure(CHECK, VolatilityRegime(), context_of(bars, buy_and_hold=BuyAndHold()))
    assert one.digests == two.digests


def test_a_broken_challenger_is_reported_and_the_others_are_compared(bars: Bars) -> None:
    context = context_of(bars, aaa_broken=Broken(), buy_and_hold=BuyAndHold())
    found = measure(CHECK, VolatilityRegime(), context)
    broken = found.find("sharpe_difference", challenger="aaa_broken")
    assert broken.status == "errored"
    assert "is broken" in broken.reason
    assert found.value("sharpe_difference", challenger="buy_and_hold")


def test_undefined_difference_says_why(bars: Bars) -> None:
    context = context_of(bars, cash=Scripted(np.zeros(len(bars))))
    found = measure(CHECK, VolatilityRegime(), context).find("sharpe_difference", challenger="cash")
    assert found.status == "skipped"
    assert "never vary" in found.reason


def test_without_challengers_there_is_nothing_to_measure(bars: Bars) -> None:
    with pytest.raises(Skip, match="no challengers"):
        measure(CHECK, VolatilityRegime(), context_of(bars))
    with pytest.raises(InputError):
        Challengers(draws=5)
