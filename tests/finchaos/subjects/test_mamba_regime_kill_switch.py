"""The live stream's kill switch under the faults that the validator injects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import InputError
from governance.faults import FAULTS
from governance.injection import Persons, armed_stream, inject
from tests.finchaos.subjects.small import market, trained

START = 500
LATER = {"frozen_feed": 1, "silent_feed": 10}
"""Faults that only repetition or silence can show, with the deliveries they may take."""


def quiet_start() -> int:
    """A row with no trip of its own in the bars that the faults use."""
    tripped = trained().signals(market()).tripped
    assert tripped is not None
    for row in range(START, 900):
        if not tripped[row - 1 : row + 130].any():
            return row
    raise AssertionError("the market leaves the switch no peace")


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_trips_at_once_latches_and_needs_a_person(name: str) -> None:
    row = quiet_start()
    bars = market()
    case = inject(
        armed_stream(trained(), bars.rows(0, row), Persons("A. Person")),
        FAULTS[name],
        bars[row - 1],
        [bars[number] for number in range(row, row + 121)],
        np.random.default_rng(1),
        clean_bars=60,
        persons=Persons("A. Person"),
    )
    assert case.tripped
    assert case.latency_bars is not None
    assert case.latency_bars <= LATER.get(name, 0)
    assert case.failed_closed
    assert case.latched
    assert case.reason
    assert not case.self_rearmed
    assert not case.blank_accepted
    assert case.rearmed


def test_a_rejected_bar_leaves_no_trace_in_the_model() -> None:
    row, bars = quiet_start(), market()
    plain, faulty = (trained().open(bars.rows(0, row)) for _ in range(2))
    bad = replace(bars[row], close=float("nan"))
    assert faulty.step(bad).position == 0.0
    faulty.rearm("A. Person")
    for number in range(row, row + 20):
        expected, found = plain.step(bars[number]), faulty.step(bars[number])
        assert np.array_equal(expected.latents, found.latents)  # type: ignore[arg-type]
        assert expected.position == found.position


def test_a_monitor_that_fails_inside_can_never_be_rearmed(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = market()
    stream = trained().open(bars.rows(0, START))

    def fail(*_: Any) -> None:
        raise MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr("finchaos.subjects.mamba_regime.session.Session.advance", fail)
        assert stream.step(bars[START]).position == 0.0
    assert "MemoryError" in stream.trip_reason
    assert stream.step(bars[START + 1]).tripped
    with pytest.raises(InputError, match="cannot be re-armed"):
        stream.rearm("A. Person")


def test_heartbeats_pass_while_the_feed_is_fresh_and_trip_when_it_is_not() -> None:
    bars = market()
    stream = trained().open(bars.rows(0, START))
    assert stream.heartbeat(bars.index[START - 1] + pd.Timedelta(hours=3)) is None
    assert not stream.tripped
    signal = stream.heartbeat(bars.index[START - 1] + pd.Timedelta(days=40))
    assert signal is not None
    assert signal.position == 0.0
    assert stream.tripped
    fresh = trained().open(bars.rows(0, START))
    assert fresh.heartbeat(pd.Timestamp("2003-01-01")) is not None  # no zone: cannot be trusted
    assert "clock" in fresh.trip_reason


def test_a_stream_without_history_holds_nothing_through_its_warmup() -> None:
    stream, bars = trained().open(), market()
    held = [stream.step(bars[row]).position for row in range(trained().card.warmup_bars)]
    assert not any(held)
