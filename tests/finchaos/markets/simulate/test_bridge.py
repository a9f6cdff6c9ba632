"""Extremes of Brownian bridges against their distribution and against fine paths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.bridge import bar_range, bridge_extremes


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.0), (0.1, -0.2), (-0.3, 0.4)])
def test_extremes_have_the_law_of_a_bridge(start: float, end: float) -> None:
    n, spread = 20_000, 0.09
    tail = np.log1p(-random_stream(1, "test.bridge").random((2, n)))
    a, b = np.full(n, start), np.full(n, end)
    high, low = bridge_extremes(a, b, np.full(n, spread), tail)

    def above(m: np.ndarray) -> np.ndarray:
        return 1.0 - np.exp(-2.0 * (m - start) * (m - end) / spread)

    assert (high >= max(start, end) - 1e-12).all()
    assert stats.kstest(high, above).pvalue > 1e-3
    assert (
        stats.kstest(-low, lambda m: 1.0 - np.exp(-2 * (m + start) * (m + end) / spread)).pvalue
        > 1e-3
    )


def test_without_spread_a_bridge_is_a_line() -> None:
    start, end = np.array([0.0, 1.0]), np.array([0.5, -1.0])
    high, low = bridge_extremes(start, end, np.zeros(2), np.full((2, 2), -3.0))
    assert high.tolist() == [0.5, 1.0]
    assert low.tolist() == [0.0, -1.0]


def test_a_bar_of_steps_holds_all_of_them() -> None:
    rng = random_stream(1, "test.bridge")
    moves = rng.standard_normal((8, 500)) * 0.1
    tail = np.log1p(-rng.random((8, 2, 500)))
    high, low, end = bar_range(np.zeros(500), moves, np.full(500, 0.01), tail)
    walk = np.vstack([np.zeros(500), np.cumsum(moves, axis=0)])
    assert end == pytest.approx(walk[-1], abs=1e-12)
    assert (high >= walk.max(axis=0) - 1e-12).all()
    assert (low <= walk.min(axis=0) + 1e-12).all()
