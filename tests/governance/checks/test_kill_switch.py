"""The instrument is content with a sound switch and loud on each planted defect."""

from __future__ import annotations

import pytest

from finchaos.core.bars import Bars
from governance.check import Context
from governance.checks.kill_switch import KillSwitch
from governance.faults import FAULTS
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted import switches
from tests.planted.defects import planted
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure
from tests.planted.switches import WithSwitch

CHECK = KillSwitch(starts=2, history_bars=60, clean_bars=40, mild_starts=0)
SAME_BAR = sorted(name for name, fault in FAULTS.items() if fault.kind == "immediate")


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(5, 700)


@pytest.fixture(scope="module")
def context(bars: Bars) -> Context:
    return context_of(bars)


@pytest.fixture(scope="module")
def sound(context: Context) -> Measured:
    return measure(CHECK, VolatilityRegime(), context)


def test_a_sound_switch_trips_latches_and_obeys(sound: Measured) -> None:
    for metric in ("trip_share", "fail_closed_share", "latched_share", "rearm_share"):
        assert sound.value(metric) == 1.0, metric
        assert sound.find(metric).n == 2 * len(FAULTS)
    for metric in ("self_rearm_count", "blank_rearm_accepted", "unexplained_trips"):
        assert sound.value(metric) == 0.0, metric
    assert sound.value("false_trips_per_1000") == 0.0
    assert sound.value("control_trip_share") == 0.0


def test_latency_is_counted_in_bars(sound: Measured) -> None:
    for fault in SAME_BAR:
        assert sound.value("latency_bars", fault=fault) == 0.0, fault
    # Three equal bars in a row: the last good one and two frozen ones.
    assert sound.value("latency_bars", fault="frozen_feed") == 1.0
    # Eight or nine weekdays are the first to lie more than ten days after the last bar.
    assert 6.0 <= sound.value("latency_bars", fault="silent_feed") <= 8.0
    assert sound.value("latency_bars") == sound.value("latency_bars", fault="silent_feed")
    assert sound.value("latency_bars", faults="immediate") == 0.0
    assert sound.value("latency_bars", faults="gradual") == sound.value("latency_bars")


def test_false_trip_rate_has_an_exact_interval(sound: Measured) -> None:
    rate = sound.find("false_trips_per_1000")
    assert rate.n == 300
    assert rate.interval is not None
    assert rate.interval.high == pytest.approx(1000 * (1 - 0.025 ** (1 / 300)))


def test_same_seed_same_numbers(sound: Measured, context: Context, bars: Bars) -> None:
    assert measure(CHECK, VolatilityRegime(), context).digests == sound.digests
    other = measure(CHECK, VolatilityRegime(), context_of(bars, seed=12))
    assert other.exhibits[0].columns[0] == sound.exhibits[0].columns[0]


def _defect(context: Context, defect: str | type) -> Measured:
    subject = planted(defect) if isinstance(defect, str) else WithSwitch(switch=defect)
    return measure(CHECK, subject, context)


def test_loud_on_a_switch_that_does_not_latch(context: Context) -> None:
    found = _defect(context, "non_latching")
    assert found.value("trip_share") == 1.0
    assert found.value("self_rearm_count") == 2 * len(FAULTS)
    for fault in FAULTS:
        assert found.value("latched_share", fault=fault) == 0.0, fault


def test_loud_on_a_switch_that_rearms_itself_late(context: Context) -> None:
    found = _defect(context, "self_rearming")
    assert found.value("trip_share") == 1.0
    assert found.value("self_rearm_count") == 2 * len(FAULTS)
    short = KillSwitch(starts=2, history_bars=60, clean_bars=20)
    unseen = measure(short, planted("self_rearming"), context)
    assert unseen.value("self_rearm_count") == 0


def test_loud_on_a_latch_that_a_heartbeat_clears(context: Context) -> None:
    found = _defect(context, "cleared_by_heartbeat")
    assert found.value("self_rearm_count") == 2 * len(FAULTS)
    for fault in FAULTS:
        assert found.value("latched_share", fault=fault) == 0.0, fault


def test_loud_on_a_slow_switch(context: Context) -> None:
    found = _defect(context, "late")
    assert found.value("trip_share", fault="price_spike") == 0.0
    assert found.find("latency_bars", fault="price_spike").status == "skipped"
    assert found.value("latency_bars", fault="frozen_feed") == 4.0
    assert found.value("trip_share") < 0.5


@pytest.mark.parametrize(
    ("defect", "faults", "closed"),
    [
        ("skips_unreadable", {"not_a_number", "infinity", "dead_monitor"}, 1.0),
        ("raising", {"not_a_number", "infinity", "dead_monitor"}, 0.0),
        ("deaf_to_silence", {"silent_feed", "unreadable_clock"}, 1.0),
    ],
)
def test_loud_on_the_faults_a_switch_misses(
    context: Context, defect: str, faults: set[str], closed: float
) -> None:
    found = _defect(context, defect)
    missed = {name for name in FAULTS if found.value("trip_share", fault=name) == 0.0}
    assert missed == faults
    assert all(found.value("trip_share", fault=name) == 1.0 for name in set(FAULTS) - faults)
    assert all(found.value("fail_closed_share", fault=name) == closed for name in faults)
    assert found.value("fail_closed_share") == pytest.approx(
        1.0 - (1.0 - closed) * len(faults) / len(FAULTS)
    )


def test_loud_on_a_switch_that_trips_and_says_no_number(context: Context) -> None:
    found = _defect(context, "passes_nan_on")
    assert found.value("trip_share") == 1.0
    unreadable = {"not_a_number", "infinity", "dead_monitor"}
    for fault in FAULTS:
        closed = float(fault not in unreadable)
        assert found.value("fail_closed_share", fault=fault) == closed, fault


def test_errors_that_a_stream_raises_stand_in_the_table(context: Context) -> None:
    table = _defect(context, "raising").exhibits[0]
    columns = {column.name: column.values for column in table.columns}
    errors = dict(zip(columns["fault"], columns["error raised"], strict=True))
    assert errors["not_a_number"] == "ValueError: planted"
    assert errors["price_spike"] == "none"


def test_loud_on_a_position_held_after_the_trip(context: Context) -> None:
    found = _defect(context, "keeps_position")
    assert found.value("trip_share") == 1.0
    assert found.value("latched_share") == 0.0
    assert found.value("fail_closed_share", fault="price_spike") == 0.0


def test_loud_on_rearming_by_nobody_and_by_no_one(context: Context) -> None:
    anybody = _defect(context, "anybody_may_rearm")
    assert anybody.value("blank_rearm_accepted") == 2 * len(FAULTS)
    nobody = _defect(context, switches.NobodyMayRearm)
    assert nobody.value("blank_rearm_accepted") == 0
    assert nobody.value("rearm_share") == 0.0


def test_loud_on_trips_without_a_reason(context: Context) -> None:
    found = _defect(context, switches.Speechless)
    assert found.value("trip_share") == 1.0
    assert found.value("unexplained_trips") == 2 * len(FAULTS)


def test_a_nervous_switch_shows_on_clean_bars_and_is_not_credited(context: Context) -> None:
    found = _defect(context, switches.TooSensitive)
    assert found.value("false_trips_per_1000") > 10.0
    assert found.value("control_trip_share") == 1.0
    credited = found.find("trip_share")
    assert credited.status == "skipped"
    assert "trips without a fault" in credited.reason
    assert {e.metric for e in found} == {spec.name for spec in KillSwitch.card.metrics}


def test_a_switch_that_a_punctual_heartbeat_trips_is_not_credited(context: Context) -> None:
    found = _defect(context, switches.Impatient)
    assert found.value("false_trips_per_1000") == 0.0
    assert found.value("control_trip_share") == 1.0
    assert found.find("latched_share").status == "skipped"


def test_too_few_bars_are_said_to_be_too_few() -> None:
    bars = regime_switching_bars(5, 160)
    found = measure(CHECK, VolatilityRegime(), context_of(bars, first_test=100))
    assert found.value("false_trips_per_1000") == 0.0
    assert "too few out-of-sample bars" in found.find("trip_share").reason
