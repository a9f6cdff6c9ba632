"""Which bars are explained."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.provenance import random_stream
from governance.statistics.attribution_windows import (
    calm_rows,
    rows_around_fall,
    stratified_rows,
    worst_rows,
)

RETURNS = random_stream(1, "test.windows").normal(0.0, 0.01, 400)
CLOSES = 100.0 * np.exp(np.cumsum(RETURNS))


@given(st.integers(0, 50), st.integers(0, 300), st.integers(1, 80), st.integers(0, 5))
def test_one_row_in_each_stretch(first: int, size: int, count: int, seed: int) -> None:
    rows = stratified_rows(random_stream(seed, "rows"), first, first + size, count)
    assert len(rows) == min(size, count)
    assert (np.diff(rows) > 0).all()
    if size:
        assert first <= rows[0] <= rows[-1] < first + size
    if len(rows) > 1:
        assert np.diff(rows).max() < 2 * np.ceil(size / count) + 1


def test_worst_rows_are_the_lowest_returns_in_order() -> None:
    rows = worst_rows(CLOSES, 100, 400, 5)
    simple = CLOSES[1:] / CLOSES[:-1] - 1.0
    assert sorted(rows.tolist()) == rows.tolist()
    assert set(rows) == set(100 + np.argsort(simple[99:])[:5])


def test_calm_rows_end_the_calmest_windows() -> None:
    closes = 100.0 * np.exp(np.cumsum(np.where(np.arange(300) < 150, 0.1, 1.0) * RETURNS[:300]))
    rows = calm_rows(closes, 30, 0, 300)
    # Tied windows aside, a tenth of all; none reaches into the wild half.
    assert 20 <= len(rows) <= 40
    assert rows.max() < 150
    assert rows.min() >= 30
    assert len(calm_rows(closes, 30, 0, 20)) == 0


def test_rows_around_the_deepest_fall() -> None:
    path = np.concatenate(
        [np.linspace(100, 120, 100), np.linspace(119, 60, 50), np.full(100, 61.0)]
    )
    rows = rows_around_fall(path, 10, 250, 24, margin=20)
    assert rows[0] == 79
    assert rows[-1] == 169
    assert len(rows) == 24
    few = rows_around_fall(np.linspace(1.0, 2.0, 30), 5, 30, 24)
    assert few[0] == 5
