"""Profit and loss worked by hand, and without a view of the future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finchaos.core.errors import InputError
from governance.statistics.accounting import profit_and_loss


def test_golden_account() -> None:
    # closes 100, 110, 99, 118.8, 106.92
    position = np.array([1.0, 0.5, 0.5, -1.0, 0.0])
    returns = np.array([0.10, -0.10, 0.20, -0.10])
    found = profit_and_loss(position, returns, cost_bps=10, delay_bars=1)
    assert found.held.tolist() == [0.0, 1.0, 0.5, 0.5]
    assert found.traded.tolist() == [0.0, 1.0, 0.5, 0.0]
    assert found.gross == pytest.approx([0.0, -0.10, 0.10, -0.05])
    assert found.cost == pytest.approx([0.0, 0.001, 0.0005, 0.0])
    assert found.net == pytest.approx([0.0, -0.101, 0.0995, -0.05])


def test_without_delay_the_next_return_is_earned_never_the_same() -> None:
    returns = np.array([0.10, -0.10, 0.20])
    found = profit_and_loss(np.array([0.0, 1.0, 0.0, 0.0]), returns, cost_bps=0, delay_bars=0)
    assert found.net == pytest.approx([0.0, -0.10, 0.0])


def test_cost_is_proportional_and_paid_both_ways_with_the_first_entry() -> None:
    position, returns = np.array([1.0, 0.0, 1.0, 0.0, 0.0]), np.zeros(4)
    found = profit_and_loss(position, returns, cost_bps=25, delay_bars=0)
    assert found.net == pytest.approx([-0.0025] * 4)


@pytest.mark.parametrize(
    ("position", "returns", "cost", "delay"),
    [
        (np.ones(3), np.zeros(3), 10, 1),
        (np.ones((3, 1)), np.zeros(2), 10, 1),
        (np.ones(3), np.zeros(2), -1, 1),
        (np.ones(3), np.zeros(2), float("nan"), 1),
        (np.ones(3), np.zeros(2), 10, -1),
    ],
)
def test_what_does_not_fit_is_refused(
    position: np.ndarray, returns: np.ndarray, cost: float, delay: int
) -> None:
    with pytest.raises(InputError):
        profit_and_loss(position, returns, cost_bps=cost, delay_bars=delay)


@given(
    arrays(np.float64, 30, elements=st.floats(-1, 1)),
    arrays(np.float64, 29, elements=st.floats(-0.1, 0.1)),
    st.integers(0, 4),
    st.integers(0, 29),
)
def test_a_decision_changes_nothing_before_it_is_executed(
    position: np.ndarray, returns: np.ndarray, delay: int, row: int
) -> None:
    other = position.copy()
    other[row:] = -position[row:] + 0.25
    one = profit_and_loss(position, returns, cost_bps=7, delay_bars=delay).net
    two = profit_and_loss(other, returns, cost_bps=7, delay_bars=delay).net
    assert np.array_equal(one[: row + delay], two[: row + delay])
    if row + delay < 29 and position[row] != other[row]:
        held = profit_and_loss(other, returns, cost_bps=7, delay_bars=delay).held
        assert held[row + delay] == other[row]
