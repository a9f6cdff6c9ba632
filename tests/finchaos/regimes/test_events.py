"""Dated events and the Sortino ratio of low markets: by hand, by published figures, by the twin."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.events import DatedEvent, score_events, sortino_in_drawdown
from governance.statistics.performance import sortino_where
from governance.statistics.regimes import Episode, below_high, falls, score_alarms

DAYS = pd.date_range("2020-01-01", periods=10, freq="D", tz="UTC")
FALL = DatedEvent("fall", date(2020, 1, 3), date(2020, 1, 6))
CLOSE = np.array([98.0, 99, 100, 95, 90, 80, 84, 88, 92, 96])


def bits(text: str) -> np.ndarray:
    return np.array([mark == "1" for mark in text])


def test_an_event_worked_out_by_hand() -> None:
    found = score_events(bits("0100111001"), CLOSE, DAYS, [FALL], bars_per_year=5.0)
    (outcome,) = found.outcomes
    assert not outcome.already_off
    assert (outcome.sessions_to_off, outcome.sessions_to_back_on) == (2.0, 2.0)
    assert outcome.move_to_off == pytest.approx(-0.10)
    assert outcome.move_to_back_on == pytest.approx(0.10)
    assert (outcome.bars, outcome.bars_off) == (4, 2)
    assert (found.event_bars, found.event_bars_off, found.caught_share) == (4, 2, 0.5)
    assert (found.outside_bars, found.outside_bars_off, found.outside_share_off) == (6, 3, 0.5)
    # On at row 1 and at row 9; row 4 lies in the fall.
    assert found.false_onsets == 2
    assert found.false_onsets_per_year == pytest.approx(2 / (6 / 5))


def test_already_off_never_off_and_never_back() -> None:
    def outcome(off: str):
        return score_events(bits(off), CLOSE, DAYS, [FALL], bars_per_year=252.0).outcomes[0]

    before = outcome("1111111111")
    assert before.already_off
    assert (before.sessions_to_off, before.move_to_off) == (0.0, 0.0)
    assert before.sessions_to_back_on == np.inf
    assert before.move_to_back_on == pytest.approx(0.2)
    late = outcome("0000001100")
    assert late.sessions_to_off == np.inf
    assert late.move_to_off == pytest.approx(-0.2)
    assert late.sessions_to_back_on == 0.0


def test_sessions_are_dates_however_many_bars_each_has() -> None:
    thrice = DAYS.repeat(3) + pd.to_timedelta(np.tile([15, 18, 21], 10), unit="h")
    off = np.repeat(bits("0000111000"), 3)
    (found,) = score_events(off, np.repeat(CLOSE, 3), thrice, [FALL], bars_per_year=756.0).outcomes
    assert (found.sessions_to_off, found.sessions_to_back_on) == (2.0, 2.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_validators_own_score_agrees_where_both_speak(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = pd.date_range("2001-01-01", periods=300, freq="D", tz="UTC")
    off = np.repeat(rng.random(60) < 0.4, 5)
    close = np.exp(np.cumsum(0.01 * rng.normal(size=300)))
    places = [(20, 60), (100, 140), (200, 280)]
    events = [DatedEvent(str(a), index[a].date(), index[b].date()) for a, b in places]
    episodes = tuple(Episode(a, b, b, -0.2) for a, b in places)
    ours = score_events(off, close, index, events, bars_per_year=365.0)
    theirs = score_alarms(off, episodes, index)
    assert [o.sessions_to_off for o in ours.outcomes] == theirs.detection_days.tolist()
    back = [o.sessions_to_back_on for o in ours.outcomes if o.sessions_to_back_on > 0]
    assert back == theirs.clearing_days.tolist()
    assert ours.false_onsets == theirs.false_onsets.sum()
    assert ours.outside_bars == theirs.outside.sum()


EVENTS = (
    DatedEvent("2007", date(2007, 10, 9), date(2009, 3, 9)),
    DatedEvent("2011", date(2011, 7, 22), date(2011, 10, 3)),
    DatedEvent("2018", date(2018, 9, 20), date(2018, 12, 24)),
    DatedEvent("2020", date(2020, 2, 19), date(2020, 3, 23)),
    DatedEvent("2022", date(2022, 1, 3), date(2022, 10, 12)),
)


def test_the_200_day_average_did_on_the_sp500_what_an_independent_study_found() -> None:
    """Sessions and moves measured by other code, all to the printed digit."""
    datasets = pytest.importorskip("skfolio.datasets")
    level = datasets.load_sp500_index().iloc[:, 0]
    off = (level < level.rolling(200).mean()).to_numpy()
    close = level.to_numpy()
    found = score_events(off, close, level.index, EVENTS, bars_per_year=252.0)
    assert [o.sessions_to_off for o in found.outcomes] == [21, 7, 15, 6, 13]
    moves = [round(100 * o.move_to_off) for o in found.outcomes]
    assert moves == [-6, -7, -7, -12, -8]
    first, last = found.outcomes[0], found.outcomes[3]
    assert (first.sessions_to_back_on, last.sessions_to_back_on) == (58, 45)
    assert round(100 * first.move_to_back_on) == 39
    assert round(100 * last.move_to_back_on) == 36

    returns = np.diff(close) / close[:-1]
    since = level.index[1:] >= pd.Timestamp("2000-01-03")
    held = np.concatenate([[0.0], 1.0 - off[:-2]])
    net = held * returns - 1e-3 * np.abs(np.diff(held, prepend=held[0]))
    for earned, published in ((returns, -0.36), (net, 0.06)):
        ratio = sortino_in_drawdown(
            earned[since], close[np.flatnonzero(since)[0] :], bars_per_year=252.0
        )
        assert round(ratio.ratio, 2) == published
    assert since.sum() == 5785


@pytest.mark.parametrize(
    ("rule", "published"),
    [("below the 200-day average", (0.80, 0.20, 3.4)), ("volatile", (0.63, 0.20, 1.8))],
)
def test_caught_outside_and_false_onsets_are_those_of_the_same_study(
    rule: str, published: tuple[float, float, float]
) -> None:
    datasets = pytest.importorskip("skfolio.datasets")
    level = datasets.load_sp500_index().iloc[:, 0]
    if rule == "volatile":
        spread = level.pct_change().rolling(21).std()
        limit = {y: spread[level.index.year < y].quantile(0.8) for y in range(2000, 2023)}
        off = spread > level.index.year.map(limit).to_numpy(dtype=float)
    else:
        off = level < level.rolling(200).mean()
    tested = level.index >= pd.Timestamp("2000-01-03")
    close = level.to_numpy()[tested]
    index = level.index[tested]
    episodes = falls(close, fall=0.20, rebound=0.20)
    events = [
        DatedEvent(str(e.peak), index[e.peak].date(), index[e.trough].date()) for e in episodes
    ]
    found = score_events(off.to_numpy()[tested], close, index, events, bars_per_year=252.0)
    assert len(events) == 6
    figures = (found.caught_share, found.outside_share_off, found.false_onsets_per_year)
    assert (round(figures[0], 2), round(figures[1], 2), round(figures[2], 1)) == published


@pytest.mark.parametrize("seed", range(3))
def test_the_ratio_over_low_bars_is_the_validators(seed: int) -> None:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(0.02 * rng.normal(size=400)))
    returns = 0.01 * rng.normal(size=399)
    low = below_high(close, 0.1)
    for low_at, chosen in (("start", low[:-1]), ("end", low[1:])):
        found = sortino_in_drawdown(returns, close, bars_per_year=252.0, low_at=low_at)
        assert found.ratio == pytest.approx(float(sortino_where(returns, chosen, 252.0)), rel=1e-12)
        assert found.bars == chosen.sum()


def test_a_market_that_never_falls_has_no_ratio() -> None:
    found = sortino_in_drawdown(np.full(4, 0.01), 1.01 ** np.arange(5), bars_per_year=252.0)
    assert np.isnan(found.ratio)
    assert found.bars == 0
    gains = sortino_in_drawdown(np.full(4, 0.01), np.array([9.0, 5, 5, 5, 5]), bars_per_year=252.0)
    assert np.isnan(gains.ratio)
    assert gains.bars == 4


def test_bad_input_is_refused() -> None:
    off = bits("0100111001")
    with pytest.raises(InputError, match="ends before it begins"):
        DatedEvent("x", date(2020, 1, 3), date(2020, 1, 3))
    with pytest.raises(InputError, match="0 events"):
        score_events(off, CLOSE, DAYS, [], bars_per_year=252.0)
    with pytest.raises(InputError, match="cannot be scored"):
        score_events(off[1:], CLOSE, DAYS, [FALL], bars_per_year=252.0)
    for outside in (date(2019, 12, 1), date(2020, 1, 20)):
        days = sorted([outside, date(2020, 1, 4)])
        with pytest.raises(DataError, match="not covered"):
            score_events(off, CLOSE, DAYS, [DatedEvent("x", *days)], bars_per_year=252.0)
    with pytest.raises(InputError, match="rising dates"):
        score_events(off, CLOSE, DAYS[::-1], [FALL], bars_per_year=252.0)
    with pytest.raises(DataError, match="finite and positive"):
        score_events(off, CLOSE * np.nan, DAYS, [FALL], bars_per_year=252.0)
    with pytest.raises(InputError, match="fit together"):
        sortino_in_drawdown(np.ones(3), np.ones(3), bars_per_year=252.0)
    with pytest.raises(InputError, match="low market"):
        sortino_in_drawdown(np.ones(2), np.ones(3), bars_per_year=252.0, depth=0.0)
    with pytest.raises(DataError, match="returns must be finite"):
        sortino_in_drawdown(np.array([np.nan, 0.0]), np.ones(3), bars_per_year=252.0)
    with pytest.raises(DataError, match="finite and positive"):
        sortino_in_drawdown(np.ones(2), np.array([1.0, 0.0, 1.0]), bars_per_year=252.0)
