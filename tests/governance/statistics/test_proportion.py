"""Clopper-Pearson against its definition by binomial tails and its closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from finchaos.core.errors import InputError
from governance.statistics.proportion import exact_interval


@given(trials=st.integers(1, 400), data=st.data(), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_ends_have_the_tail_probability_that_defines_them(
    trials: int, data: st.DataObject, level: float
) -> None:
    events = data.draw(st.integers(0, trials))
    found = exact_interval(events, trials, level=level)
    tail = (1.0 - level) / 2.0
    if events > 0:
        assert binom.sf(events - 1, trials, found.low) == pytest.approx(tail, rel=1e-6)
    else:
        assert found.low == 0.0
    if events < trials:
        assert binom.cdf(events, trials, found.high) == pytest.approx(tail, rel=1e-6)
    else:
        assert found.high == 1.0


def test_no_events_has_a_closed_form_and_scales() -> None:
    found = exact_interval(0, 600, scale=1000.0)
    assert found.low == 0.0
    assert found.high == pytest.approx(1000.0 * (1.0 - 0.025 ** (1 / 600)))
    assert (found.level, found.method) == (0.95, "Clopper-Pearson")


@pytest.mark.parametrize(("events", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(events: int, trials: int) -> None:
    with pytest.raises(InputError, match="possible counts"):
        exact_interval(events, trials)
