"""A state that is carried, shared, cut or grown wrongly is found; a sound one is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.challengers.buy_and_hold import BuyAndHold
from governance.challengers.hidden_markov import HiddenMarkov
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Skip
from governance.checks.state_space_soundness import StateSpaceSoundness
from governance.policy import load_policy
from tests.planted import stateful
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure

CHECK = StateSpaceSoundness(
    parity_bars=300, chunks=(1, 7, 64, 150), chunks_compared=4, reach_bars=200, long_bars=4000,
    still_bars=400,
)  # fmt: skip
SEVERE = ("critical", "high")


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(3, 900)


def found(subject: Subject, bars: Bars) -> Measured:
    return measure(CHECK, subject, context_of(bars))


def breached(measured: Measured, *, severe: bool = True) -> set[str]:
    """Rules of this check that fail."""
    findings = load_policy("baseline").judge(measured.evidence).findings
    return {
        one.rule.partition(".")[2]
        for one in findings
        if one.check == "state_space_soundness"
        and one.verdict == "fail"
        and (one.severity in SEVERE) is severe
    }


@pytest.mark.parametrize(
    "subject",
    [stateful.Stateful(), VolatilityThreshold(), BuyAndHold(), HiddenMarkov(starts=1)],
    ids=lambda one: type(one).__name__,
)
def test_sound_models_are_left_alone(subject: Subject, bars: Bars) -> None:
    measured = found(subject, bars)
    assert not breached(measured)
    assert not breached(measured, severe=False)
    assert not [e for e in measured if e.status == "errored"]


@pytest.mark.parametrize(
    ("defective", "rules"),
    [
        (stateful.StepDiffers, {"scan_step", "chunks"}),
        (stateful.SharedState, {"interleaved"}),
        (stateful.NeverReset, {"recalled", "reopened"}),
        (stateful.ChunkDependent, {"chunks", "scan_step"}),
        (stateful.LengthDependent, {"lengths"}),
        (stateful.Unbounded, {"bounded"}),
        (stateful.Unstable, {"bounded", "bounded_states"}),
        (stateful.HalfPrecision, {"finite"}),
        (stateful.HiddenOverflow, {"scale"}),
        (stateful.ForgetfulState, {"resumed"}),
        (stateful.AliasedState, {"resumed"}),
        (stateful.FailsWhenStill, {"answers"}),
        (stateful.ReadsAhead, {"layers"}),
    ],
    ids=lambda one: one.__name__ if isinstance(one, type) else "",
)
def test_every_defect_is_found_at_high_severity(
    defective: type[stateful.Stateful], rules: set[str], bars: Bars
) -> None:
    assert rules <= breached(found(defective(), bars))


def test_what_never_forgets_is_a_matter_of_degree(bars: Bars) -> None:
    measured = found(stateful.NeverForgets(), bars)
    assert {"forgets", "restart"} & breached(measured, severe=False)
    eternal = found(stateful.Unstable(), bars)
    assert eternal.value("largest_eigenvalue", layer="1") == 1.0
    assert "eigenvalues" in breached(eternal, severe=False)


def test_forgetting_and_time_constants_are_those_built_in(bars: Bars) -> None:
    measured = found(stateful.Stateful(), bars)
    assert measured.value("largest_eigenvalue", layer="1") == pytest.approx(stateful.DECAY)
    assert measured.value("shortest_memory", layer="1") == pytest.approx(-1 / np.log(0.9))
    # Variances of two pasts differ by a factor; it takes log(100) time constants and the factor.
    assert 20 < measured.value("forgetting_bars", field="latents") < 120
    influence = [
        measured.value("past_influence", field="latents", lag=lag) for lag in ("1", "63", "longest")
    ]
    assert influence[0] > influence[1] > influence[2]
    assert influence[2] < 1e-6
    assert [one.name for one in measured.exhibits] == ["parity", "forgetting"]


def test_what_is_not_declared_is_not_assessed(bars: Bars) -> None:
    measured = found(HiddenMarkov(starts=1), bars)
    assert "streaming" in measured.find("interleaved_difference").reason
    assert "latents" in measured.find("latent_growth").reason
    assert "layers" in measured.find("state_growth").reason


def test_the_same_seed_gives_the_same_numbers(bars: Bars) -> None:
    twice = [found(stateful.Stateful(), bars).digests for _ in range(2)]
    assert twice[0] == twice[1]


@pytest.mark.parametrize("reach", [63, 250])
def test_no_measurement_is_made_twice(reach: int, bars: Bars) -> None:
    check = replace(CHECK, reach_bars=reach)
    found = measure(check, VolatilityThreshold(), context_of(bars))
    keys = [one.key for one in found]
    assert len(set(keys)) == len(keys)


def test_too_few_bars_are_not_assessed() -> None:
    with pytest.raises(Skip, match="fewer"):
        list(CHECK.measure(stateful.Stateful(), context_of(regime_switching_bars(1, 150),
                                                           first_test=100)))  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"chunks": (0,)}, {"chunks": (400,)}, {"long_bars": 100}, {"reach_bars": 1}, {"pasts": 0}],
)
def test_impossible_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        StateSpaceSoundness(**wrong)  # type: ignore[arg-type]
