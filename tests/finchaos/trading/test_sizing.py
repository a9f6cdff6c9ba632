"""From stress to exposure: continuous, falling, within limits, and not trading for little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.trading.sizing import Sizing, SizingRule

PROBABILITY = st.floats(0, 1)
RULE = SizingRule(min_position=-0.5, max_position=1.5, calm_below=0.1, stressed_above=0.7, band=0.2)


@given(PROBABILITY, PROBABILITY)
def test_targets_fall_with_stress_within_the_limits(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert -0.5 <= RULE.target(high) <= RULE.target(low) <= 1.5


@given(PROBABILITY, st.floats(0, 1e-6))
def test_targets_are_continuous(p: float, step: float) -> None:
    slope = 2.0 / 0.6
    assert abs(RULE.target(min(p + step, 1.0)) - RULE.target(p)) <= slope * step + 1e-12


@given(st.lists(PROBABILITY, max_size=50))
def test_exposure_moves_by_the_band_or_to_the_minimum(probabilities: list[float]) -> None:
    sizing = Sizing(RULE)
    before = sizing.held
    for p in probabilities:
        held, target = sizing.step(p), RULE.target(p)
        assert held in (before, target)
        assert abs(held - target) < RULE.band
        if held != before:
            assert abs(held - before) >= RULE.band or held == RULE.min_position
        if target == RULE.min_position:
            assert held == RULE.min_position
        before = held


def test_a_small_change_of_mind_is_not_traded() -> None:
    sizing = Sizing(SizingRule(calm_below=0.0, stressed_above=1.0, band=0.3))
    held = [sizing.step(p) for p in (0.1, 0.35, 0.41, 0.2, 1.0)]
    assert held == pytest.approx([0.9, 0.9, 0.59, 0.59, 0.0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_position": -0.1},
        {"min_position": 0.2},
        {"calm_below": 0.9},
        {"band": 1.1},
        {"max_position": float("inf")},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="impossible sizing rule"):
        SizingRule(**wrong)
