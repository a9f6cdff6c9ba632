"""Window sums against sums taken afresh."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import DataError
from finchaos.features.formula import whole
from finchaos.features.window import (
    Rolling,
    add_to_window,
    geometric_sizes,
    slope_weights,
    without_oldest,
)
from tests.finchaos.features.fractional import moves_of


def rolled(values: np.ndarray, size: int, start: int = 0) -> tuple[list[float], list[float]]:
    kept, before = np.zeros(start + size + 3), 0.0
    sums, shorter = [], []
    for row, value in enumerate(values):
        at = row % size
        total, before = add_to_window(kept, start, size, at, before, value)
        sums.append(total)
        shorter.append(without_oldest(kept, start, size, at, before) if size > 1 else 0.0)
    assert (kept[:start] == 0.0).all()
    assert (kept[start + size :] == 0.0).all()
    return sums, shorter


@given(st.lists(st.integers(0, 10**6), max_size=60), st.integers(1, 9), st.integers(0, 4))
@settings(deadline=None)
def test_sums_of_whole_numbers_are_exact(values: list[int], size: int, start: int) -> None:
    sums, shorter = rolled(np.array(values, dtype=np.float64), size, start)
    assert sums == [sum(values[max(0, i + 1 - size) : i + 1]) for i in range(len(values))]
    if size > 1:
        last = [sum(values[max(0, i + 2 - size) : i + 1]) for i in range(len(values))]
        assert shorter == last


def test_a_huge_value_leaves_no_trace_and_rounding_does_not_grow() -> None:
    values = np.r_[np.full(50, 0.1), 1e18, np.full(100_000, 0.1)]
    sums, _ = rolled(values, 7)
    assert sums[60:] == pytest.approx(np.full(len(values) - 60, 0.7), rel=1e-15, abs=0.0)


def test_compiled_and_plain_sums_have_the_same_bits() -> None:
    values = np.random.default_rng(1).random(100)
    kept, plain, before, slow = np.zeros(7), np.zeros(7), 0.0, 0.0
    for row, value in enumerate(values):
        total, before = add_to_window(kept, 0, 7, row % 7, before, value)
        other, slow = add_to_window.py_func(plain, 0, 7, row % 7, slow, value)
        assert total == other
        last = without_oldest(kept, 0, 7, row % 7, before)
        assert last == without_oldest.py_func(plain, 0, 7, row % 7, slow)


def test_a_slope_is_that_of_least_squares() -> None:
    scale = np.array([1.0, 2.0, 3.0, 5.0, 9.0])
    values = np.array([0.3, 0.1, 0.4, 0.9, 0.2])
    assert slope_weights(scale) @ values == pytest.approx(np.polyfit(np.log(scale), values, 1)[0])


def test_sizes() -> None:
    assert geometric_sizes(8, 128, 2.0).tolist() == [8, 16, 32, 64, 128]
    assert geometric_sizes(4, 6, 1.1).tolist() == [4, 5]
    assert geometric_sizes(4, 3.9, 1.1).tolist() == []
    for ratio in (1.0, 0.5, np.nan, np.inf):
        with pytest.raises(DataError, match="ratio"):
            geometric_sizes(4, 9, ratio)


@pytest.mark.parametrize("value", [1.5, 1.0, 10.0, -3.0, np.nan, np.inf])
def test_what_is_not_a_count_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="window must be a whole number; expected at least 2 and"):
        whole("window", value, 2, 9)
    assert whole("window", 9.0, 2, 9) == 9


def test_a_rolling_loop_counts_bars_across_calls() -> None:
    def loop(moves: np.ndarray, bar: int, step: float, out: np.ndarray) -> None:
        out[:] = moves + step * (bar + np.arange(len(moves))[:, None])

    rolling = Rolling(loop, (10.0,))
    parts = [rolling.advance(moves_of(np.zeros(n)))[:, 0].tolist() for n in (2, 0, 3)]
    assert parts == [[0.0, 10.0], [], [20.0, 30.0, 40.0]]
