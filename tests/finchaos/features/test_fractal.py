"""What holds for every formula of scaling and chaos, and for the published schema."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.provenance import random_stream
from finchaos.features import load_schema
from finchaos.features.dimension import HiguchiDimension, KatzDimension
from finchaos.features.formula import Formula
from finchaos.features.fractal import FORMULAS
from finchaos.features.hurst import GeneralisedHurst, HurstDetrended
from finchaos.features.lyapunov import LargestLyapunov
from finchaos.features.rescaled_range import HurstRescaledRange
from finchaos.markets.simulate.heston import HestonConfig, simulate
from tests.finchaos.features.fractional import moves_of, values_of

WINDOW = 36
EVERY: dict[str, Formula] = {
    "generalised_hurst": GeneralisedHurst(WINDOW, 6),
    "hurst_dfa": HurstDetrended(WINDOW, 4, 0.25),
    "hurst_rs": HurstRescaledRange(WINDOW, 4, 0.5),
    "higuchi_dimension": HiguchiDimension(WINDOW, 5),
    "katz_dimension": KatzDimension(WINDOW),
    "largest_lyapunov": LargestLyapunov(WINDOW, 2, 1, 3, 0, 3, 5),
}
NEUTRAL = {"higuchi_dimension": 1.5, "katz_dimension": 1.5, "largest_lyapunov": 0.0}
SCHEMA = load_schema("fractal_v1")


def markets(least: int) -> st.SearchStrategy[np.ndarray]:
    """Log returns in steps, still bars among them."""
    ticks = st.lists(st.integers(-1000, 1000), min_size=least, max_size=110)
    return ticks.map(lambda found: np.array(found) * 1e-4)


every = pytest.mark.parametrize("name", sorted(EVERY))


def test_every_formula_is_here() -> None:
    assert {name: type(formula) for name, formula in EVERY.items()} == dict(FORMULAS)


@every
@given(markets(1), st.lists(st.integers(0, 110), max_size=4))
@settings(max_examples=40, deadline=None)
def test_cuts_and_neighbouring_paths_change_no_bit(
    name: str, returns: np.ndarray, cuts: list[int]
) -> None:
    batch = values_of(EVERY[name], returns)
    assert np.isfinite(batch).all()
    pieces = EVERY[name].open(1)
    edges = [0, *sorted(min(cut, len(returns)) for cut in cuts), len(returns)]
    parts = [pieces.advance(moves_of(returns[a:b])) for a, b in pairwise(edges)]
    assert (np.concatenate(parts)[:, 0] == batch).all()
    together = values_of(EVERY[name], np.column_stack([returns[::-1], returns]))
    assert (together[:, 1] == batch).all()


@every
@given(markets(1), st.integers(-20, 20))
@settings(max_examples=40, deadline=None)
def test_unit_and_direction_do_not_matter(name: str, returns: np.ndarray, power: int) -> None:
    values = values_of(EVERY[name], returns)
    assert values_of(EVERY[name], np.ldexp(returns, power)) == pytest.approx(values, abs=1e-9)
    assert (values_of(EVERY[name], -returns) == values).all()


@every
@given(markets(WINDOW), markets(1))
@settings(max_examples=40, deadline=None)
def test_only_the_window_matters(name: str, returns: np.ndarray, before: np.ndarray) -> None:
    if name == "largest_lyapunov":
        # Its refresh is counted from the first bar.
        before = np.resize(before, 5 * len(before))
    alone = values_of(EVERY[name], returns)[WINDOW - 1 :]
    later = values_of(EVERY[name], np.r_[before, returns])[len(before) + WINDOW - 1 :]
    assert later == pytest.approx(alone, abs=1e-9)


@every
def test_any_scale_will_do(name: str) -> None:
    returns = random_stream(1, "test.scale").standard_normal(300)
    values = values_of(EVERY[name], returns)
    assert values_of(EVERY[name], 0.00137 * returns) == pytest.approx(values, abs=1e-9)


@every
def test_nothing_grows_with_history(name: str) -> None:
    """A hundred thousand bars and a crash later: the arrays as at the start, the values fresh."""
    rng = random_stream(2, "test.history")
    returns = 0.01 * rng.standard_t(3, 100_000)
    returns[50_000] = 1e6
    recursion = EVERY[name].open(1)
    sizes = [getattr(held, "size", 0) for held in recursion._state]
    values = recursion.advance(moves_of(returns))[:, 0]
    assert [getattr(held, "size", 0) for held in recursion._state] == sizes
    # A multiple of the stride of the one that is refreshed by count.
    fresh = values_of(EVERY[name], returns[-1000:])
    assert values[-900:] == pytest.approx(fresh[-900:], abs=1e-11)


@every
def test_constant_and_short_series_are_neutral(name: str) -> None:
    neutral = NEUTRAL.get(name, 0.5)
    assert (values_of(EVERY[name], np.zeros(100)) == neutral).all()
    noise = random_stream(3, "test.short").standard_normal(100)
    values = values_of(EVERY[name], noise)
    assert (values[: WINDOW - 1] == neutral).all()
    assert values[WINDOW - 1] != neutral
    still = values_of(EVERY[name], np.r_[noise, np.zeros(100)])
    assert (still[-40:] == neutral).all()


def test_lookbacks_are_windows() -> None:
    assert {name: formula.lookback for name, formula in EVERY.items()} == {
        **dict.fromkeys(EVERY, WINDOW),
        "largest_lyapunov": WINDOW + 4,
    }


def test_the_schema_is_causal_finite_and_streams_the_bits_of_the_batch() -> None:
    paths = simulate(HestonConfig(), 3, 420, random_stream(9, "test.fractal_v1"))
    batch = SCHEMA.compute({"close": paths.close})
    assert batch.shape == (3, 420, 15)
    assert np.isfinite(batch).all()
    bars = paths.bars(1)
    stream = SCHEMA.open()
    steps = np.array([stream.step(bars[row]) for row in range(len(bars))])
    # Bars know their first open, closes alone do not.
    assert (steps[1:] == SCHEMA.open().replay(bars)[1:]).all()
    for cut in (1, 100, 256, 300, 419):
        altered = paths.close.copy()
        altered[:, cut:] = 7.0 * paths.close[:, cut:][:, ::-1]
        found = SCHEMA.compute({"close": altered})
        assert (found[:, :cut] == batch[:, :cut]).all()
    moved = paths.close.copy()
    moved[:, 360:] *= np.exp(0.05 * np.cumsum(np.sin(np.arange(60.0)) + 0.3))
    # The test above can fail: everything reacts to the past.
    assert (SCHEMA.compute({"close": moved})[:, -1] != batch[:, -1]).any(axis=0).all()


def test_bounded_features_are_in_their_bounds() -> None:
    paths = simulate(HestonConfig(), 3, 420, random_stream(9, "test.fractal_v1"))
    values = SCHEMA.compute({"close": paths.close})
    for column, name in enumerate(SCHEMA.names):
        if SCHEMA.bounded[column]:
            assert np.abs(values[..., column]).max() <= (3.0 if name == "katz" else 2.0)
    assert SCHEMA.lookback == 271
    assert not SCHEMA.needs_range
