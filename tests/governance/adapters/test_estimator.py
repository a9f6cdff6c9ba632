"""scikit-learn estimators behind the seam: causal, repeatable, trained inside the window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.bars import Bars
from finchaos.core.errors import (
    DataError,
    DocumentError,
    InputError,
    SubjectFault,
    UnknownNameError,
)
from finchaos.core.subject import Capability, Subject
from governance.adapters.estimator import build, forward_outcomes
from governance.observe import observe
from tests.planted.markets import labels, regime_switching_bars
from tests.planted.skill import closes_alone

LOGISTIC = {"estimator": "sklearn.linear_model:LogisticRegression"}
FOREST = {
    "estimator": "sklearn.ensemble:RandomForestClassifier",
    "arguments": {"n_estimators": 10, "max_depth": 4},
}
RIDGE = {"estimator": "sklearn.linear_model:Ridge"}


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(1, 1200)


@pytest.fixture(scope="module")
def trained(bars: Bars) -> Subject:
    return build(LOGISTIC, seed=1).fit(bars.rows(0, 900), seed=3)


def test_learns_the_volatile_regime(bars: Bars, trained: Subject) -> None:
    signals = observe(trained, bars)
    assert trained.capabilities == {
        Capability.REFIT,
        Capability.REGIMES,
        Capability.HYPER_PARAMETERS,
    }
    assert signals.stress_probability is not None
    state = labels(1, 1200)[900:]
    stressed = signals.stress_probability[900:][state == 1].mean()
    assert stressed > signals.stress_probability[900:][state == 0].mean() + 0.3
    warm = trained.card.warmup_bars
    assert not signals.position[:warm].any()
    assert np.allclose(signals.position[warm:], 1 - signals.stress_probability[warm:])


@pytest.mark.parametrize("params", [LOGISTIC, FOREST, {**RIDGE, "label": "volatility"}])
def test_never_reads_ahead_to_the_last_bit(bars: Bars, params: dict[str, Any]) -> None:
    subject = build(params, seed=1).fit(bars.rows(0, 600), seed=3)
    said = subject.signals(bars)
    for cut in (100, 257, 700, 1111):
        short = subject.signals(bars.rows(0, cut))
        values = {
            name: np.concatenate([getattr(bars, name)[:cut], 2.0 * getattr(bars, name)[cut:]])
            for name in ("open", "high", "low", "close")
        }
        altered = subject.signals(bars.with_values(None, **values))
        for name, column in said.arrays().items():
            assert np.array_equal(short.arrays()[name], column[:cut])
            assert np.array_equal(altered.arrays()[name][:cut], column[:cut])


def test_training_reads_its_window_alone_and_drops_open_labels(bars: Bars) -> None:
    params = {"estimator": "sklearn.neighbors:KNeighborsClassifier", "horizon_bars": 10}
    subject = build(params, seed=1)
    one = subject.fit(bars.rows(0, 900), seed=3)
    neighbours = one.fitted.pipeline[-1]  # type: ignore[attr-defined]
    assert neighbours.n_samples_fit_ == 900 - 10 - subject.card.warmup_bars
    assert one.digest == subject.fit(bars.rows(0, 900), seed=3).digest
    assert one.digest != subject.fit(bars.rows(0, 890), seed=3).digest
    assert one.digest != subject.digest
    volatility, moved = forward_outcomes(bars.close[:900], 10)
    assert len(volatility) == len(moved) == 890


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(10, 40))
def test_forward_outcomes_read_exactly_the_next_bars(horizon: int, n: int) -> None:
    close = regime_switching_bars(3, n).close
    volatility, moved = forward_outcomes(close, horizon)
    for row in range(n - horizon):
        ahead = close[row : row + horizon + 1]
        assert moved[row] == pytest.approx(ahead[-1] / ahead[0] - 1)
        assert volatility[row] == pytest.approx(np.sqrt(np.mean(np.diff(np.log(ahead)) ** 2)))


def test_seed_reaches_the_estimator(bars: Bars) -> None:
    subject = build(FOREST, seed=1)
    probe = bars.rows(0, 500)
    one, two, other = (subject.fit(bars.rows(0, 600), seed=s).signals(probe) for s in (1, 1, 2))
    assert one.digest == two.digest
    assert one.digest != other.digest


def test_threshold_sizing_is_all_or_nothing(bars: Bars) -> None:
    params = {**LOGISTIC, "sizing": "threshold", "max_position": 0.5}
    subject = build(params, seed=1).fit(bars.rows(0, 600), seed=3)
    assert set(observe(subject, bars).position.tolist()) == {0.0, 0.5}


@pytest.mark.parametrize(
    "params",
    [
        {**LOGISTIC, "label": "fall"},
        {**RIDGE, "label": "volatility"},
        {**RIDGE, "label": "return"},
    ],
)
def test_other_labels_make_positions_without_regimes(bars: Bars, params: dict[str, Any]) -> None:
    subject = build(params, seed=1).fit(bars.rows(0, 600), seed=3)
    assert subject.capabilities == {Capability.REFIT, Capability.HYPER_PARAMETERS}
    signals = observe(subject, bars)
    assert signals.regime is None
    assert len(set(signals.position[100:].tolist())) > 1


def test_volatility_regression_cuts_exposure_when_volatile(bars: Bars) -> None:
    subject = build({**RIDGE, "label": "volatility"}, seed=1).fit(bars.rows(0, 900), seed=3)
    position, state = observe(subject, bars).position[900:], labels(1, 1200)[900:]
    assert position[state == 0].mean() > position[state == 1].mean() + 0.2


def test_short_windows_are_warm_up(trained: Subject, bars: Bars) -> None:
    assert not observe(trained, bars.rows(0, 5)).position.any()
    assert len(observe(trained, bars.rows(0, 0))) == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "estimator"),
        ({"estimator": "sklearn"}, "estimator"),
        ({**LOGISTIC, "horizon": 5}, "horizon"),
        ({**LOGISTIC, "horizon_bars": 0}, "horizon_bars"),
        ({**LOGISTIC, "label": "direction"}, "label"),
    ],
)
def test_parameters_are_strict(params: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        build(params, seed=1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimator": "sklearn.linear_model:NoSuch"}, "cannot make"),
        ({"estimator": "no_such_package_here:Model"}, "cannot make"),
        ({**LOGISTIC, "arguments": {"no_such": 1}}, "cannot make"),
        (RIDGE, "does not suit the label high_volatility; expected a classifier"),
        ({**LOGISTIC, "label": "return"}, "expected a regressor"),
    ],
)
def test_what_cannot_be_made_is_said_clearly(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(params, seed=1)


def test_unusable_data_and_order_of_calls(bars: Bars) -> None:
    subject = build(LOGISTIC, seed=1)
    with pytest.raises(UnknownNameError):
        build({**LOGISTIC, "features": "no_such_schema"}, seed=1)
    with pytest.raises(SubjectFault, match="not been trained"):
        subject.signals(bars)
    with pytest.raises(DataError, match="too few bars"):
        subject.fit(bars.rows(0, 80), seed=1)
    with pytest.raises(DataError, match="closes only"):
        subject.fit(closes_alone(bars.close), seed=1)
    steady = build({**LOGISTIC, "label": "fall", "features": "regime_close_v1"}, seed=1)
    with pytest.raises(DataError, match="all labels"):
        steady.fit(closes_alone(100.0 * 1.001 ** np.arange(400.0)), seed=1)
