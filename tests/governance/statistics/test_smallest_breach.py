"""The search for the smallest breach: exact where the loss is monotone, and honest elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from finchaos.core.errors import InputError
from governance.statistics.smallest_breach import smallest_breach


@settings(max_examples=80, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0.5, 3.0))
def test_it_is_the_root_of_a_monotone_loss(limit: float, power: float) -> None:
    found = smallest_breach(lambda size: size**power, limit, 1.0, steps=10, halvings=30)
    root = brentq(lambda size: size**power - limit, 0.0, 1.0)
    assert found.found
    assert found.size == pytest.approx(root, abs=1e-8)
    assert found.below <= root <= found.size


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8), st.floats(0.1, 0.9))
def test_what_it_reports_was_tried_and_breached(losses: list[float], limit: float) -> None:
    tried = {}

    def loss(size: float) -> float:
        tried[size] = losses[min(int(size * 8), 7)]
        return tried[size]

    found = smallest_breach(loss, limit, 1.0, steps=8, halvings=6)
    if found.found:
        assert tried[found.size] > limit
        assert found.size - found.below <= 1.0 / 8 / 2**6 + 1e-12
    else:
        assert max(tried.values()) <= limit
        assert found.size == found.below == 1.0
    assert all(value <= limit for size, value in tried.items() if size <= found.below)


def test_a_loss_that_falls_again_is_found_at_its_first_breach() -> None:
    hill = lambda size: 0.3 if 0.35 < size < 0.65 else 0.0  # noqa: E731
    found = smallest_breach(hill, 0.2, 1.0, steps=10, halvings=20)
    assert found.size == pytest.approx(0.35, abs=1e-5)


@pytest.mark.parametrize(("bound", "steps", "halvings"), [(0.0, 5, 1), (1.0, 0, 1), (1.0, 5, -1)])
def test_nothing_to_try_is_refused(bound: float, steps: int, halvings: int) -> None:
    with pytest.raises(InputError):
        smallest_breach(lambda size: size, 0.1, bound, steps=steps, halvings=halvings)
