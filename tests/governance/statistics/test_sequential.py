"""Bets against change: fair without one, whenever somebody looks; quick where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.signal import lfilter

from finchaos.core.errors import InputError
from governance.statistics.sequential import bet_on_batches, capital_of


def test_one_bet_is_fair():
    """Half is staked at the first batch; in terms of -ln p the integrand has no peak."""
    gain, _ = quad(lambda x: capital_of(np.array([np.exp(-x)]))[0] * np.exp(-x), 0.0, 27.0)
    # Beyond p = 1e-12, where p is cut, lies a share 1 / 27.6 of the stake's half.
    assert gain == pytest.approx(1.0 - 0.5 / 27.6, abs=2e-3)
    assert gain <= 1.0


def test_capital_hardly_ever_reaches_its_limit_by_chance():
    rng = np.random.default_rng(1)
    highest = np.array([capital_of(rng.random(200)).max() for _ in range(4000)])
    assert (highest >= 20.0).mean() <= 0.05
    assert (highest >= 5.0).mean() <= 0.2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_capital_stays_positive_and_the_future_changes_nothing(p_values):
    made = capital_of(np.array(p_values))
    assert (made > 0.0).all()
    assert np.array_equal(capital_of(np.array([*p_values, 0.001]))[:-1], made)


def panel(seed: int, rows: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return lfilter([1.0], [1.0, -0.7], rng.normal(size=(rows + 100, 3)), axis=0)[100:]


def test_dependent_rows_without_a_change_seldom_alarm():
    highest = [
        bet_on_batches(p[:1050], p[1050:], 21, np.random.default_rng(seed)).highest
        for seed, p in ((seed, panel(seed, 1470)) for seed in range(60))
    ]
    assert sum(one >= 10.0 for one in highest) <= 12  # at most 6 expected


def test_a_change_is_found_within_a_few_batches_and_only_after_it():
    moved = panel(2, 1470)
    moved[1260:] *= 2.0
    found = bet_on_batches(moved[:1050], moved[1050:], 21, np.random.default_rng(0))
    assert found.capital[:9].max() < 10.0
    assert found.capital[-1] > 40.0


def test_an_incomplete_batch_waits():
    p = panel(1, 500)
    long, short = (
        bet_on_batches(p[:450], p[450:stop], 20, np.random.default_rng(0)) for stop in (490, 499)
    )
    assert np.array_equal(long.p_values, short.p_values)
    assert len(long.capital) == 2
    assert bet_on_batches(p[:450], p[450:460], 20, np.random.default_rng(0)).highest == 1.0


def test_too_short_a_reference_is_refused():
    with pytest.raises(InputError, match="nothing to bet on"):
        bet_on_batches(panel(1, 100), panel(2, 100), 20, np.random.default_rng(0))
