"""The leverage map: monotone, continuous, inside its caps, and the sizing rule as one case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.trading.leverage import LeverageMap
from finchaos.trading.sizing import Sizing, SizingRule

UNIT = st.floats(0, 1)
ANY = st.floats(-10, 10)


@st.composite
def maps(draw: Any) -> LeverageMap:
    count = draw(st.integers(2, 6))
    marks = draw(st.lists(st.integers(0, 1000), min_size=count, max_size=count, unique=True))
    heights = draw(st.lists(st.floats(-2, 2), min_size=count, max_size=count))
    knots = tuple(
        zip([mark / 1000 for mark in sorted(marks)], sorted(heights, reverse=True), strict=True)
    )
    return LeverageMap(knots, 2.0, 2.0, draw(st.sampled_from([0.0, 0.3, 1.0])))


@given(maps(), ANY, ANY, ANY)
def test_exposure_never_rises_with_stress_and_stays_inside_the_caps(
    leverage: LeverageMap, one: float, other: float, confidence: float
) -> None:
    low, high = sorted((one, other))
    least, most = leverage.limits(confidence)
    assert -2.0 <= least <= 0.0 <= most <= 2.0
    assert least <= leverage.target(high, confidence) <= leverage.target(low, confidence) <= most


@given(maps(), UNIT, UNIT)
def test_exposure_is_continuous(leverage: LeverageMap, one: float, other: float) -> None:
    change = abs(leverage.target(one) - leverage.target(other))
    assert change <= leverage.steepness * abs(one - other) + 1e-12


@given(maps(), UNIT, UNIT, UNIT)
def test_exposure_is_continuous_in_confidence(
    leverage: LeverageMap, stress: float, one: float, other: float
) -> None:
    change = abs(leverage.target(stress, one) - leverage.target(stress, other))
    full = leverage.full_confidence
    assert change <= (2.0 * abs(one - other) / full if full else 0.0) + 1e-12


@given(maps(), UNIT)
def test_the_line_is_that_of_numpy(leverage: LeverageMap, stress: float) -> None:
    x, y = np.array(leverage.knots).T
    assert LeverageMap(leverage.knots, 2.0, 2.0).target(stress) == pytest.approx(
        np.interp(stress, x, y), abs=1e-12
    )


@given(UNIT)
def test_no_confidence_means_nothing_held(stress: float) -> None:
    leverage = LeverageMap.around_cash(long=1.2, short=1.0, full_confidence=0.5)
    assert leverage.target(stress, 0.0) == 0.0
    assert leverage.target(stress, 0.5) == leverage.target(stress, 1.0)
    assert abs(leverage.target(stress, 0.25)) <= 0.6


@pytest.mark.parametrize(("short", "in_a_crash"), [(0.0, 0.0), (0.8, -0.8)])
def test_long_in_calm_cash_between_and_short_or_flat_in_a_crash(
    short: float, in_a_crash: float
) -> None:
    leverage = LeverageMap.around_cash(long=1.2, short=short)
    assert [leverage.target(p) for p in (0.0, 0.2, 0.5, 0.55, 0.6)] == [1.2, 1.2, 0.0, 0.0, 0.0]
    assert [leverage.target(p) for p in (0.9, 1.0)] == [in_a_crash] * 2


@given(
    st.floats(-1, 0), st.floats(0.01, 2), st.integers(0, 99), st.integers(1, 100), st.floats(-1, 2)
)
def test_a_sizing_rule_is_the_map_with_two_knots_bit_for_bit(
    low: float, high: float, start: int, length: int, stress: float
) -> None:
    calm, stressed = start / 100, min(start + length, 100) / 100
    rule = SizingRule(low, high, calm, stressed, 0.0)
    share = min(max((stress - calm) / (stressed - calm), 0.0), 1.0)
    line = high + share * (low - high)
    # At the end the formula may miss the knot by a rounding, which the map never does.
    assert rule.target(stress) == (max(line, low) if share < 1.0 else low)
    assert rule.target(stress) == rule.leverage.target(stress)


@given(st.floats(-0.5, 1.5))
def test_the_default_rule_gives_the_bits_of_the_plain_formula(stress: float) -> None:
    share = min(max((stress - 0.2) / (0.8 - 0.2), 0.0), 1.0)
    assert SizingRule().target(stress).hex() == (1.0 + share * (0.0 - 1.0)).hex()


@given(maps(), st.lists(st.tuples(UNIT, UNIT), max_size=30))
def test_what_is_held_never_leaves_the_limits_of_the_moment(
    leverage: LeverageMap, path: list[tuple[float, float]]
) -> None:
    reach = leverage.max_position - leverage.min_position
    sizing = Sizing(LeverageMap(leverage.knots, 2.0, 2.0, leverage.full_confidence, reach / 2))
    for stress, confidence in path:
        least, most = leverage.limits(confidence)
        assert least <= sizing.step(stress, confidence) <= most


def test_a_band_never_keeps_a_position_from_cash() -> None:
    sizing = Sizing(LeverageMap.around_cash(long=1.0, short=1.0, band=0.9))
    assert [sizing.step(p) for p in (0.1, 0.3, 0.55, 0.7, 1.0)] == [1.0, 1.0, 0.0, 0.0, -1.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"knots": ((0.5, 1.0),)},
        {"knots": ((0.5, 1.0), (0.5, 0.0))},
        {"knots": ((0.5, 0.0), (0.6, 0.5))},
        {"knots": ((-0.1, 1.0), (0.5, 0.0))},
        {"knots": ((0.1, 1.0), (1.5, 0.0))},
        {"knots": ((0.1, float("nan")), (0.5, 0.0))},
        {"knots": ((0.1, 1.5), (0.5, 0.0))},
        {"knots": ((0.1, 1.0), (0.5, -0.1))},
        {"max_short": -0.1},
        {"full_confidence": 1.1},
        {"band": 1.1},
    ],
)
def test_impossible_maps_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="impossible leverage map"):
        LeverageMap(**{"knots": ((0.2, 1.0), (0.8, 0.0)), **wrong})


def test_what_is_no_number_is_refused() -> None:
    leverage = LeverageMap.around_cash(full_confidence=0.5)
    with pytest.raises(InputError, match="probability of stress"):
        leverage.target(float("nan"))
    with pytest.raises(InputError, match="confidence"):
        leverage.target(0.5, float("nan"))
