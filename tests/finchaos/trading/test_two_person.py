"""No single person re-arms what two persons re-arm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.bars import Bar
from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.signals import Signal
from finchaos.core.subject import Capability
from finchaos.trading.two_person import (
    RearmRequest,
    TwoPersonRearm,
    TwoPersonStream,
    confirmed,
    requested,
)
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted.markets import regime_switching_bars

SECOND = 1_000_000_000
BARS = regime_switching_bars(6, 120)


def test_another_person_confirms_in_time() -> None:
    done = confirmed(
        requested(" Ada  Byron", 5 * SECOND),
        "Emil Post",
        65 * SECOND,
        within_seconds=60.0,
        reason="a loss",
    )
    assert (done.asked_by, done.confirmed_by) == ("Ada Byron", "Emil Post")
    assert (done.asked_ns, done.confirmed_ns, done.reason) == (5 * SECOND, 65 * SECOND, "a loss")


@pytest.mark.parametrize(
    ("request_", "person", "now", "said"),
    [
        (None, "Emil Post", 0, "nobody has asked"),
        (RearmRequest("Ada Byron", 0), "Ada Byron", 1, "somebody other than"),
        (RearmRequest("Ada Byron", 0), "BYRON, ada", 1, "somebody other than"),
        (RearmRequest("Ada Byron", 0), "\u0410da Byron", 1, "somebody other than"),
        (RearmRequest("Ada Byron", 0), " ", 1, "cannot be the name"),
        (RearmRequest("Ada Byron", 0), "Emil Post", 61, "not of now"),
        (RearmRequest("Ada Byron", 9 * SECOND), "Emil Post", 8, "not of now"),
    ],
)
def test_nothing_else_does(request_: RearmRequest | None, person: str, now: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        confirmed(request_, person, now * SECOND, within_seconds=60.0)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_a_request_counts_from_its_moment_to_the_end_of_its_time(age: int, within: int) -> None:
    asked = RearmRequest("Ada Byron", 10**15)
    try:
        confirmed(asked, "Emil Post", 10**15 + age * SECOND, within_seconds=float(within))
        assert 0 <= age <= within
    except InputError:
        assert not 0 <= age <= within


def _tripped(within: float = 86_400.0) -> TwoPersonStream:
    stream = TwoPersonRearm(VolatilityRegime(), within).open(BARS.rows(0, 100))
    stream.step(Bar(BARS.index[100], np.nan, np.nan, np.nan, np.nan, 0.0))
    assert stream.tripped
    return stream


def test_a_stream_stays_flat_until_two_persons_agree() -> None:
    stream = _tripped()
    for name in ("Ada Byron", "", "nobody, really"):
        with pytest.raises(InputError):
            stream.rearm(name)
    stream.request_rearm("Ada Byron")
    with pytest.raises(InputError, match="somebody other"):
        stream.rearm("Byron Ada")
    assert stream.step(BARS[101]).position == 0.0
    stream.request_rearm("Ada Byron")
    stream.rearm("Emil Post")
    assert not stream.tripped
    (done,) = stream.rearms
    assert (done.asked_by, done.confirmed_by) == ("Ada Byron", "Emil Post")
    assert done.reason == "a field is not finite"
    with pytest.raises(InputError, match="nothing to re-arm"):
        stream.request_rearm("Ada Byron")


def test_a_request_expires_by_the_clock_of_the_feed() -> None:
    stream = _tripped()
    stream.request_rearm("Ada Byron")
    stream.heartbeat(BARS.index[100] + pd.Timedelta(days=1, seconds=1))
    with pytest.raises(InputError, match="not of now"):
        stream.rearm("Emil Post")
    stream.heartbeat(pd.NaT)
    assert stream.tripped


def test_a_request_is_used_up_even_where_the_stream_refuses() -> None:
    class Refusing:
        tripped, trip_reason = True, "broken"

        def step(self, bar: Bar) -> Signal:
            return Signal(bar.ts, 0.0, tripped=True)

        def rearm(self, person: str) -> None:
            raise InputError("planted")

    stream = TwoPersonStream(Refusing(), 60.0)
    with pytest.raises(InputError, match="told the time"):
        stream.request_rearm("Ada Byron")
    stream.step(BARS[0])
    stream.request_rearm("Ada Byron")
    with pytest.raises(InputError, match="planted"):
        stream.rearm("Emil Post")
    with pytest.raises(InputError, match="nobody has asked"):
        stream.rearm("Emil Post")
    assert not stream.rearms


def test_a_pending_request_outlives_a_stop() -> None:
    class Inner:
        tripped, trip_reason, asked = True, "planted", ""

        def step(self, bar: Bar) -> Signal:
            return Signal(bar.ts, 0.0, tripped=True)

        def rearm(self, person: str) -> None:
            self.asked = person

        def state(self) -> dict[str, Any]:
            return {"asked": self.asked}

        def restore(self, state: dict[str, Any]) -> None:
            self.asked = state["asked"]

    stream = TwoPersonStream(Inner(), 60.0)
    stream.step(BARS[0])
    stream.request_rearm("Ada Byron")
    later = TwoPersonStream(Inner(), 60.0)
    later.restore(stream.state())
    later.rearm("Emil Post")
    assert later.rearms[0].asked_by == "Ada Byron"
    again = TwoPersonStream(Inner(), 60.0)
    again.restore(later.state())
    assert again.rearms == later.rearms
    with pytest.raises(CheckpointError):
        again.restore({"inner": {"asked": ""}})


def test_a_subject_under_two_persons_is_the_same_model() -> None:
    base = VolatilityRegime()
    subject = TwoPersonRearm(base).fit(BARS, seed=1)
    assert Capability.TWO_PERSON_REARM in subject.capabilities
    assert Capability.PERSISTENCE not in subject.capabilities
    assert subject.card == base.card
    fitted = base.fit(BARS, seed=1)
    assert np.array_equal(subject.signals(BARS).position, fitted.signals(BARS).position)
    assert subject.digest not in (fitted.digest, TwoPersonRearm(fitted, 1.0).digest)


def test_impossible_arrangements_are_refused() -> None:
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="impossible time"):
            TwoPersonRearm(VolatilityRegime(), seconds)
    unswitched = VolatilityRegime(capabilities=frozenset({Capability.STREAMING}))
    with pytest.raises(InputError, match="two persons"):
        TwoPersonRearm(unswitched)
