"""Subjects with other hyper-parameters: declared, untrained, told apart, the impossible refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core import registry
from finchaos.core.errors import FinchaosError, InputError
from finchaos.core.subject import Capability
from governance.adapters.estimator import build as estimator
from governance.adapters.function import build as function
from governance.statistics.hyper_parameters import neighbouring
from tests.finchaos.subjects.small import PARAMS, market, untrained
from tests.planted.markets import regime_switching_bars

CHALLENGERS = registry.names("governance.challengers")
FOREST = {
    "estimator": "sklearn.ensemble:RandomForestClassifier",
    "arguments": {"max_depth": 3, "n_estimators": 8, "random_state": 3},
    "stress_quantile": 0.6,
}


def moving_average(frame: Any, window: int = 10, *, flip: bool = False, name: str = "x") -> Any:
    return (frame["close"] > frame["close"].rolling(window).mean()).astype(float)


def subjects() -> dict[str, Any]:
    made = {name: registry.public_class("governance.challengers", name)() for name in CHALLENGERS}
    made["estimator"] = estimator(FOREST, seed=1)
    made["function"] = function({"target": f"{__name__}:moving_average"}, seed=1)
    made["mamba_regime"] = untrained()
    return made


@pytest.mark.parametrize("name", [*CHALLENGERS, "estimator", "function", "mamba_regime"])
def test_every_number_can_be_had_otherwise_and_the_digest_tells(name: str) -> None:
    subject = subjects()[name]
    if name == "buy_and_hold":
        assert Capability.HYPER_PARAMETERS not in subject.capabilities
        return
    assert Capability.HYPER_PARAMETERS in subject.capabilities
    known = subject.hyper_parameters
    assert known
    assert subject.with_hyper_parameters(known).digest == subject.digest
    had = 0
    for parameter, value in known.items():
        for direction in ("lower", "higher"):
            other = neighbouring(value, 0.2, direction)
            if other is None:
                continue
            try:
                changed = subject.with_hyper_parameters({parameter: other})
            except FinchaosError:
                continue
            had += 1
            assert changed.digest != subject.digest
            assert changed.hyper_parameters == {**known, parameter: other}
            assert type(changed.hyper_parameters[parameter]) is type(value)
    assert had >= 1
    for wrong in ({"no_such": 1}, {next(iter(known)): True}):
        with pytest.raises(InputError, match="no such hyper-parameters"):
            subject.with_hyper_parameters(wrong)


@pytest.mark.parametrize("name", ["volatility_threshold", "jump_model", "estimator"])
def test_a_trained_subject_gives_untrained_ones(name: str) -> None:
    bars = regime_switching_bars(1, 600)
    subject = subjects()[name]
    trained = subject.fit(bars, seed=3)
    assert trained.hyper_parameters == subject.hyper_parameters
    again = trained.with_hyper_parameters(subject.hyper_parameters)
    assert again.digest == subject.digest != trained.digest


def test_mamba_regime_keeps_its_pretrained_network_and_refuses_the_impossible() -> None:
    subject = untrained()
    other = subject.with_hyper_parameters({"entry_bars": 4, "stressed_above": 0.7})
    assert (other.settings.entry_bars, other.settings.stressed_above) == (4, 0.7)
    assert other.pretrained is subject.pretrained
    with pytest.raises(InputError):
        subject.with_hyper_parameters({"calm_below": 0.9})
    quicker = subject.with_hyper_parameters({"finetune_steps": 4}).fit(
        market().rows(0, 700), seed=3
    )
    assert quicker.hyper_parameters["finetune_steps"] == PARAMS["finetune_steps"] - 1


def test_numbers_of_an_estimator_are_its_arguments_then_its_defaults() -> None:
    subject = estimator(FOREST, seed=1)
    names = list(subject.hyper_parameters)  # type: ignore[attr-defined]
    assert names[:4] == ["max_depth", "n_estimators", "stress_quantile", "horizon_bars"]
    assert "min_samples_leaf" in names
    assert not {"random_state", "n_jobs", "verbose", "oob_score"} & set(names)
    grown = subject.with_hyper_parameters({"max_depth": 5})  # type: ignore[attr-defined]
    trained = grown.fit(regime_switching_bars(1, 600), seed=3)
    assert trained.fitted.pipeline[-1].max_depth == 5
    with pytest.raises(InputError, match="refuses to be trained"):
        estimator(
            {**FOREST, "arguments": {"max_depth": 0}}, seed=1
        ).fit(regime_switching_bars(1, 600), seed=3)  # fmt: skip
    with pytest.raises(InputError):
        subject.with_hyper_parameters({"stress_quantile": 1.2})  # type: ignore[attr-defined]


def test_numbers_of_a_function_are_those_of_its_signature() -> None:
    subject: Any = function({"target": f"{__name__}:moving_average"}, seed=1)
    assert subject.hyper_parameters == {"window": 10}
    bars = regime_switching_bars(1, 100)
    other = subject.with_hyper_parameters({"window": 8}).signals(bars).position
    wanted = moving_average(bars.frame(), 8).to_numpy()
    np.testing.assert_array_equal(other, wanted)


@given(st.integers(-10_000, 10_000), st.floats(0.01, 0.9))
def test_whole_numbers_stay_whole_and_move(value: int, step: float) -> None:
    low, high = (neighbouring(value, step, way) for way in ("lower", "higher"))
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert low < value < high
    assert high - value == value - low >= 1


@given(st.floats(-1e6, 1e6).filter(lambda value: abs(value) > 1e-6), st.floats(0.01, 0.9))
def test_other_numbers_move_by_their_share(value: float, step: float) -> None:
    low, high = (neighbouring(value, step, way) for way in ("lower", "higher"))
    assert low is not None
    assert high is not None
    assert low < value < high
    assert (high - value) / abs(value) == pytest.approx(step)
    assert neighbouring(0.0, step, "lower") is None
