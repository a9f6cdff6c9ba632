"""Persistence against scikit-learn's kappa, and its interval under independent draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from finchaos.core.errors import InputError
from governance.statistics.persistence import persistence, persistence_interval

LABELS = st.lists(st.integers(0, 3), min_size=3, max_size=60).filter(
    lambda found: len(set(found[:-1]) | set(found[1:])) > 1
)


@given(LABELS)
def test_it_is_cohens_kappa_of_neighbours_and_names_do_not_matter(labels: list[int]) -> None:
    state = np.array(labels)
    found = persistence(state)
    assert found == pytest.approx(cohen_kappa_score(state[:-1], state[1:]), abs=1e-12)
    assert persistence(7 - 2 * state) == pytest.approx(found, abs=1e-12)
    assert -1.0 <= found <= 1.0


def test_one_label_has_none() -> None:
    assert np.isnan(persistence(np.zeros(10)))


def test_intervals_hold_zero_for_independent_draws_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        interval = persistence_interval(persistence(rng.random(400) < 0.4), 399)
        held += interval.low <= 0.0 <= interval.high
    assert 0.92 <= held / 400 <= 0.98


def test_an_alternation_has_an_interval_below_chance() -> None:
    assert persistence_interval(-1.0, 500).high < -0.99


@pytest.mark.parametrize("wrong", [(1.2, 50), (0.1, 3)])
def test_what_has_no_interval_is_refused(wrong: tuple[float, int]) -> None:
    with pytest.raises(InputError, match="no interval"):
        persistence_interval(*wrong)
    with pytest.raises(InputError, match="at least two"):
        persistence(np.zeros(1))
