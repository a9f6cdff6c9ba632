"""Callables and user-made subjects behind the seam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finchaos.core.errors import DocumentError, InputError, SubjectFault
from finchaos.core.subject import Capability, Subject
from governance.adapters.function import build
from governance.observe import observe
from tests.planted.markets import regime_switching_bars

SOURCE = """
import numpy as np
import pandas as pd

NUMBER = 3

def momentum(frame, window=20):
    return (frame["close"] > frame["close"].rolling(window).mean()).astype(float)

def as_array(frame):
    return np.ones(len(frame))

def with_regimes(frame):
    calm = frame["close"].pct_change().abs().fillna(0.0) < 0.02
    return pd.DataFrame({
        "position": calm.astype(float),
        "stress_probability": 1.0 - calm.astype(float),
        "regime": (~calm).astype(int),
    })

def with_forecasts(frame):
    return pd.DataFrame({
        "position": np.ones(len(frame)),
        "forecast_mean": np.zeros(len(frame)),
        "forecast_volatility": np.full(len(frame), 0.01),
    }, index=frame.index)

def short(frame):
    return np.ones(len(frame) - 1)

def shuffled(frame):
    return pd.Series(1.0, index=frame.index[::-1])

def half_regimes(frame):
    found = with_regimes(frame).astype(float)
    found.loc[found.index[3], "regime"] = float("nan")
    return found

def raises(frame):
    raise ZeroDivisionError("in the callable")

def scribbles(frame):
    frame["close"] = 0.0
    return np.ones(len(frame))

class Holder:
    class inner:
        @staticmethod
        def call(frame):
            return np.zeros(len(frame))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "strategy.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def make(source: Path, attribute: str, **params: Any) -> Subject:
    return build({"path": str(source), "attribute": attribute, **params}, seed=1)


def test_series_becomes_positions(source: Path) -> None:
    bars = regime_switching_bars(1, 100)
    subject = make(source, "momentum", warmup_bars=20, arguments={"window": 10}, owner="Desk")
    assert isinstance(subject, Subject)
    assert subject.card.name == "momentum"
    assert subject.card.owner == "Desk"
    assert subject.capabilities == {Capability.HYPER_PARAMETERS}
    position = observe(subject, bars).position
    close = bars.frame()["close"]
    wanted = (close > close.rolling(10).mean()).to_numpy(dtype=float)
    assert np.array_equal(position[20:], wanted[20:])
    assert not position[:20].any()
    assert subject.fit(bars, seed=1) is subject


def test_array_and_nested_attribute(source: Path) -> None:
    bars = regime_switching_bars(1, 30)
    assert make(source, "as_array").signals(bars).position.tolist() == [1.0] * 30
    assert make(source, "Holder.inner.call").signals(bars).position.tolist() == [0.0] * 30


def test_frame_with_regimes(source: Path) -> None:
    bars = regime_switching_bars(1, 60)
    subject = make(source, "with_regimes", regimes=True)
    assert subject.capabilities == {Capability.REGIMES}
    signals = observe(subject, bars)
    assert signals.regime is not None
    assert (signals.regime == 1 - signals.position).all()
    with pytest.raises(SubjectFault, match="regimes"):
        observe(make(source, "half_regimes"), bars)
    with pytest.raises(SubjectFault, match="stress_probability"):
        observe(make(source, "momentum", regimes=True), bars)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [("short", "shape"), ("shuffled", "does not fit"), ("raises", "in the callable")],
)
def test_a_faulty_callable_is_the_models_fault(source: Path, attribute: str, message: str) -> None:
    with pytest.raises(SubjectFault, match=message):
        observe(make(source, attribute), regime_switching_bars(1, 30))


def test_a_callable_cannot_change_the_bars(source: Path) -> None:
    bars = regime_switching_bars(1, 30)
    before = bars.close.copy()
    observe(make(source, "scribbles"), bars)
    assert np.array_equal(bars.close, before)


def test_digest_covers_source_arguments_and_card(source: Path) -> None:
    plain = make(source, "momentum").digest
    assert plain == make(source, "momentum").digest
    assert plain != make(source, "momentum", arguments={"window": 5}).digest
    assert plain != make(source, "momentum", warmup_bars=20).digest
    assert plain != make(source, "as_array").digest
    source.write_text(SOURCE.replace("window=20", "window=30"), encoding="utf-8")
    assert plain != make(source, "momentum").digest


def test_an_edited_file_is_read_anew(source: Path) -> None:
    bars = regime_switching_bars(1, 30)
    assert make(source, "as_array").signals(bars).position.sum() == 30
    source.write_text(SOURCE.replace("np.ones(len(frame))", "np.zeros(len(frame))"))
    assert make(source, "as_array").signals(bars).position.sum() == 0


def test_target_names_an_installed_module() -> None:
    subject = build(
        {"target": "governance.selftest.volatility_regime:VolatilityRegime", "returns": "subject"},
        seed=1,
    )
    assert subject.card.name == "volatility-regime"
    tuned = build(
        {
            "target": "governance.selftest.volatility_regime:VolatilityRegime",
            "returns": "subject",
            "arguments": {"debounce_bars": 1},
        },
        seed=1,
    )
    assert tuned.digest != subject.digest


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "either target"),
        ({"target": "a:b", "path": "x.py", "attribute": "b"}, "either target"),
        ({"path": "x.py"}, "either target"),
        ({"target": "a:b", "attribute": "c"}, "either target"),
        ({"target": "no colon"}, "target"),
        ({"target": "a:b", "colour": "red"}, "colour"),
        ({"target": "a:b", "warmup_bars": -1}, "warmup_bars"),
    ],
)
def test_parameters_are_strict(params: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        build(params, seed=1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"target": "no_such_module_here:f"}, "cannot import no_such_module_here"),
        ({"target": "numpy:no_such_thing"}, "numpy has no no_such_thing"),
        ({"target": "math:sqrt"}, "no Python source"),
        ({"path": "missing.py", "attribute": "f"}, "not a Python file"),
        ({"target": "numpy:pi"}, "cannot be called"),
        ({"target": "tests.planted.markets:labels", "returns": "subject"}, "failed to make"),
        (
            {
                "target": "tests.planted.markets:labels",
                "returns": "subject",
                "arguments": {"seed": 1, "n": 5},
            },
            "made no Subject",
        ),
        ({"target": "tests.planted.markets:CALM", "returns": "subject"}, "neither a Subject"),
        (
            {
                "target": "governance.selftest.volatility_regime:VolatilityRegime",
                "returns": "subject",
                "owner": "Desk",
            },
            "its own model card",
        ),
    ],
)
def test_what_cannot_be_used_is_said_clearly(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(params, seed=1)


def test_a_file_that_fails_is_said_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("raise RuntimeError('at import')\n")
    for _ in range(2):
        with pytest.raises(InputError, match="at import"):
            build({"path": str(path), "attribute": "f"}, seed=1)


def test_frame_with_forecasts(source: Path) -> None:
    bars = regime_switching_bars(1, 60)
    signals = observe(make(source, "with_forecasts"), bars)
    assert signals.forecast_volatility is not None
    assert (signals.forecast_volatility == 0.01).all()
    assert signals.regime is None
