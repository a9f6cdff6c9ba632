"""Droughts: the plan's own accounting where nothing is dry, and a slow twin elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.accounting import profit_and_loss
from governance.statistics.drought import drought_returns, held_with_delays


def slow(position: np.ndarray, delay: np.ndarray) -> list[float]:
    """Bar by bar: the order book of decisions, the latest that has arrived counting."""
    held = []
    for now in range(len(position) - 1):
        arrived = [i for i in range(len(position)) if i + delay[i] <= now]
        held.append(float(position[max(arrived)]) if arrived else 0.0)
    return held


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_delays_are_those_of_a_slow_twin(seed: int, n: int) -> None:
    rng = random_stream(seed, "test.drought")
    position, delay = rng.random(n), rng.integers(0, 6, n)
    assert held_with_delays(position, delay).tolist() == slow(position, delay)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 5), st.booleans())
def test_without_a_difference_it_is_the_plans_accounting(seed: int, delay: int, dry: bool) -> None:
    rng = random_stream(seed, "test.drought")
    position, market = rng.random(60), 0.01 * rng.standard_normal(59)
    plain = profit_and_loss(position, market, cost_bps=10.0, delay_bars=delay).net
    found = drought_returns(
        position, market, np.full(60, dry), cost_bps=10.0, delay_bars=delay,
        dry_cost_bps=10.0, dry_delay_bars=delay,
    )  # fmt: skip
    assert found == pytest.approx(plain, abs=1e-15)


def test_cost_is_charged_where_it_is_dry_alone() -> None:
    position, market = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0]), np.zeros(5)
    dry = np.array([False, False, False, True, True, False])
    net = drought_returns(
        position, market, dry, cost_bps=10.0, delay_bars=1, dry_cost_bps=200.0, dry_delay_bars=1
    )
    assert net.tolist() == [0.0, -0.001, 0.0, -0.02, 0.0]


def test_dearer_is_never_cheaper() -> None:
    rng = random_stream(2, "test.drought")
    position, market = rng.random(80), 0.01 * rng.standard_normal(79)
    dry = rng.random(80) < 0.4
    lost = [
        -drought_returns(
            position, market, dry, cost_bps=10.0, delay_bars=1,
            dry_cost_bps=10.0 * times, dry_delay_bars=1,
        ).sum()
        for times in (1, 2, 5, 20)
    ]  # fmt: skip
    assert lost == sorted(lost)


def test_what_comes_later_changes_nothing_before() -> None:
    rng = random_stream(3, "test.drought")
    position, market = rng.random(80), 0.01 * rng.standard_normal(79)
    dry = rng.random(80) < 0.4
    costs = {"cost_bps": 10.0, "delay_bars": 1, "dry_cost_bps": 90.0, "dry_delay_bars": 4}
    one = drought_returns(position, market, dry, **costs)
    position[50:], market[50:], dry[50:] = 0.3, 0.2, ~dry[50:]
    assert drought_returns(position, market, dry, **costs)[:50].tolist() == one[:50].tolist()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError):
        held_with_delays(np.ones(3), np.array([1, -1, 0]))
    with pytest.raises(InputError):
        drought_returns(
            np.ones(3), np.zeros(2), np.zeros(3, bool), cost_bps=-1.0, delay_bars=1,
            dry_cost_bps=1.0, dry_delay_bars=1,
        )  # fmt: skip
