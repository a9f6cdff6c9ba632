"""The interval of a median: tabled ranks and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.order_statistics import median_interval


@pytest.mark.parametrize(
    ("n", "low", "high"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15), (50, 18, 33)]
)
def test_ranks_are_those_of_the_tables(n: int, low: int, high: int) -> None:
    """Ranks of the sign test's interval at 95 %, as tabled by Conover (1999), A3."""
    found = median_interval(np.arange(1.0, n + 1.0))
    assert found is not None
    assert (found.low, found.high) == (low, high)


def test_five_values_have_no_interval() -> None:
    assert median_interval(np.arange(5.0)) is None


def test_it_covers_the_median_as_often_as_it_says() -> None:
    rng = random_stream(3, "test.median")
    samples = rng.exponential(size=(4000, 25))
    found = [median_interval(row) for row in samples]
    inside = [one is not None and one.low <= np.log(2.0) <= one.high for one in found]
    assert 0.945 <= np.mean(inside) <= 0.97  # at least the level; ranks are coarse


def test_values_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(InputError):
        median_interval(np.array([1.0, np.nan]))
