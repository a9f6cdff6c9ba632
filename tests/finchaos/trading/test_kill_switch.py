"""The latch and the guard of the feed: what trips, what does not, and who may clear it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.bars import BAR_FIELDS, Bars
from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.trading.feed_guard import NANOSECONDS_PER_DAY, FeedGuard, FeedLimits
from finchaos.trading.kill_switch import KillSwitch, distance_limit
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(1, 400)
MULTIPLES = {
    "move_multiple": 3.0,
    "least_log_move": 0.25,
    "shock_multiple": 1.5,
    "gap_multiple": 1.5,
}
LIMITS = FeedLimits.learn(BARS, **MULTIPLES)
TIMES = BARS.index.as_unit("ns").asi8.tolist()
DAY = NANOSECONDS_PER_DAY


def values(row: int) -> tuple[float, ...]:
    return tuple(float(getattr(BARS, name)[row]) for name in BAR_FIELDS)


def warmed(rows: int = 50) -> FeedGuard:
    guard = FeedGuard(LIMITS)
    for row in range(rows):
        assert guard.inspect(TIMES[row], values(row)) is None
    return guard


def test_clean_bars_are_never_faulted() -> None:
    warmed(len(BARS))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({0: math.nan}, "finite"),
        ({4: math.inf}, "finite"),
        ({2: 0.0}, "not positive"),
        ({4: -1.0}, "volume"),
        ({1: 1e-9}, "range does not contain"),
    ],
)
def test_impossible_values_are_faulted(spoil: dict[int, float], reason: str) -> None:
    bar = [spoil.get(column, value) for column, value in enumerate(values(50))]
    fault = warmed().inspect(TIMES[50], tuple(bar))
    assert fault is not None
    assert reason in fault.reason
    assert not fault.usable


@pytest.mark.parametrize("factor", [100.0, 0.01, 1.5, 1 / 1.5])
def test_unit_errors_and_spikes_are_faulted_until_a_person_answers(factor: float) -> None:
    guard = warmed()
    for row in (50, 51):
        bar = tuple(v * factor for v in values(row)[:4])
        fault = guard.inspect(TIMES[row], (*bar, 1.0))
        assert fault is not None
        assert "moved by" in fault.reason
    # A bar at the old level is fine again; the spoilt ones left no trace.
    assert guard.inspect(TIMES[52], values(52)) is None
    guard.vouch()
    bar = tuple(v * factor for v in values(53)[:4])
    assert guard.inspect(TIMES[53], (*bar, 1.0)) is None


def test_a_move_without_precedent_trips_but_is_believed() -> None:
    guard = warmed()
    factor = math.exp(-1.01 * LIMITS.log_shock)
    fallen = tuple(v * factor * BARS.close[49] / values(50)[1] for v in values(50)[:4])
    fault = guard.inspect(TIMES[50], (*fallen, 1.0))
    assert fault is not None
    assert fault.usable
    assert "without precedent" in fault.reason
    # The next bar is compared with this one.
    assert guard.inspect(TIMES[51], (*fallen, 2.0)) is None


def test_a_spike_within_the_bar_is_faulted() -> None:
    opening, _, low, close, volume = values(50)
    fault = warmed().inspect(TIMES[50], (opening, 2 * opening, low, close, volume))
    assert fault is not None
    assert "range is" in fault.reason


def test_time_must_advance_but_not_leap() -> None:
    guard = warmed()
    back = guard.inspect(TIMES[49], values(50))
    assert back is not None
    assert "advance" in back.reason
    leap = guard.inspect(TIMES[49] + 60 * DAY, values(51))
    assert leap is not None
    assert leap.usable
    assert "days since" in leap.reason
    assert guard.inspect(TIMES[49] + 61 * DAY, values(52)) is None


def test_a_frozen_feed_is_told_by_its_repetitions() -> None:
    guard = warmed()
    reasons = [guard.inspect(TIMES[49] + k * DAY, values(49)) for k in (1, 2, 3)]
    assert reasons[0] is None
    assert all(fault is not None and "identical" in fault.reason for fault in reasons[1:])


def test_silence_and_a_clock_behind_the_feed_are_stale() -> None:
    guard = warmed()
    assert FeedGuard(LIMITS).stale(TIMES[0]) == ""
    assert guard.stale(TIMES[49]) == ""
    assert "no bar for" in guard.stale(TIMES[49] + int((LIMITS.gap_days + 1) * DAY))
    assert "behind" in guard.stale(TIMES[49] - DAY)


def test_limits_are_learnt_from_training() -> None:
    calm = FeedLimits.learn(BARS, **{**MULTIPLES, "least_log_move": 1e-6})
    reach = np.abs(np.log(BARS.close[1:] / BARS.close[:-1])).max()
    assert calm.log_move == pytest.approx(2.0 * calm.log_shock)
    assert calm.log_shock >= 1.5 * reach
    gaps = np.diff(BARS.index.as_unit("ns").asi8)
    assert calm.gap_days == pytest.approx(1.5 * gaps.max() / DAY)
    assert calm.repeats == 1
    with pytest.raises(DataError):
        FeedLimits.learn(BARS.rows(0, 1), **MULTIPLES)
    with pytest.raises(CheckpointError):
        FeedLimits(float("nan"), 0.1, 3.0, 1)


def test_repeats_seen_in_training_are_tolerated() -> None:
    repeated = {name: np.repeat(getattr(BARS, name)[:100], 3) for name in BAR_FIELDS}
    bars = Bars(index=BARS.index[:300], symbol="R", **repeated)
    limits = FeedLimits.learn(bars, **MULTIPLES)
    assert limits.repeats == 2
    guard = FeedGuard(limits)
    for row in range(300):
        bar = tuple(float(getattr(bars, name)[row]) for name in BAR_FIELDS)
        assert guard.inspect(TIMES[row], bar) is None


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from(["", "", "fault"])), max_size=60))
def test_a_live_latch_holds_for_ever(rows: list[tuple[float, str]]) -> None:
    switch, must = KillSwitch(limit=8.0), False
    for distance, fault in rows:
        must = must or bool(fault) or distance > 8.0
        assert switch.observe(distance, fault) == must == switch.tripped
        assert bool(switch.reason) == must


def test_a_distance_that_is_no_number_trips() -> None:
    assert KillSwitch(limit=8.0).observe(math.nan, "")


def test_only_a_name_clears_the_latch_and_the_first_reason_stays() -> None:
    switch = KillSwitch(limit=8.0)
    switch.observe(1.0, "first")
    switch.observe(9.0, "second")
    assert switch.reason == "first"
    for nobody in ("", "  ", None):
        with pytest.raises(InputError, match="named person"):
            switch.rearm(nobody)  # type: ignore[arg-type]
    assert switch.tripped
    switch.rearm("A. Person")
    assert not switch.tripped
    assert not switch.observe(1.0, "")


def test_a_replay_is_reviewed_after_its_bars_and_only_inside() -> None:
    switch = KillSwitch(limit=8.0, review_bars=3)
    distances = [9.0, 1.0, 1.0, 9.0, 1.0, 1.0]
    assert [switch.observe(d, "") for d in distances] == [True, True, True, True, False, False]
    switch = KillSwitch(limit=8.0, review_bars=1)
    assert switch.observe(9.0, "")
    assert switch.observe(None, "")
    assert switch.observe(1.0, "still faulty")
    assert not switch.observe(1.0, "")


def test_the_limit_is_the_percentile_of_training() -> None:
    distances = np.random.default_rng(1).exponential(size=5000)
    limit = distance_limit(distances)
    assert (distances > limit).sum() in (4, 5)
    fresh = np.random.default_rng(2).exponential(size=200_000)
    assert (fresh > limit).mean() < 0.003
    for wrong in (np.empty(0), np.array([1.0, np.nan])):
        with pytest.raises(DataError):
            distance_limit(wrong)
    with pytest.raises(CheckpointError):
        KillSwitch(limit=0.0)


def test_a_clock_a_little_behind_is_no_fault_and_one_far_behind_is() -> None:
    guard, last = warmed(), TIMES[49]
    assert guard.stale(last) == ""
    assert guard.stale(last - 59_000_000_000) == ""
    assert "behind the last bar" in guard.stale(last - 61_000_000_000)
    assert "behind the last bar" in guard.stale(last - 3_600_000_000_000)
