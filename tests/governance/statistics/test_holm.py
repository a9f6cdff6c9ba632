from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from finchaos.core.errors import InputError
from governance.statistics.holm import holm, simulated_probability


@settings(max_examples=40)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_adjusted_as_statsmodels_adjusts(values: list[float]) -> None:
    found = holm(np.array(values))
    assert found == pytest.approx(multipletests(values, method="holm")[1], abs=1e-12)
    assert (found >= np.array(values)).all()


def test_simulated_probabilities_are_uniform_though_the_statistic_takes_few_values() -> None:
    rng = np.random.default_rng(1)
    draws = rng.binomial(20, 0.05, (4000, 100)).astype(float)
    found = np.array([simulated_probability(row[0], row[1:], rng) for row in draws])
    for level in (0.05, 0.2, 0.5):
        assert (found <= level).mean() == pytest.approx(level, abs=0.025)


def test_tails() -> None:
    rng = np.random.default_rng(2)
    null = np.array([1.0, 2.0, 3.0, np.nan])
    assert simulated_probability(2.5, null, rng) == 0.5
    assert simulated_probability(0.0, null, rng, tail="lower") == 0.25


@pytest.mark.parametrize("wrong", [[1.2], [-0.1], [np.nan]])
def test_what_is_no_probability_is_refused(wrong: list[float]) -> None:
    with pytest.raises(InputError):
        holm(np.array(wrong))
    with pytest.raises(InputError):
        simulated_probability(1.0, np.array([np.nan]), np.random.default_rng(1))
