"""Circular shifts against a slow definition, and their size under dependent returns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.luck import share_as_good, shifted_ratios


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(3, 40), cost=st.floats(0.0, 50.0))
@settings(max_examples=40)
def test_shifts_are_those_of_the_definition(seed: int, count: int, cost: float) -> None:
    rng = np.random.default_rng(seed)
    held, market = rng.random(count), 0.01 * rng.standard_normal(count)
    true, shifted = shifted_ratios(held, market, cost_bps=cost, bars_per_year=252.0, shifts=1000)
    assert len(shifted) == count - 1

    def slow(by: int) -> float:
        moved = np.roll(held, by)
        net = moved * market - np.abs(moved - np.roll(moved, 1)) * cost / 1e4
        return float(net.mean() / net.std(ddof=1) * np.sqrt(252.0))

    assert true == pytest.approx(slow(0))
    assert shifted == pytest.approx([slow(by) for by in range(1, count)])


def spells(rng: np.random.Generator, count: int) -> np.ndarray:
    flips = rng.random(count) < 0.02
    return (np.cumsum(flips) % 2).astype(float)


def test_chance_is_called_timing_as_often_as_the_level_says() -> None:
    """Returns whose volatility clusters, positions in spells that know nothing of them."""
    said = []
    for seed in range(300):
        rng = random_stream(seed, "luck")
        storms = np.convolve(rng.standard_normal(1200), 0.97 ** np.arange(100))[:1200]
        market = 0.01 * np.exp(storms / 8.0) * rng.standard_normal(1200) + 0.0003
        true, shifted = shifted_ratios(
            spells(rng, 1200), market, cost_bps=10.0, bars_per_year=252.0, shifts=200
        )
        said.append(share_as_good(true, shifted))
    assert np.mean(np.array(said) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(said) == pytest.approx(0.5, abs=0.06)


def test_timing_is_found() -> None:
    rng = random_stream(1, "timing")
    market = 0.01 * rng.standard_normal(1000)
    smooth = np.convolve(market, np.ones(10) / 10, mode="same")
    true, shifted = shifted_ratios(
        (smooth > 0).astype(float), market, cost_bps=10.0, bars_per_year=252.0, shifts=500
    )
    assert share_as_good(true, shifted) < 0.01


def test_what_cannot_be_shifted_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be shifted"):
        shifted_ratios(np.ones(5), np.ones(4), cost_bps=0.0, bars_per_year=252.0, shifts=5)
    with pytest.raises(InputError, match="cannot be shifted"):
        shifted_ratios(np.ones(5), np.ones(5), cost_bps=0.0, bars_per_year=252.0, shifts=0)
