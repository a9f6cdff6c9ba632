"""Altered futures leave the past alone, change the future and stay valid bars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.bars import BAR_FIELDS
from finchaos.core.errors import InputError
from governance.alterations import (
    ALTERATIONS,
    alter_future,
    anonymous,
    extend,
    price_factors,
    rescale,
    spread_cuts,
)
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(9, 120)
UNTOUCHED = {
    "volume": {"open", "high", "low", "close"},
    "range": {"open", "close", "volume"},
    "mirror": {"volume"},
}


@settings(max_examples=40)
@given(
    cut=st.integers(1, len(BARS) - 2),
    name=st.sampled_from(sorted(ALTERATIONS)),
    seed=st.integers(0, 10),
)
def test_past_is_the_same_and_the_next_bar_is_not(cut: int, name: str, seed: int) -> None:
    altered = alter_future(BARS, cut, name, np.random.default_rng(seed))
    assert altered.rows(0, cut).digest == BARS.rows(0, cut).digest
    if name == "truncation":
        assert len(altered) == cut
        return
    assert (altered.index == BARS.index).all()
    fields = set(BAR_FIELDS) - UNTOUCHED.get(name, set())
    changed = {f for f in BAR_FIELDS if getattr(altered, f)[cut] != getattr(BARS, f)[cut]}
    assert changed <= fields
    if name != "reversal":  # an odd number of bars has a middle that stays where it is
        assert changed == fields


def test_mirror_negates_log_returns() -> None:
    altered = alter_future(BARS, 50, "mirror", np.random.default_rng(0))
    before, after = np.diff(np.log(BARS.close)), np.diff(np.log(altered.close))
    assert np.allclose(after[49:], -before[49:], atol=1e-12)
    assert np.array_equal(after[:49], before[:49])


@pytest.mark.parametrize("cut", [0, 120, -1])
def test_a_cut_needs_a_past_and_a_future(cut: int) -> None:
    with pytest.raises(InputError, match="past and a future"):
        alter_future(BARS, cut, "noise", np.random.default_rng(0))


def test_anonymous_bars_keep_values_weekdays_and_months() -> None:
    hidden = anonymous(BARS)
    assert hidden.symbol != BARS.symbol
    assert hidden.provenance.source == "withheld"
    assert (hidden.index != BARS.index).all()
    for part in ("day_of_week", "month", "day", "hour", "is_leap_year"):
        assert (getattr(hidden.index, part) == getattr(BARS.index, part)).all()
    assert all(np.array_equal(getattr(hidden, f), getattr(BARS, f)) for f in BAR_FIELDS)


@given(st.integers(0, 200))
def test_rescaled_bars_keep_every_bit_of_ratios_dates_and_volumes(seed: int) -> None:
    up, down = price_factors(np.random.default_rng(seed))
    assert down < 1.0 < up
    for factor in (up, down):
        other = rescale(BARS, factor)
        assert np.array_equal(other.returns(), BARS.returns())
        assert np.array_equal(other.high / other.low, BARS.high / BARS.low)
        assert np.array_equal(other.volume, BARS.volume)
        assert (other.index == BARS.index).all()
        assert other.symbol == BARS.symbol
        assert not set(other.close) & set(BARS.close)


@pytest.mark.parametrize("factor", [0.0, -2.0, float("nan"), float("inf")])
def test_a_price_level_is_positive(factor: float) -> None:
    with pytest.raises(InputError, match="usable factor"):
        rescale(BARS, factor)


def test_extension_goes_on_after_the_last_bar() -> None:
    longer = extend(BARS, 7, np.random.default_rng(0))
    assert len(longer) == len(BARS) + 7
    assert longer.rows(0, len(BARS)).digest == BARS.digest


def test_cuts_visit_every_weekday_and_the_largest_move() -> None:
    cuts = spread_cuts(BARS, 20, 7, np.random.default_rng(3))
    moves = np.abs(np.diff(np.log(BARS.close)))
    assert cuts[0] == 20 + int(np.argmax(moves[19:]))
    assert len(set(cuts)) == 7
    assert min(cuts) >= 20
    assert {int(BARS.index[cut - 1].day_of_week) for cut in cuts[2:]} == {0, 1, 2, 3, 4}
    assert len(spread_cuts(BARS, 110, 50, np.random.default_rng(3))) == 10
