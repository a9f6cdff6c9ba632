"""The instrument against known answers, a null and planted skill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Capability
from governance.challengers.buy_and_hold import BuyAndHold
from governance.check import Context
from governance.checks.walk_forward import PER_FOLD, WalkForward
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.statistics import out_of_sample as stitched
from governance.statistics.accounting import profit_and_loss
from tests.planted.markets import labels, regime_switching_bars
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted, closes_alone, coin_flips, memoryless_bars, seer

CHECK = WalkForward(draws=200)


def context_of(bars: Bars, *, delay: int = 1, cost: float = 10.0, folds: int = 3) -> Context:
    first = len(bars) // 4
    return Context(
        bars=bars,
        folds=anchored_folds(len(bars), first_test=first, count=folds, gap=3),
        seed=5,
        cost_bps=cost,
        delay_bars=delay,
    )


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(21, 1200)


@pytest.fixture(scope="module")
def sound(bars: Bars) -> Measured:
    return measure(CHECK, VolatilityRegime(), context_of(bars))


def test_buy_and_hold_is_the_market(bars: Bars) -> None:
    found = measure(CHECK, BuyAndHold(), context_of(bars))
    # An independent account in pandas: bought at the second close, at 10 basis points.
    moves = pd.Series(bars.close).pct_change().iloc[302:].to_numpy().copy()
    moves[0] -= 0.001
    growth = pd.Series(np.concatenate([[1.0], moves + 1])).cumprod()
    assert found.value("sharpe") == pytest.approx(moves.mean() / moves.std(ddof=1) * 252**0.5)
    assert found.value("annual_return") == pytest.approx(growth.iloc[-1] ** (252 / 898) - 1)
    assert found.value("max_drawdown") == pytest.approx((growth / growth.cummax() - 1).min())
    assert found.find("sharpe").n == 898
    assert found.value("exposure_share") == 1.0
    assert found.value("turnover_per_year") == pytest.approx(0.5 * 252 / 898)
    assert found.value("cost_drag") == pytest.approx(0.001 * 252 / 898)
    for metric in ("regime_shifts_per_year", "flickers_per_year", "false_alarms_per_year"):
        assert found.value(metric) == 0.0
        interval = found.find(metric).interval
        assert interval is not None
        assert interval.high > 0.3  # nothing in four years does not mean never
    assert found.value("detection_rate") == 0.0
    assert "infinite" in found.find("time_to_detection_days").reason
    assert "not risk-off" in found.find("time_to_clear_days").reason
    assert "no kill switch" in found.find("kill_switch_trips_per_year").reason


def test_every_metric_of_the_card_is_answered_as_a_whole_and_per_fold(sound: Measured) -> None:
    whole = {e.metric for e in sound if not e.slice}
    assert whole == {spec.name for spec in CHECK.card.metrics}
    for number in ("1", "2", "3"):
        assert {e.metric for e in sound if e.slice == {"fold": number}} == set(PER_FOLD)
    assert {e.name for e in sound.exhibits} >= {"equity", "drawdown", "exposure", "folds", "falls"}


def test_own_backtest_agrees_and_a_wrong_account_is_seen(
    bars: Bars, sound: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    residual = sound.find("sharpe").self_check
    assert residual is not None
    assert residual.holds

    def same_bar_fill(position: np.ndarray, returns: np.ndarray, **options: float) -> object:
        return profit_and_loss(
            np.roll(position, -1), returns, cost_bps=options["cost_bps"], delay_bars=1
        )

    monkeypatch.setattr(stitched, "profit_and_loss", same_bar_fill)
    wrong = measure(CHECK, VolatilityRegime(), context_of(bars)).find("sharpe").self_check
    assert wrong is not None
    assert not wrong.holds


def test_folds_are_the_parts_of_the_whole(bars: Bars, sound: Measured) -> None:
    growth = 1.0
    for number in ("1", "2", "3"):
        part = sound.find("annual_return", fold=number)
        growth *= (1 + sound.value("annual_return", fold=number)) ** (part.n / 252)
        assert part.window.trained_until < part.window.start
    whole = sound.find("annual_return")
    assert growth == pytest.approx((1 + sound.value("annual_return")) ** (whole.n / 252))
    assert sum(sound.find("sharpe", fold=f).n for f in "123") == whole.n


def test_same_seed_same_numbers_and_the_seed_moves_intervals_only(bars: Bars) -> None:
    one = measure(CHECK, VolatilityRegime(), context_of(bars))
    two = measure(CHECK, VolatilityRegime(), context_of(bars))
    assert one.digests == two.digests
    other = measure(CHECK, VolatilityRegime(), replace(context_of(bars), seed=6))
    assert [e.value for e in one] == [e.value for e in other]
    assert one.find("sharpe").interval != other.find("sharpe").interval


def test_cost_is_exact_and_does_not_touch_the_signals(bars: Bars) -> None:
    free = measure(CHECK, VolatilityRegime(), context_of(bars, cost=0.0))
    dear = measure(CHECK, VolatilityRegime(), context_of(bars, cost=50.0))
    assert free.value("cost_drag") == 0.0
    # Each round trip costs twice the one-way rate.
    assert dear.value("cost_drag") == pytest.approx(2 * 0.005 * dear.value("turnover_per_year"))
    assert dear.value("sharpe") < free.value("sharpe")
    assert dear.value("regime_shifts_per_year") == free.value("regime_shifts_per_year")


def test_sortino_in_drawdown_takes_the_bars_that_begin_below_the_high(bars: Bars) -> None:
    found = measure(CHECK, BuyAndHold(), context_of(bars, cost=0.0))
    close = pd.Series(bars.close)
    begins_low = (close / close.cummax() - 1 <= -0.10).shift(1, fill_value=False)
    moves = close.pct_change()[begins_low].loc[302:].to_numpy()
    downside = np.sqrt(np.mean(np.minimum(moves, 0.0) ** 2))
    evidence = found.find("sortino_in_drawdown")
    assert 0 < evidence.n == len(moves) < 898
    assert evidence.value == pytest.approx(moves.mean() / downside * 252**0.5)


def test_delay_takes_a_seer_its_sight() -> None:
    market = memoryless_bars(2, 900)
    sees_next = seer(market, 1)
    at_once = measure(CHECK, sees_next, context_of(market, delay=0, cost=0.0))
    assert at_once.value("sharpe") > 15
    late = measure(CHECK, sees_next, context_of(market, delay=1, cost=0.0)).find("sharpe")
    assert late.interval is not None
    assert late.interval.low < 0 < late.interval.high
    farther = measure(CHECK, seer(market, 2), context_of(market, delay=1, cost=0.0))
    assert farther.value("sharpe") > 15


def test_knowing_the_regime_shows_in_every_regime_score() -> None:
    market, state = regime_switching_bars(33, 3000), labels(33, 3000)
    knows = Scripted(1.0 - state, regime=state)
    blind = coin_flips(1, 3000)
    good = measure(CHECK, knows, context_of(market))
    poor = measure(CHECK, blind, context_of(market))
    low = good.find("sharpe").interval
    assert low is not None
    assert low.low > 0
    assert good.value("sharpe") > poor.value("sharpe") + 0.5
    assert good.value("max_drawdown") > poor.value("max_drawdown")
    assert good.value("regime_shifts_per_year") < 4 < 50 < poor.value("regime_shifts_per_year")
    assert good.value("flickers_per_year") < 1 < poor.value("flickers_per_year")
    assert good.value("false_alarms_per_year") < 2 < poor.value("false_alarms_per_year")


def test_detection_and_clearing_are_the_planted_delays() -> None:
    level = np.full(800, 100.0)
    for start in (300, 420, 540, 660):  # four falls of 20 bars and 18 %, recovered at once
        level[start : start + 20] = np.linspace(99.0, 82.0, 20)
    off = np.zeros(800, dtype=np.int64)
    for start in (300, 420, 540):  # seen one week after the peak, cleared two after the trough
        off[start - 1 + 5 : start + 19 + 10] = 1
    off[720:730] = 1  # a false alarm
    found = measure(CHECK, Scripted(1.0 - off, regime=off), context_of(closes_alone(level)))
    assert found.value("detection_rate") == 0.75
    assert found.value("time_to_detection_days") == 7.0
    assert found.value("time_to_clear_days") == 14.0
    assert found.find("time_to_clear_days").n == 3
    interval = found.find("detection_rate").interval
    assert interval is not None
    assert interval.low == pytest.approx(0.194, abs=0.001)  # Clopper-Pearson, 3 of 4
    years_outside = found.find("false_alarms_per_year").n / 252
    assert found.value("false_alarms_per_year") == pytest.approx(1 / years_outside)
    table = next(e for e in found.exhibits if e.name == "falls")
    columns = {c["name"]: c["values"] for c in table.model_dump()["columns"]}
    assert columns["seen after"] == (7.0, 7.0, 7.0, None)
    assert columns["depth"] == pytest.approx((-18.0,) * 4)


def test_kill_switch_trips_are_counted_and_listed(bars: Bars) -> None:
    tripped = np.zeros(len(bars), dtype=bool)
    tripped[400:410] = tripped[900:905] = True
    subject = Scripted(
        np.where(tripped, 0.0, 1.0),
        tripped=tripped,
        capabilities=frozenset({Capability.REFIT, Capability.KILL_SWITCH}),
    )
    found = measure(CHECK, subject, context_of(bars))
    assert found.value("kill_switch_trips_per_year") == pytest.approx(2 * 252 / 900)
    assert found.value("tripped_share") == pytest.approx(15 / 900)
    trips = next(e for e in found.exhibits if e.name == "trips")
    assert trips.model_dump()["columns"][0]["values"] == (
        bars.index[400].isoformat(),
        bars.index[900].isoformat(),
    )


def test_a_subject_always_out_has_no_ratio_and_says_why(bars: Bars) -> None:
    found = measure(CHECK, Scripted(np.zeros(len(bars))), context_of(bars))
    for metric in ("sharpe", "sortino", "calmar", "sortino_in_drawdown"):
        assert found.find(metric).status == "skipped"
        assert found.find(metric).reason
    assert found.value("max_drawdown") == 0.0
    assert found.value("annual_return") == 0.0


def test_no_end_of_training_is_claimed_for_a_subject_that_cannot_refit(bars: Bars) -> None:
    found = measure(CHECK, BuyAndHold(), context_of(bars))
    assert {e.window.trained_until for e in found} == {""}


@pytest.mark.parametrize("options", [{"draws": 10}, {"level": 1.0}, {"flicker_bars": 0}])
def test_impossible_parameters_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        WalkForward(**options)  # type: ignore[arg-type]


def test_interval_covers_the_true_sharpe_ratio_of_a_market() -> None:
    """Buy and hold of a market of Sharpe ratio 0.8, 60 times: about 57 intervals hold it."""
    mean, volatility = 0.8 * 0.01 / 252**0.5, 0.01
    check, held = WalkForward(draws=100), 0
    for seed in range(60):
        market = memoryless_bars(seed, 400, mean=mean, volatility=volatility)
        context = replace(context_of(market, cost=0.0, folds=1), seed=seed)
        found = next(e for e in check.measure(BuyAndHold(), context))
        assert found.metric == "sharpe"  # type: ignore[union-attr]
        assert found.interval is not None  # type: ignore[union-attr]
        held += found.interval.low <= 0.8 <= found.interval.high  # type: ignore[union-attr]
    assert held >= 51
