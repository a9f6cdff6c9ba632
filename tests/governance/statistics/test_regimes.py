"""Regime scores on markets and signals whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from governance.statistics.regimes import (
    below_high,
    falls,
    flickers,
    risk_off,
    score_alarms,
    shifts,
)

CLOSES = arrays(np.float64, st.integers(1, 80), elements=st.floats(50, 150, width=32))


def days(n: int) -> pd.DatetimeIndex:
    return pd.date_range("2024-01-01 21:00", periods=n, freq="D", tz="UTC")


def test_falls_of_the_sp500_are_the_known_ones() -> None:
    datasets = pytest.importorskip("skfolio.datasets")
    closes = datasets.load_sp500_index()["SP500"].loc["2003-06":"2022-12-28"]
    found = falls(closes.to_numpy(), fall=0.18)
    dated = [(str(closes.index[e.peak].date()), str(closes.index[e.trough].date())) for e in found]
    for known in (
        ("2011-04-29", "2011-10-03"),
        ("2018-09-20", "2018-12-24"),
        ("2020-02-19", "2020-03-23"),
        ("2022-01-03", "2022-10-12"),
    ):
        assert known in dated
    assert dated[0][0] == "2007-10-09"
    assert "2009-03-09" in {trough for _, trough in dated}
    covid = found[dated.index(("2020-02-19", "2020-03-23"))]
    assert covid.depth == pytest.approx(-0.339, abs=0.001)


def test_a_fall_ends_by_recovery_or_rebound_and_the_last_may_be_open() -> None:
    close = np.array([100, 89, 100, 80, 96, 90, 120, 130, 110, 105.0])
    found = falls(close, fall=0.10, rebound=0.20)
    assert [(e.peak, e.trough, e.end) for e in found] == [(0, 1, 2), (2, 3, 4), (7, 9, 9)]
    assert [e.open for e in found] == [False, False, True]
    assert [e.depth for e in found] == pytest.approx([-0.11, -0.20, 105 / 130 - 1])


def test_small_falls_do_not_count() -> None:
    assert falls(np.array([100, 91, 105, 96, 110.0])) == ()
    assert falls(np.empty(0)) == ()
    with pytest.raises(InputError):
        falls(np.ones(3), fall=1.5)


@given(CLOSES)
def test_falls_are_ordered_deep_and_extreme(close: np.ndarray) -> None:
    end = 0
    for episode in falls(close):
        assert end <= episode.peak < episode.trough <= episode.end
        assert episode.depth <= -0.10 + 1e-12
        inside = close[episode.peak : episode.trough + 1]
        assert inside[0] == inside.max()
        assert inside[-1] == inside.min()
        end = episode.end


def test_scores_worked_by_hand() -> None:
    close = np.array([100, 105, 100, 90, 84, 86, 100, 107, 108, 109.0])
    episodes = falls(close)
    assert [(e.peak, e.trough) for e in episodes] == [(1, 4)]
    off = np.array([0, 0, 0, 1, 1, 1, 0, 0, 1, 0], dtype=bool)
    alarms = score_alarms(off, episodes, days(10))
    assert alarms.detection_days.tolist() == [2.0]  # peak at row 1, off at row 3
    assert alarms.clearing_days.tolist() == [2.0]  # trough at row 4, on at row 6
    assert alarms.false_onsets.nonzero()[0].tolist() == [8]
    assert alarms.outside.nonzero()[0].tolist() == [0, 5, 6, 7, 8, 9]


def test_a_sample_that_ends_in_a_fall_says_nothing_about_clearing() -> None:
    close = np.array([100, 80, 120, 90, 85, 86.0])
    episodes = falls(close)
    assert [e.open for e in episodes] == [False, True]
    always = score_alarms(np.ones(6, dtype=bool), episodes, days(6))
    assert always.clearing_days.tolist() == [np.inf]  # of the first fall alone
    cleared = score_alarms(np.array([0, 0, 0, 0, 1, 0], dtype=bool), episodes, days(6))
    assert cleared.clearing_days.tolist() == [1.0]


def test_weekends_count_as_calendar_days() -> None:
    index = pd.bdate_range("2024-01-04 21:00", periods=4, tz="UTC")  # Thursday to Tuesday
    close = np.array([100, 95, 85, 80.0])
    off = np.array([False, False, True, True])
    assert score_alarms(off, falls(close), index).detection_days.tolist() == [4.0]


@pytest.mark.parametrize(
    ("off", "detection", "clearing", "onsets"),
    [
        (np.zeros(6), [np.inf], [], 0),  # never off: missed
        (np.ones(6), [0.0], [np.inf], 0),  # always off: at once, and never clear
        (np.array([0, 1, 1, 1, 0, 0]), [0.0], [1.0], 0),  # off exactly in the fall
        (np.array([1, 0, 0, 0, 1, 1]), [np.inf], [], 1),  # off exactly outside it
    ],
)
def test_extreme_signals(
    off: np.ndarray, detection: list[float], clearing: list[float], onsets: int
) -> None:
    close = np.array([99, 100, 90, 80, 101, 102.0])
    alarms = score_alarms(off.astype(bool), falls(close), days(6))
    assert alarms.detection_days.tolist() == detection
    assert alarms.clearing_days.tolist() == clearing
    assert alarms.false_onsets.sum() == onsets


def test_length_must_agree() -> None:
    with pytest.raises(InputError):
        score_alarms(np.zeros(3, dtype=bool), (), days(4))


def test_risk_off_is_at_least_the_worst_regime_of_training_as_issued() -> None:
    regime = np.array([0, 2, 1, 2, 0, 1])
    signals = Signals(days(6), np.ones(6), stress_probability=np.zeros(6), regime=regime)
    assert risk_off(signals, trained_rows=3).tolist() == (regime == 2).tolist()
    late = risk_off(signals, trained_rows=4, warmup_bars=2)
    assert late.nonzero()[0].tolist() == [3]
    calm = Signals(days(3), np.ones(3), regime=np.zeros(3))
    assert not risk_off(calm, trained_rows=2).any()
    mild = Signals(days(5), np.ones(5), regime=np.array([0, 1, 0, 1, 2]))
    assert risk_off(mild, trained_rows=3).nonzero()[0].tolist() == [1, 3, 4]
    never = Signals(days(4), np.ones(4), regime=np.array([0, 0, 1, 0]))
    assert risk_off(never, trained_rows=2).nonzero()[0].tolist() == [2]


@given(
    arrays(np.int64, 20, elements=st.integers(0, 4)),
    arrays(np.float64, 20, elements=st.floats(-1, 1)),
    st.integers(1, 12),
    st.integers(12, 19),
    st.booleans(),
)
def test_later_rows_do_not_settle_what_stress_is(
    regime: np.ndarray, position: np.ndarray, trained: int, cut: int, labelled: bool
) -> None:
    def off(labels: np.ndarray, exposure: np.ndarray) -> np.ndarray:
        said = Signals(days(20), exposure, regime=labels if labelled else None)
        return risk_off(said, trained_rows=trained, warmup_bars=1)

    later = np.arange(20) >= cut
    altered = off(np.where(later, 9, regime), np.where(later, 9.0, position))
    assert np.array_equal(altered[:cut], off(regime, position)[:cut])


def test_risk_off_without_regimes_is_half_the_largest_training_exposure() -> None:
    position = np.array([0.0, 0.4, 0.8, 0.4, 0.41, 1.6, 0.5, -1.0])
    off = risk_off(Signals(days(8), position), trained_rows=3, warmup_bars=1)
    assert off.nonzero()[0].tolist() == [1, 3, 7]
    never_long = Signals(days(4), np.array([-1.0, 0.0, -1.0, 0.0]))
    assert not risk_off(never_long, trained_rows=2).any()


def test_shifts_and_flickers() -> None:
    state = np.array([0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0])
    assert shifts(state).nonzero()[0].tolist() == [2, 3, 8, 14]
    assert flickers(state, 2).nonzero()[0].tolist() == [2]
    assert flickers(state, 5).nonzero()[0].tolist() == [2, 3]
    assert not flickers(np.array([0, 1, 2, 3]), 5).any()


@given(CLOSES, st.integers(1, 80))
def test_below_high_knows_only_the_past(close: np.ndarray, cut: int) -> None:
    altered = close.copy()
    altered[cut:] = 1000.0
    assert np.array_equal(below_high(close, 0.1)[:cut], below_high(altered, 0.1)[:cut])


def test_below_high_by_hand() -> None:
    assert below_high(np.array([100, 95, 90, 89, 120, 109.0]), 0.1).tolist() == [
        False, False, True, True, False, False,
    ]  # fmt: skip
