"""Exact Poisson intervals against the table values."""

from __future__ import annotations

import pytest

from finchaos.core.errors import InputError
from governance.statistics.rate import exact_rate_interval


@pytest.mark.parametrize(
    ("events", "low", "high"),
    # Garwood's 95 % limits for observed counts, as tabulated in textbooks.
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.6235, 11.668), (10, 4.7954, 18.390)],
)
def test_tabulated_limits(events: int, low: float, high: float) -> None:
    found = exact_rate_interval(events, 1.0)
    assert found.low == pytest.approx(low, abs=5e-4)
    assert found.high == pytest.approx(high, abs=5e-4)
    half = exact_rate_interval(events, 2.0)
    assert half.high == pytest.approx(found.high / 2)


@pytest.mark.parametrize(("events", "exposure"), [(-1, 1.0), (0, 0.0)])
def test_impossible_counts_are_refused(events: int, exposure: float) -> None:
    with pytest.raises(InputError):
        exact_rate_interval(events, exposure)
