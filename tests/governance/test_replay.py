from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.bars import PRICE_FIELDS
from finchaos.core.errors import DataError, InputError
from finchaos.markets.sessions import session_closes
from governance.reconstructed_replay import minutes_as_days
from governance.replay import (
    Replay,
    agreement,
    calm_warmup,
    daily_replay,
    level_replay,
    scenario_closes,
    shape_replay,
)
from governance.scenario import load_scenario
from tests.planted.markets import labels, regime_switching_bars

CRASH = load_scenario("black_monday_1987")
FLASH = load_scenario("flash_crash_2010_minutes")
WARMUP = regime_switching_bars(3, 300)


def with_returns(scenario, returns):
    """The same scenario with other returns in its window."""
    copy = scenario.model_copy()
    copy._window = replace(scenario.data, returns=tuple(returns))
    return copy


def record_of(scenario, before: int = 300, noise: float = 0.0):
    """Bars that hold the scenario's own sessions after some of a planted market."""
    market = regime_switching_bars(5, before)
    days = pd.bdate_range(end=pd.Timestamp(scenario.data.dates[0]), periods=before + 1)[:-1]
    market = replace(market, index=session_closes(days))
    jitter = np.random.default_rng(0).normal(0.0, noise, len(scenario.returns)) if noise else 0.0
    close = market.close[-1] * np.cumprod(1.0 + scenario.returns + jitter)
    opening = np.concatenate([market.close[-1:], close[:-1]])
    following = replace(
        market.rows(0, len(close)) if len(close) <= before else market,
        index=scenario_closes(scenario),
        open=opening,
        high=np.maximum(opening, close) * 1.01,
        low=np.minimum(opening, close) * 0.99,
        close=close,
        volume=np.ones(len(close)),
    )
    return market.followed_by(following)


def test_shape_replay_continues_the_warm_up_with_the_recorded_returns():
    bars = shape_replay(CRASH, WARMUP)
    n = len(WARMUP)
    assert bars.rows(0, n).frame().equals(WARMUP.frame())
    np.testing.assert_allclose(bars.returns()[n - 1 :], CRASH.returns, atol=1e-12)
    assert (bars.open[n:] == bars.close[n - 1 : -1]).all()
    assert bars.provenance.kind == "replay"
    assert any("ranges are reconstructed" in note for note in bars.provenance.notes)
    assert (bars.volume[n:] == np.median(WARMUP.volume)).all()


def test_stamps_continue_at_the_time_the_warm_up_keeps():
    fixed = shape_replay(CRASH, WARMUP)
    assert set(fixed.index.hour) == {21}
    assert fixed.index[len(WARMUP)] == WARMUP.index[-1] + pd.offsets.BDay()
    closes = session_closes(pd.bdate_range("2017-01-03", periods=300))
    local = shape_replay(CRASH, replace(WARMUP, index=closes)).index.tz_convert("America/New_York")
    assert {(stamp.hour, stamp.minute) for stamp in local} == {(16, 0)}
    assert local.dayofweek.max() <= 4


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 84), st.integers(0, 2**20))
def test_ranges_read_nothing_later(cut, seed):
    future = np.random.default_rng(seed).uniform(-0.3, 0.3, len(CRASH.returns) - cut)
    altered = with_returns(CRASH, [*CRASH.returns[:cut], *future])
    one, two = shape_replay(CRASH, WARMUP), shape_replay(altered, WARMUP)
    end = len(WARMUP) + cut
    for name in PRICE_FIELDS:
        assert getattr(one, name)[:end].tobytes() == getattr(two, name)[:end].tobytes()
    assert one.close[end:].tobytes() != two.close[end:].tobytes()


def test_ranges_are_as_wide_as_in_the_market_they_continue():
    """Replaying a market's own returns gives its own mean range, within a fifth."""
    market = regime_switching_bars(11, 1500)
    for state in (0, 1):
        n = len(CRASH.returns)
        rows = np.flatnonzero(labels(11, 1500)[1:] == state) + 1
        returns = market.returns()[rows[:n] - 1]
        warm = replace(market.rows(0, 400))
        bars = shape_replay(with_returns(CRASH, returns), warm).rows(400)
        before = np.concatenate([warm.close[-1:], bars.close[:-1]])
        shown = np.log(np.maximum(bars.high, before) / np.minimum(bars.low, before)).mean()
        prior = market.close[rows[:n] - 1]
        true = np.log(
            np.maximum(market.high[rows[:n]], prior) / np.minimum(market.low[rows[:n]], prior)
        ).mean()
        assert shown == pytest.approx(true, rel=0.2)


def test_a_warm_up_without_ranges_gives_none():
    closes = replace(
        WARMUP, open=WARMUP.close, high=WARMUP.close, low=WARMUP.close, has_range=False
    )
    bars = shape_replay(CRASH, closes)
    assert not bars.has_range
    assert (bars.high == bars.close).all()
    assert not minutes_as_days(FLASH, 1, closes, "note").bars.has_range


@pytest.mark.parametrize(
    "warmup", [WARMUP.rows(0, 20), replace(WARMUP, bars_per_year=98_280.0)], ids=["short", "fast"]
)
def test_shape_replay_refuses_warm_ups_it_cannot_use(warmup):
    with pytest.raises(DataError, match="daily warm-up"):
        shape_replay(CRASH, warmup)


def test_level_replay_shows_the_real_bars():
    bars = record_of(CRASH)
    assert agreement(CRASH, bars, 100) == pytest.approx(1.0)
    replay = daily_replay(CRASH, bars, history=200, needed=100)
    assert (replay.path, replay.start) == ("level", 200)
    assert replay.bars.frame().equals(bars.rows(100).frame())
    assert list(replay.index) == list(scenario_closes(CRASH))
    cut = level_replay(bars, bars.index[300], bars.index[310], history=50)
    assert cut.frame().equals(bars.rows(250, 311).frame())
    with pytest.raises(DataError, match="do not cover"):
        level_replay(bars, bars.index[10], bars.index[20], history=50)
    with pytest.raises(DataError, match="do not cover"):
        level_replay(bars, bars.index[-1] + pd.Timedelta(days=9), bars.index[-1], history=50)


def test_bars_of_another_market_or_with_holes_get_a_shape_replay():
    other = record_of(CRASH, noise=0.05)
    assert agreement(CRASH, other, 100) < 0.95
    assert daily_replay(CRASH, other, history=200, needed=100).path == "shape"
    bars = record_of(CRASH)
    hole = bars.rows(0, 320).followed_by(bars.rows(321))
    assert agreement(CRASH, hole, 100) is None
    assert agreement(CRASH, bars, 301) is None
    replay = daily_replay(CRASH, hole, history=200, needed=100)
    assert replay.path == "shape"
    assert "ranges and volume reconstructed" in replay.note


def test_the_warm_up_ends_in_calm_whatever_comes_after():
    calm = WARMUP.rows(0, 200)
    shaken = shape_replay(CRASH, calm)
    warm, note = calm_warmup(shaken, history=150, needed=60)
    assert warm.index[-1] <= calm.index[-1]
    assert len(warm) <= 150
    assert "in calm" in note
    high = warm.close[-252:].max()
    assert warm.close[-1] >= 0.98 * high


def test_a_sample_without_calm_is_named():
    falling = WARMUP.close[0] * np.exp(-0.02 * np.arange(len(WARMUP)))
    bars = replace(WARMUP, open=falling, high=falling, low=falling, close=falling)
    warm, note = calm_warmup(bars, history=100, needed=60)
    assert "no calm found" in note
    assert warm.index[-1] == bars.index[-1]
    with pytest.raises(DataError, match="too few bars"):
        calm_warmup(bars.rows(0, 50), history=100, needed=60)


def test_a_replay_needs_a_bar_before_it():
    with pytest.raises(InputError, match="warm-up bars"):
        Replay(WARMUP, 0, WARMUP.index, "level", "")
