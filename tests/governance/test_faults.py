"""Each fault delivers what its name says, and says where a repaired feed goes on."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from finchaos.core.bars import BAR_FIELDS, Bar
from finchaos.core.errors import InputError
from governance.faults import BARS_NEEDED, FAULTS, Delivery
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(4, BARS_NEEDED + 10)
LAST, DUE = BARS[0], [BARS[row] for row in range(1, len(BARS))]


def _deliver(name: str, seed: int = 0) -> list[Delivery]:
    return FAULTS[name].deliveries(LAST, DUE, np.random.default_rng(seed))


def _bar(name: str, seed: int = 0) -> Bar:
    (delivery,) = _deliver(name, seed)
    assert delivery.bar is not None
    return delivery.bar


def _values(bar: Bar) -> list[float]:
    return [float(getattr(bar, name)) for name in BAR_FIELDS]


@pytest.mark.parametrize("seed", range(5))
def test_single_bars_are_spoilt_as_named(seed: int) -> None:
    good = _values(DUE[0])
    assert np.isnan(_values(_bar("not_a_number", seed))).sum() == 1
    assert np.isinf(_values(_bar("infinity", seed))).sum() == 1
    assert _values(_bar("zero_price", seed))[:4].count(0.0) == 1
    assert _bar("negative_volume", seed).volume < 0
    assert np.allclose(_values(_bar("unit_error_up", seed))[:4], 100.0 * np.array(good[:4]))
    assert np.allclose(_values(_bar("unit_error_down", seed))[:4], np.array(good[:4]) / 100.0)
    assert _bar("price_spike", seed).close / DUE[0].close in (1.5, pytest.approx(1 / 1.5))
    assert _bar("swapped_range", seed).high < _bar("swapped_range", seed).low
    shuffled = _values(_bar("shuffled_fields", seed))
    assert sorted(shuffled) == sorted(good)
    assert shuffled != good


def test_stamps_are_wrong_where_named() -> None:
    assert _bar("clock_backward").ts < LAST.ts
    assert (_bar("clock_forward").ts - DUE[0].ts).days == 250
    assert _values(_bar("clock_forward")) == _values(DUE[0])
    assert _bar("time_gap") == DUE[60]
    assert _bar("duplicated_bar") == LAST


def test_a_frozen_feed_repeats_and_a_silent_one_says_nothing() -> None:
    frozen = _deliver("frozen_feed")
    assert all(d.bar is not None and _values(d.bar) == _values(LAST) for d in frozen)
    assert [d.bar.ts for d in frozen if d.bar is not None] == [b.ts for b in DUE[: len(frozen)]]
    assert all(d.bar is None for d in _deliver("silent_feed"))
    assert [d.now for d in _deliver("silent_feed")] == [bar.ts for bar in DUE[:30]]


def test_a_dead_feed_raises_on_every_value_but_has_a_stamp() -> None:
    bar = _bar("dead_monitor")
    assert bar.ts == DUE[0].ts
    for name in BAR_FIELDS:
        with pytest.raises(RuntimeError, match=name):
            getattr(bar, name)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_the_repaired_feed_goes_on_after_what_was_spoilt(name: str) -> None:
    deliveries = _deliver(name)
    expected = {"duplicated_bar": 0, "time_gap": 61, "unreadable_clock": 0}
    assert deliveries[0].resume == expected.get(name, 1)
    assert [d.resume for d in deliveries] == list(
        range(deliveries[0].resume, deliveries[0].resume + len(deliveries))
    )
    assert FAULTS[name].name == name
    assert FAULTS[name].description


def test_faults_leave_the_due_bars_alone_and_need_enough_of_them() -> None:
    before = [astuple(bar) for bar in DUE]
    for name in FAULTS:
        _deliver(name)
    assert [astuple(bar) for bar in DUE] == before
    with pytest.raises(InputError, match="more bars to spoil"):
        FAULTS["time_gap"].deliveries(LAST, DUE[:10], np.random.default_rng(0))


def test_severity_scales_what_can_be_mild() -> None:
    def close(severity: float) -> float:
        (one,) = FAULTS["price_spike"].deliveries(LAST, DUE, np.random.default_rng(0), severity)
        assert one.bar is not None
        return abs(float(np.log(one.bar.close / DUE[0].close)))

    assert [close(s) for s in (0.1, 1.0, 3.0)] == pytest.approx(np.log(1.5) * np.array([0.1, 1, 3]))
    lengths = {
        name: [
            len(FAULTS[name].deliveries(LAST, DUE, np.random.default_rng(0), severity))
            for severity in (0.02, 0.5, 1.0, 3.0)
        ]
        for name in ("frozen_feed", "silent_feed")
    }
    assert lengths == {"frozen_feed": [1, 5, 10, 10], "silent_feed": [1, 15, 30, 30]}
    (late,) = FAULTS["time_gap"].deliveries(LAST, DUE, np.random.default_rng(0), 0.1)
    assert (late.bar, late.resume) == (DUE[6], 7)
    assert {name for name, fault in FAULTS.items() if fault.size} == {
        "frozen_feed",
        "silent_feed",
        "clock_forward",
        "time_gap",
        "price_spike",
    }


@pytest.mark.parametrize("severity", [0.0, -1.0, 3.1, float("nan")])
def test_an_impossible_severity_is_refused(severity: float) -> None:
    with pytest.raises(InputError, match="impossible severity"):
        FAULTS["price_spike"].deliveries(LAST, DUE, np.random.default_rng(0), severity)
