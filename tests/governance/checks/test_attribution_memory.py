"""How far back a model looks, as evidence: right where known, silent where nothing is said."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError, SubjectFault
from finchaos.core.subject import Capability, Memory
from governance.checks.attribution import Attribution
from governance.record import Exhibit
from governance.selftest.volatility_regime import VolatilityRegime
from governance.statistics.model_memory import MEMORY_METRICS, bars_holding
from tests.planted.differentiable import DifferentiableRegime
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure
from tests.planted.remembering import LOOKBACK, Remembering

BARS = regime_switching_bars(3, 1100)
LENGTH = 48
CHECK = Attribution(
    windows=40,
    compared_windows=20,
    length=24,
    steps=4,
    copies=1,
    permutations=1,
    memory_bars=LENGTH,
)


@cache
def run(**changes: Any) -> Measured:
    return measure(CHECK, Remembering(**changes), context_of(BARS, folds=1))


def exhibit(found: Measured, name: str) -> Exhibit:
    (one,) = [item for item in found.exhibits if item.name == name]
    return one


def bars_of_a_leaky_sum(decay: float, share: float, length: int = LENGTH) -> int:
    """1 - decay**n is the share of n bars among infinitely many."""
    whole = 1.0 - decay**length
    return int(np.ceil(np.log(1.0 - share * whole) / np.log(decay)))


@pytest.mark.parametrize("decay", [0.3, 0.8, 0.9])
def test_the_memory_of_a_leaky_sum_is_found(decay: float) -> None:
    found = run(decay=decay)
    evidence = found.find("effective_memory")
    assert evidence.unit == "bars"
    assert evidence.n == 40
    assert evidence.value == bars_of_a_leaky_sum(decay, 0.9)
    # All windows are alike: nothing varies, so there is no error to state.
    assert evidence.interval is None
    for states in ("5%", "median", "95%"):
        assert found.value("window_memory", windows=states) == evidence.value
        length = found.value("memory_length", layer="1", states=states)
        assert length == pytest.approx(-1.0 / np.log(decay))
    of_half = bars_of_a_leaky_sum(decay, 0.9, LENGTH // 2)
    assert found.value("half_context_memory") == of_half
    assert found.value("memory_context") == LENGTH
    assert found.value("input_lookback") == LOOKBACK


def test_windows_that_differ_give_a_spread_and_an_interval() -> None:
    found = run(decay=0.9, decay_when_wild=0.3)
    evidence = found.find("effective_memory")
    assert evidence.value is not None
    assert evidence.interval is not None
    assert evidence.interval.low < evidence.interval.high
    assert evidence.interval.low <= evidence.value <= evidence.interval.high
    assert found.value("window_memory", windows="5%") == bars_of_a_leaky_sum(0.3, 0.9)
    assert found.value("window_memory", windows="95%") == bars_of_a_leaky_sum(0.9, 0.9)
    said = f"(95% interval {evidence.interval.low:.0f} to {evidence.interval.high:.0f}; single"
    assert said in exhibit(found, "memory").note


def test_a_greater_share_needs_more_bars() -> None:
    half = replace(CHECK, memory_share=0.5)
    found = measure(half, Remembering(), context_of(BARS, folds=1))
    assert found.value("effective_memory") == bars_of_a_leaky_sum(0.8, 0.5)
    assert found.value("effective_memory") < run().value("effective_memory")


@pytest.mark.parametrize("subject", [DifferentiableRegime(), VolatilityRegime()])
def test_of_a_subject_that_does_not_say_nothing_is_claimed(subject: Any) -> None:
    found = measure(CHECK, subject, context_of(BARS, folds=1))
    for metric in MEMORY_METRICS:
        evidence = found.find(metric)
        assert evidence.status == "skipped"
        assert "does not declare" in evidence.reason
    assert not any("memory" in item.name for item in found.exhibits)


def test_the_rest_of_attribution_stays_as_it_was() -> None:
    without = measure(CHECK, DifferentiableRegime(), context_of(BARS, folds=1))
    with_memory = run()
    for evidence in without:
        if evidence.metric not in MEMORY_METRICS:
            assert with_memory.find(evidence.metric, **evidence.slice).value == evidence.value


def test_memory_needs_no_gradients() -> None:
    capabilities = Remembering().capabilities - {Capability.GRADIENTS}
    found = run(capabilities=capabilities)
    assert found.value("effective_memory") == run().value("effective_memory")
    assert found.find("feature_share").status == "skipped"


def test_same_seed_same_evidence() -> None:
    again = measure(CHECK, Remembering(), context_of(BARS, folds=1))
    assert again.digests == run().digests


def test_only_bars_up_to_the_tests_end_are_asked_about() -> None:
    asked = []

    class Recording(Remembering):
        def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
            asked.append((len(bars), ends, length))
            return super().memory(bars, ends, length)

    context = context_of(BARS, folds=1)
    measure(CHECK, Recording(), context)
    ((count, ends, length),) = asked
    fold = context.last_fold
    assert count == fold.test_end
    assert length == LENGTH
    assert fold.test_start <= ends.min() <= ends.max() < fold.test_end


def test_the_charts_hold_what_the_evidence_says() -> None:
    found = run()
    chart = exhibit(found, "memory")
    newest, influence, low, high, asked = (np.array(c.values) for c in chart.columns)
    n = int(found.value("effective_memory"))
    assert newest.tolist() == ["1", "2", "5", "10", "20", "48"]
    whole = 1.0 - 0.8**LENGTH
    expected = [(1.0 - 0.8 ** int(k)) / whole for k in newest]
    np.testing.assert_allclose(influence, expected)
    assert ((low <= influence + 1e-12) & (influence <= high + 1e-12)).all()
    assert set(asked) == {0.9}
    sentence = f"90% of what moves the model's latents lies within the last {n} bars "
    assert sentence in chart.note
    assert "It was given 48 bars" in chart.note
    assert "older than 1 bar weighs little" in chart.note
    layers = exhibit(found, "memory_of_layers")
    assert [c.name for c in layers.columns[1:]] == ["layer 1"]
    longer = dict(zip(layers.columns[0].values, layers.columns[1].values, strict=True))
    assert longer == {"1": 1.0, "2": 1.0, "5": 0.0}  # its one state lasts for 4.48 bars


def test_a_window_too_short_to_tell_shows() -> None:
    found = run(decay=0.98)
    assert found.value("half_context_memory") < 0.7 * found.value("effective_memory")
    sound = run(decay=0.5)
    assert sound.value("half_context_memory") == sound.value("effective_memory")


def test_windows_are_no_longer_than_there_are_bars_before_the_test() -> None:
    context = context_of(BARS, folds=1)
    found = measure(replace(CHECK, memory_bars=5000), Remembering(), context)
    room = context.last_fold.test_start - Remembering().card.warmup_bars + 1
    assert found.value("memory_context") == room
    assert found.find("effective_memory").n == 40


def test_a_subject_that_nothing_moves_has_no_effective_memory() -> None:
    class Deaf(Remembering):
        def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
            return Memory(influence=np.zeros((len(ends), length)))

    found = measure(CHECK, Deaf(), context_of(BARS, folds=1))
    assert "nothing moves" in found.find("effective_memory").reason
    assert "no layer" in found.find("memory_length").reason
    assert found.value("memory_context") == LENGTH


def test_a_state_that_does_not_forget_is_named_and_given_no_number() -> None:
    class Hoarder(Remembering):
        def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
            said = super().memory(bars, ends, length)
            return replace(said, layers=(np.array([1.0, 2.0, np.inf]), np.array([3.0])))

    found = measure(CHECK, Hoarder(), context_of(BARS, folds=1))
    assert found.value("memory_length", layer="1", states="median") == 2.0
    assert found.find("memory_length", layer="1", states="95%").status == "errored"
    assert found.value("memory_length", layer="2", states="95%") == 3.0
    chart = exhibit(found, "memory_of_layers")
    assert chart.columns[0].values == ("1", "2", "5")
    assert chart.columns[1].values == (2 / 3, 1 / 3, 1 / 3)
    assert chart.columns[2].values == (1.0, 1.0, 0.0)
    assert "Some states of layer 1 do not forget" in chart.note


def test_windows_too_few_to_speak_of_are_not_measured() -> None:
    permuted = Remembering(
        capabilities=frozenset({Capability.REFIT, Capability.REGIMES, Capability.MEMORY})
    )
    found = measure(CHECK, permuted, context_of(BARS.rows(0, 415), folds=1))
    assert found.find("effective_memory").status == "skipped"
    assert "at least 20 are needed" in found.find("effective_memory").reason


def test_an_answer_of_another_shape_is_the_subjects_fault() -> None:
    class Short(Remembering):
        def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
            return super().memory(bars, ends, length - 1)

    with pytest.raises(SubjectFault, match="influence by lag breaks"):
        measure(CHECK, Short(), context_of(BARS, folds=1))


@pytest.mark.parametrize(
    "said",
    [
        {"influence": np.ones(4)},
        {"influence": np.array([[1.0, np.nan]])},
        {"influence": np.array([[1.0, -0.1]])},
        {"influence": np.ones((2, 2)), "layers": (np.array([]),)},
        {"influence": np.ones((2, 2)), "layers": (np.array([0.0]),)},
        {"influence": np.ones((2, 2)), "layers": (np.array([np.nan]),)},
        {"influence": np.ones((2, 2)), "input_lookback": -1},
    ],
)
def test_an_impossible_memory_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"impossible|negative"):
        Memory(**said)


@pytest.mark.parametrize("share", [0.0, 1.0, 90.0])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="memory_share"):
        Attribution(memory_share=share)


def test_rounding_alone_adds_no_bar() -> None:
    tenths = np.full(10, 0.1)
    assert [int(bars_holding(k / 10, tenths)) for k in range(1, 10)] == list(range(1, 10))
