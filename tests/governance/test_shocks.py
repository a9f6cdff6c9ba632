"""Shocks are what they are called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from governance.scenario import load_scenario
from governance.shocks import calm_noise, scaled, slide

CRASH = load_scenario("black_monday_1987")
NOISE = np.array([0.01, -0.02, 0.005, 0.0, 0.005, 0.01, -0.01])


def test_severity_one_is_the_crisis_and_zero_a_dead_market() -> None:
    assert scaled(CRASH.returns, 1.0) == pytest.approx(CRASH.returns, abs=1e-15)
    assert not scaled(CRASH.returns, 0.0).any()


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 10.0))
def test_the_log_of_the_whole_path_scales(severity: float) -> None:
    moved = np.log1p(scaled(CRASH.returns, severity)).sum()
    assert moved == pytest.approx(severity * np.log1p(CRASH.returns).sum(), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.95), st.integers(1, 7))
def test_a_slide_falls_by_what_it_is_called(fall: float, bars: int) -> None:
    path = np.cumprod(1.0 + slide(fall, bars, NOISE))
    assert path[bars - 1] == pytest.approx(1.0 - fall, abs=1e-12)
    after = np.log(path[bars:] / path[bars - 1])
    assert after == pytest.approx(np.cumsum(NOISE[bars:]), abs=1e-12)


def test_noise_is_the_end_of_the_warm_up_without_its_drift() -> None:
    close = np.exp(np.cumsum([0.0, 0.5, 0.01, 0.03, 0.02]))
    assert calm_noise(close, 3) == pytest.approx([-0.01, 0.01, 0.0], abs=1e-12)


def test_impossible_shocks_are_refused() -> None:
    with pytest.raises(InputError):
        scaled(CRASH.returns, -1.0)
    with pytest.raises(InputError):
        slide(1.0, 2, NOISE)
    with pytest.raises(InputError):
        slide(0.5, 8, NOISE)
    with pytest.raises(InputError):
        calm_noise(np.ones(3), 3)
