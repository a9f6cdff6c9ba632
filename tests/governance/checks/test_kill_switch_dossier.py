"""Missed trips, latency, mild faults, resumption and two-person re-arm, each as an instrument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, chi2

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Capability
from finchaos.trading.two_person import TwoPersonRearm, TwoPersonStream
from governance.check import Context
from governance.checks.kill_switch import MILD, KillSwitch
from governance.faults import FAULTS
from governance.injection import Case
from governance.record import Exhibit
from governance.selftest.volatility_regime import (
    CAPABILITIES,
    VolatilityRegime,
    VolatilityStream,
)
from governance.switch_exhibits import fail_closed_table, latency_curve, latency_quantile
from tests.planted.defects import planted
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure
from tests.planted.switches import WithSwitch

CHECK = KillSwitch(starts=4, history_bars=60, clean_bars=20, mild_starts=2)


class ResumableStream(VolatilityStream):
    """What it remembers can be taken and put back."""

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "subject"}

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class Forgetful(ResumableStream):
    """Comes back without its volatility."""

    def restore(self, state: dict[str, Any]) -> None:
        super().restore({**state, "_variance": 1.0, "_regime": 1})


@dataclass(frozen=True)
class Counting(WithSwitch):
    """Counts the histories that were replayed."""

    replays: tuple[list[int], ...] = ([],)

    def open(self, warmup: Bars | None = None) -> VolatilityStream:
        self.replays[0].append(0 if warmup is None else len(warmup))
        return super().open(warmup)


def columns(exhibit: Exhibit) -> dict[str, tuple[Any, ...]]:
    return {column.name: column.values for column in exhibit.columns}


@pytest.fixture(scope="module")
def context() -> Context:
    return context_of(regime_switching_bars(5, 700))


@pytest.fixture(scope="module")
def sound(context: Context) -> Measured:
    return measure(CHECK, VolatilityRegime(), context)


def test_missed_trips_have_the_exact_interval(sound: Measured, context: Context) -> None:
    injected = 4 * len(FAULTS)
    missed = sound.find("missed_trip_share")
    assert (missed.value, missed.n) == (0.0, injected)
    assert missed.interval is not None
    assert missed.interval.high == pytest.approx(1 - 0.025 ** (1 / injected), abs=1e-12)
    deaf = measure(CHECK, planted("deaf_to_silence"), context)
    found = deaf.find("missed_trip_share")
    assert found.value == 8 / injected  # silence and a clock that tells no time, four times each
    assert found.interval is not None
    assert found.interval.low == pytest.approx(beta.ppf(0.025, 8, injected - 7), abs=1e-12)
    assert found.interval.high == pytest.approx(beta.ppf(0.975, 9, injected - 8), abs=1e-12)


def test_false_trips_of_live_streams_have_a_poisson_interval(sound: Measured) -> None:
    rate = sound.find("live_false_trips_per_1000")
    assert rate.value == 0.0
    assert rate.n == 4 * (61 + 20)
    assert rate.interval is not None
    assert rate.interval.high == pytest.approx(chi2.ppf(0.975, 2) / 2 / rate.n * 1000, abs=1e-9)


def test_every_injection_stands_in_one_column_of_the_proof(
    sound: Measured, context: Context
) -> None:
    ends = ("flat and latched", "flat, then moved", "carried on", "held, or no number",
            "raised an error")  # fmt: skip
    where = {
        "": "flat and latched",
        "non_latching": "flat, then moved",
        "raising": "raised an error",
        "passes_nan_on": "held, or no number",
        "skips_unreadable": "carried on",
    }
    for defect, column in where.items():
        found = measure(CHECK, planted(defect), context) if defect else sound
        (table,) = [e for e in found.exhibits if e.name == "fail_closed"]
        rows = columns(table)
        assert [sum(row) for row in zip(*(rows[end] for end in ends), strict=True)] == [4.0] * len(
            FAULTS
        )
        assert rows[column][list(FAULTS).index("not_a_number")] == 4.0, column


def test_latency_stands_in_quantiles_and_in_a_curve(sound: Measured) -> None:
    exhibits = {e.name: columns(e) for e in sound.exhibits}
    table, curve = exhibits["latency"], exhibits["latency_curve"]
    row = table["fault"].index("silent_feed")
    assert 6.0 <= table["least"][row] <= table["50 % within"][row] <= table["longest"][row] <= 8.0
    assert table["longest"][-1] == sound.value("latency_bars")
    assert sound.value("latency_median_bars", faults="immediate") == 0.0
    assert sound.value("latency_p95_bars", faults="gradual") == sound.value("latency_bars")
    assert set(curve["immediate faults"]) == {1.0}
    assert curve["gradual faults"][0] == 0.0
    assert curve["gradual faults"][-1] == 1.0


@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_latency_and_enough_lie_within_it(values: list[int], share: float) -> None:
    found = latency_quantile(values, share)
    assert found in values
    assert np.mean(np.asarray(values) <= found) >= share - 1e-12
    assert np.mean(np.asarray(values) < found) < share + 1e-12


def test_a_missed_fault_keeps_the_curve_below_one() -> None:
    cases = [Case("price_spike", "", 2), Case("price_spike", "", None)]
    curve = columns(latency_curve("kill_switch", cases))
    assert curve["immediate faults"] == (0.0, 0.0, 0.5)
    table = columns(fail_closed_table("kill_switch", cases))
    assert table["carried on"][list(FAULTS).index("price_spike")] == 1.0


def test_mild_faults_need_not_trip_and_grave_ones_do(sound: Measured) -> None:
    (found,) = [e for e in sound.exhibits if e.name == "severity"]
    rows = columns(found)
    spike = rows["fault"].index("price_spike")
    shares = [rows[f"{severity:g}x"][spike] for severity in MILD]
    assert shares[0] == 0.0
    assert shares[-2:] == [1.0, 1.0]
    assert shares == sorted(shares)


def test_a_resumable_stream_is_resumed_with_the_same_outcome(
    sound: Measured, context: Context
) -> None:
    both = CAPABILITIES | {Capability.RESUMABLE}
    replays: list[int] = []
    subject = Counting(switch=ResumableStream, capabilities=both, replays=(replays,))
    found = measure(CHECK, subject, context)
    assert sum(length > 0 for length in replays) == 4  # once a start
    assert found.value("resume_differences") == 0.0
    same = {(e.metric, *sorted(e.slice.items())): e.value for e in sound}
    for one in found:
        if one.metric != "resume_differences":
            assert same[(one.metric, *sorted(one.slice.items()))] == one.value
    assert [e.digest for e in found.exhibits] == [e.digest for e in sound.exhibits]


def test_loud_on_a_stream_that_comes_back_as_another(context: Context) -> None:
    both = CAPABILITIES | {Capability.RESUMABLE}
    found = measure(CHECK, WithSwitch(switch=Forgetful, capabilities=both), context)
    assert found.value("resume_differences") > 10.0


def test_one_person_is_refused_where_two_are_declared(context: Context) -> None:
    found = measure(CHECK, TwoPersonRearm(VolatilityRegime()), context)
    assert found.value("single_person_rearm_accepted") == 0.0
    assert found.find("single_person_rearm_accepted").n == 4 * len(FAULTS)
    assert found.value("rearm_share") == 1.0
    assert found.value("latched_share") == 1.0


def test_one_person_is_not_measured_where_one_is_declared(sound: Measured) -> None:
    assert "does not declare" in sound.find("single_person_rearm_accepted").reason


@pytest.mark.parametrize("how", ["alone", "both"])
def test_loud_on_a_declaration_of_two_that_one_can_clear(how: str, context: Context) -> None:
    class Lax(TwoPersonStream):
        def rearm(self, person: str) -> None:
            if how == "alone" or self._request is not None:
                self._inner.rearm(person)
            else:
                super().rearm(person)

    class Declared(TwoPersonRearm):
        def fit(self, bars: Bars, *, seed: int) -> TwoPersonRearm:
            return Declared(self.base.fit(bars, seed=seed), self.within_seconds)

        def open(self, warmup: Bars | None = None) -> TwoPersonStream:
            return Lax(VolatilityRegime.open(self.base, warmup), 60.0)  # type: ignore[arg-type]

    # A time of its own: subjects of one digest share what was fitted.
    seconds = {"alone": 60.0, "both": 61.0}[how]
    found = measure(CHECK, Declared(VolatilityRegime(), seconds), context)
    assert found.value("single_person_rearm_accepted") == 4 * len(FAULTS)


@pytest.mark.parametrize(
    "wrong", [{"starts": 0}, {"history_bars": 0}, {"clean_bars": 0}, {"mild_starts": -1}]
)
def test_impossible_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="kill_switch cannot use"):
        KillSwitch(**wrong)
