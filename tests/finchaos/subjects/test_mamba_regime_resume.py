"""A live session taken out of one stream and put into another goes on bit for bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import CheckpointError
from finchaos.core.signals import Signal
from tests.finchaos.subjects.small import market, trained, untrained

START, STOP = 440, 520


def same(one: Signal, other: Signal) -> bool:
    a, b = dataclasses.asdict(one), dataclasses.asdict(other)
    return np.array_equal(a.pop("latents"), b.pop("latents")) and a == b


@pytest.mark.parametrize("cut", [0, 1, 2, 17, 60])
def test_a_restored_session_gives_the_very_signals(cut: int) -> None:
    bars = market()
    whole = trained().open(bars.rows(0, START))
    for row in range(START, START + cut):
        whole.step(bars[row])
    other = trained().open()
    other.restore(whole.state())
    for row in range(START + cut, STOP):
        assert same(whole.step(bars[row]), other.step(bars[row]))


def test_the_latch_goes_along_and_what_was_taken_is_a_copy() -> None:
    bars = market()
    whole, other = trained().open(bars.rows(0, START)), trained().open()
    whole.step(dataclasses.replace(bars[START], close=float("nan")))
    state = whole.state()
    for row in range(START, START + 9):
        whole.step(bars[row])
    other.restore(state)
    assert other.tripped
    assert other.trip_reason == whole.trip_reason
    for row in range(START, START + 9):
        other.step(bars[row])
    for stream in (whole, other):
        stream.rearm("A. Person")
    assert same(whole.step(bars[START + 9]), other.step(bars[START + 9]))
    assert not other.tripped


def test_an_unreadable_time_leaves_a_state_that_can_be_taken() -> None:
    stream, other = trained().open(), trained().open()
    stream.step(dataclasses.replace(market()[0], ts=pd.Timestamp("2003-01-01")))
    other.restore(stream.state())
    assert other.tripped


@pytest.mark.parametrize("spoil", ["missing", "network", "features", "nan", "other"])
def test_a_state_of_another_model_is_refused(spoil: str) -> None:
    stream = trained().open(market().rows(0, START))
    state: dict[str, Any] = stream.state()
    session = state["session"]
    if spoil == "missing":
        del session["seen"]
    elif spoil == "network":
        session["network"]["0.ssm"] = session["network"]["0.ssm"][..., :1]
    elif spoil == "features":
        session["features"].popitem()
    elif spoil == "nan":
        session["network"]["0.conv"][...] = np.nan
    else:
        state = {"theirs": 1}
    with pytest.raises(CheckpointError, match="not of this model"):
        trained().open().restore(state)
    assert untrained().digest != trained().digest
