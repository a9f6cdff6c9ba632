"""Percentiles among placebos: against scipy, at their stated rate, and blind to the event."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, percentileofscore

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.placebo import (
    block_paths,
    percentile_among,
    percentile_interval,
    side_by_side,
    window_starts,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40),
    st.integers(-6, 6).map(float),
)
def test_percentile_is_that_of_scipy(placebos: list[float], value: float) -> None:
    expected = percentileofscore(placebos, value, kind="mean") / 100.0
    assert percentile_among(value, np.array(placebos)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("events", "n"), [(0, 30), (3, 30), (30, 30), (190, 200)])
def test_interval_of_whole_counts_is_that_of_scipy(events: int, n: int) -> None:
    found = percentile_interval(events / n, n)
    expected = binomtest(events, n).proportion_ci(0.95, method="exact")
    assert found.low == pytest.approx(expected.low, abs=1e-8)
    assert found.high == pytest.approx(expected.high, abs=1e-8)


def test_fewer_independent_windows_say_less() -> None:
    few, many = percentile_interval(0.9, 12.5), percentile_interval(0.9, 200.0)
    assert few.low < many.low < 0.9 < many.high < few.high


def clustered(seed: int, n: int) -> np.ndarray:
    """Returns whose volatility comes in spells: a GARCH(1, 1)."""
    noise = random_stream(seed, "test.placebo").standard_normal(n)
    variance, moves = 1e-4, np.empty(n)
    for row, shock in enumerate(noise):
        moves[row] = np.sqrt(variance) * shock
        variance = 2e-6 + 0.08 * moves[row] ** 2 + 0.9 * variance
    return moves


def test_an_ordinary_window_is_called_worse_no_more_often_than_one_in_twenty() -> None:
    """A 'crisis' that is any window of a history with clustered volatility."""
    length, called = 50, 0
    for seed in range(300):
        rng = random_stream(seed, "test.placebo.draws")
        loss = -np.convolve(clustered(seed, 1500), np.ones(length), "valid")
        event = int(rng.integers(len(loss)))
        allowed = np.ones(1500, dtype=bool)
        allowed[event : event + length] = False
        starts = window_starts(allowed, length, 200, rng)
        share = percentile_among(loss[event], loss[starts])
        independent = min(side_by_side(allowed, length), 200)
        called += percentile_interval(share, independent).low > 0.95
    assert called / 300 <= 0.05


def test_an_extraordinary_window_is_called_worse() -> None:
    null = random_stream(1, "test.placebo").standard_normal(200)
    share = percentile_among(9.0, null)
    assert share == 1.0
    assert percentile_interval(share, 200).low > 0.95


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_windows_never_touch_what_is_not_allowed(seed: int, length: int) -> None:
    rng = random_stream(seed, "test.placebo")
    allowed = rng.random(120) < 0.9
    count = side_by_side(allowed, length)
    if count == 0:
        with pytest.raises(InputError, match="no window"):
            window_starts(allowed, length, 5, rng)
        return
    for start in window_starts(allowed, length, 20, rng):
        assert allowed[start : start + length].all()
        assert start + length <= len(allowed)


def test_windows_are_drawn_evenly() -> None:
    allowed = np.ones(14, dtype=bool)
    starts = window_starts(allowed, 5, 20_000, random_stream(1, "test.placebo"))
    shares = np.bincount(starts, minlength=10) / 20_000
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_blocks_keep_neighbours_together_and_draw_from_nothing_else() -> None:
    source = np.arange(100.0)
    paths = block_paths(source, 250, 20, 40, random_stream(1, "test.placebo"))
    assert paths.shape == (40, 250)
    assert set(np.unique(paths)) <= set(source)
    followed = np.mean(np.diff(paths, axis=1) % 100.0 == 1.0)
    assert followed == pytest.approx(1.0 - 1.0 / 20.0, abs=0.015)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_impossible_percentiles_are_refused(share: float) -> None:
    with pytest.raises(InputError):
        percentile_interval(share, 10)
    with pytest.raises(InputError):
        percentile_interval(0.5, 0.5)
    with pytest.raises(InputError):
        percentile_among(0.0, np.array([]))
