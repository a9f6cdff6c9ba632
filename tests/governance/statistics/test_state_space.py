"""Probes are what they say; forgetting, growth and parity against numbers known beforehand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.bars import PRICE_FIELDS
from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.core.signals import Signals
from governance.statistics.state_dynamics import (
    forgetting,
    growth,
    largest_eigenvalue,
    norm_growth,
    unsettled,
)
from governance.statistics.state_parity import array_difference, differences, unusable_rows
from governance.statistics.state_probes import (
    other_past,
    resampled_bars,
    rescaled_bars,
    rounded_bars,
    still_bars,
)
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(2, 400)


def signals_of(latents: np.ndarray, position: np.ndarray | None = None) -> Signals:
    index = pd.date_range("2020-01-01", periods=len(latents), tz="UTC")
    held = np.zeros(len(latents)) if position is None else position
    return Signals(index, held, latents=latents.reshape(len(latents), -1))


def test_resampled_bars_hold_whole_bars_of_the_sample_and_no_drift() -> None:
    long = resampled_bars(BARS, 5000, random_stream(1, "long"))
    assert len(long) == 5000
    drift = np.log(BARS.close[-1] / BARS.close[0]) / (len(BARS) - 1)
    known = np.diff(np.log(BARS.close)) - drift
    drawn = np.diff(np.log(long.close))
    assert np.abs(drawn[:, None] - known).min(axis=1).max() < 1e-12
    assert set(long.volume) <= set(BARS.volume)
    ranges = np.log(BARS.high / BARS.low)
    assert np.abs(np.log(long.high / long.low)[:200, None] - ranges).min(axis=1).max() < 1e-12


@given(cut=st.integers(3, 399), seed=st.integers(0, 50))
def test_another_past_ends_at_the_cut_and_knows_nothing_after_it(cut: int, seed: int) -> None:
    other = other_past(BARS, cut, random_stream(seed, "past"))
    for name in (*PRICE_FIELDS, "volume"):
        assert np.array_equal(getattr(other, name)[cut:], getattr(BARS, name)[cut:])
    assert other.close[cut - 1] == BARS.close[cut - 1]
    future = BARS.with_values(
        None,
        **{
            name: np.append(getattr(BARS, name)[:cut], 3 * getattr(BARS, name)[cut:])
            for name in PRICE_FIELDS
        },
    )
    same = other_past(future, cut, random_stream(seed, "past"))
    assert np.array_equal(other.close[:cut], same.close[:cut])


def test_small_probes() -> None:
    assert np.abs(rounded_bars(BARS).close / BARS.close - 1).max() < 2.0**-23
    scaled = rescaled_bars(BARS, 12)
    assert np.array_equal(scaled.returns(), BARS.returns())
    still = still_bars(BARS, 50)
    assert np.ptp(still.close) / still.close[0] == pytest.approx(1e-4)
    with pytest.raises(InputError):
        other_past(BARS, 2, random_stream(1, "x"))


def test_a_linear_state_forgets_by_the_powers_of_its_eigenvalue() -> None:
    decay, cut, reach = 0.9, 100, 150
    noise = random_stream(1, "noise").standard_normal(400)

    def run(start: float) -> np.ndarray:
        state, rows = start, []
        for value in noise:
            state = decay * state + value
            rows.append(state)
        return np.array(rows)

    base, other = run(0.0), run(0.0)
    shifted = other.copy()
    shifted[:cut] += 5.0
    shifted[cut:] += 5.0 * decay ** np.arange(1, 301)
    found = forgetting(signals_of(base), [(cut, signals_of(shifted))], reach)
    expected = 5.0 * decay ** np.arange(1, reach + 1) / base.std()
    assert np.allclose(found.by_field["latents"], expected, rtol=1e-9)
    bars, seen = found.bars_to("latents", 0.01)
    assert seen
    assert expected[bars - 1] <= 0.01 < expected[bars - 2]
    assert found.bars_to("position", 0.01) == (0, True)
    assert found.bars_to("latents", 0.0) == (reach, False)
    with pytest.raises(InputError):
        forgetting(signals_of(base), [(300, signals_of(shifted))], reach)


def test_growth_of_sums_walks_and_stationary_series() -> None:
    rng = random_stream(4, "growth")
    assert growth(np.arange(10_000.0), 0) == pytest.approx(9500 / 500, rel=0.1)
    assert growth(np.zeros(1000), 0) == 1.0
    stationary = [growth(rng.standard_t(4, (20_000, 3)), 0) for _ in range(20)]
    assert max(stationary) < 1.5
    assert growth(1.002 ** np.arange(8000.0), 100) > 1e5
    assert growth(np.append(np.zeros(999), np.nan), 0) == np.inf
    assert norm_growth(np.ones((1000, 4, 2)), 0) == 1.0
    assert norm_growth(np.arange(10_000.0), 0) == pytest.approx(9990 / 1990, rel=0.01)
    with pytest.raises(InputError):
        growth(np.zeros(50), 0)


def test_what_settles_and_what_does_not() -> None:
    unit = np.ones(1)
    assert unsettled(np.tile([1.0, -1.0], 100), unit) == 0.0
    assert unsettled(np.arange(200.0), unit) == pytest.approx(99, abs=2)
    assert unsettled(0.5 ** np.arange(200.0), unit) < 1e-20


def test_eigenvalues_of_time_constants() -> None:
    assert largest_eigenvalue(np.array([2.0, np.inf])) == 1.0
    assert largest_eigenvalue(np.array([1.0])) == pytest.approx(np.exp(-1.0), abs=1e-15)


def test_differences_are_relative_to_size_and_infinite_where_nothing_compares() -> None:
    a = signals_of(np.array([1e6, 2e6]), np.array([0.0, 1.0]))
    b = signals_of(np.array([1e6, 2e6 + 2]), np.array([0.0, 1.0]))
    assert differences(a, b) == {"latents": pytest.approx(1e-6), "position": 0.0}
    assert array_difference(np.array([np.nan]), np.array([np.nan])) == 0.0
    assert array_difference(np.array([np.nan]), np.array([0.0])) == np.inf
    assert array_difference(np.zeros(2), np.zeros(3)) == np.inf
    assert differences(a, Signals(a.index, a.position))["latents"] == np.inf
    assert unusable_rows(signals_of(np.array([1.0, np.inf])), 3) == 2
