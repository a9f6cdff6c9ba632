from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from governance.statistics.crisis_response import (
    Delay,
    crisis_response,
    worst_intrabar_loss,
)

FALL = np.array([0.01, -0.03, -0.05, -0.20, 0.02, -0.10, 0.10, 0.10, 0.05, 0.05])


def answer(held, net=None, market=FALL, before=1.0, onset=0.05, rise=0.15):
    held = np.asarray(held, dtype=float)
    net = held * market if net is None else net
    return crisis_response(
        market,
        held,
        net,
        held_before=np.full(5, before),
        onset_drawdown=onset,
        recovery_rise=rise,
    )


def test_holding_the_market_is_the_market():
    got = answer(np.ones(10))
    assert got.excess_loss == 0.0
    assert got.drawdown_share == 1.0
    assert got.loss == pytest.approx(1.0 - np.prod(1.0 + FALL))
    assert got.max_drawdown == pytest.approx(0.97 * 0.95 * 0.80 * 1.02 * 0.90 - 1.0)
    assert (got.onset, got.trough, got.worst) == (3, 6, 3)
    assert got.derisk == Delay(7, False)
    assert got.reentry == Delay(0, True)
    assert got.exposure_at_worst_bar == 1.0


def test_never_holding_loses_nothing_and_has_nothing_to_reduce():
    got = answer(np.zeros(10), before=0.0)
    assert (got.loss, got.max_drawdown, got.drawdown_share) == (0.0, 0.0, 0.0)
    assert got.exposure_before == 0.0
    assert got.derisk == Delay(0, True)
    assert got.reentry is None


def test_delays_count_from_the_visible_fall_and_from_the_trough():
    got = answer([1, 1, 1, 1, 1, 0.5, 0, 0, 0.4, 1])
    assert got.derisk == Delay(2, True)
    assert got.reentry == Delay(3, True)


def test_leaving_after_the_trough_does_not_count_as_being_back():
    got = answer([1, 1, 1, 1, 1, 1, 1, 0, 0, 1])
    assert got.derisk == Delay(4, True)
    assert got.reentry == Delay(3, True)
    stays_out = answer([1, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    assert stays_out.reentry == Delay(4, False)


def test_a_market_that_does_not_recover_asks_for_no_reentry():
    assert answer(np.ones(10), rise=0.5).reentry is None


def test_a_fall_seen_only_at_the_last_close_leaves_no_time():
    got = answer([1.0, 1.0], market=np.array([0.01, -0.2]))
    assert got.onset == 2
    assert got.derisk is None
    assert answer([1.0, 1.0], market=np.array([0.01, 0.02])).onset is None


def test_the_reference_is_the_exposure_up_to_the_peak():
    market = np.concatenate([np.full(20, 0.01), FALL])
    held = np.concatenate([np.full(20, 0.4), np.full(10, 0.3)])
    got = answer(held, market=market, before=1.0)
    assert got.exposure_before == pytest.approx(0.4)
    assert not got.derisk.happened


@given(st.lists(st.floats(0.0, 1.0), min_size=10, max_size=10))
def test_more_exposure_in_a_fall_never_loses_less(held):
    market = -np.abs(FALL)
    less, more = answer(held, market=market), answer(np.maximum(held, 0.9), market=market)
    assert less.loss <= more.loss + 1e-12
    assert less.excess_loss <= 1e-12


def test_intrabar_loss_is_marked_at_the_worst_price():
    before, high, low = np.array([100.0, 50.0]), np.array([101.0, 60.0]), np.array([90.0, 49.0])
    assert worst_intrabar_loss(np.array([1.0, 1.0]), before, high, low) == pytest.approx(0.10)
    assert worst_intrabar_loss(np.array([0.1, -1.0]), before, high, low) == pytest.approx(0.20)
    assert worst_intrabar_loss(np.zeros(2), before, high, low) == 0.0


def test_shapes_must_fit():
    with pytest.raises(InputError, match="periods of one length"):
        answer(np.ones(9), net=np.ones(9))
    with pytest.raises(InputError, match="some before"):
        crisis_response(
            FALL,
            np.ones(10),
            FALL,
            held_before=np.empty(0),
            onset_drawdown=0.05,
            recovery_rise=0.1,
        )
