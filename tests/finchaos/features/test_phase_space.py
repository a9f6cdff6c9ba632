"""Coordinates of the phase space against other ways of computing them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.formula import PRIOR_VOLATILITY
from finchaos.features.phase_space import (
    PhasePrice,
    TakensPrice,
    TakensReturn,
    distance_loop,
)
from tests.finchaos.features.fractional import moves_of, values_of


def returns(count: int = 300) -> np.ndarray:
    found: np.ndarray = 0.01 * random_stream(1, "test.phase").standard_t(4, count)
    return found


def test_price_is_the_distance_from_an_exponential_mean_in_deviations() -> None:
    level = pd.Series(np.r_[0.0, np.cumsum(returns())])
    mean = level.ewm(halflife=20.0, adjust=True).mean()
    square = pd.Series(np.r_[PRIOR_VOLATILITY**2, returns() ** 2]).ewm(halflife=20.0, adjust=True)
    decay = 0.5 ** (1.0 / 20.0)
    scale = np.sqrt(square.mean() * decay**2 / (1.0 - decay**2))
    by_hand = ((level - mean) / scale).to_numpy()[1:]
    assert values_of(PhasePrice(20.0), returns()) == pytest.approx(by_hand, abs=1e-10)


def test_price_on_a_random_walk_has_unit_variance() -> None:
    noise = 0.02 * random_stream(2, "test.walk").standard_normal((300, 2000))
    found = values_of(PhasePrice(20.0), noise)[-1]
    assert abs(found.mean()) < 4.0 / np.sqrt(2000)
    assert found.std() == pytest.approx(1.0, abs=0.08)


def test_compiled_and_plain_loops_have_the_same_bits() -> None:
    rows = returns(80).reshape(40, 2)
    fast, slow = (np.zeros(2), np.empty_like(rows)), (np.zeros(2), np.empty_like(rows))
    weight = distance_loop(rows, 0.9, 1.0, *fast)
    assert distance_loop.py_func(rows, 0.9, 1.0, *slow) == weight
    assert (fast[1] == slow[1]).all()


@pytest.mark.parametrize("chunk", [1, 3, 7, 300])
def test_delays(chunk: int) -> None:
    moves = returns()
    pieces = [moves[start : start + chunk] for start in range(0, 300, chunk)]
    for coordinate in range(3):
        late = 4 * coordinate
        for formula, source in (
            (TakensReturn(3, 4, coordinate), moves),
            (TakensPrice(10.0, 3, 4, coordinate), values_of(PhasePrice(10.0), moves)),
        ):
            recursion = formula.open(1)
            found = np.concatenate([recursion.advance(moves_of(piece)) for piece in pieces])
            assert (found[:late] == 0.0).all()
            assert (found[late:, 0] == source[: 300 - late]).all()


def test_lookbacks() -> None:
    assert [TakensReturn(3, 4, c).lookback for c in range(3)] == [1, 5, 9]
    assert TakensPrice(10.0, 3, 4, 2).lookback == 48
    assert PhasePrice(10.0).lookback == 40


@pytest.mark.parametrize(
    ("dimension", "lag", "coordinate", "message"),
    [
        (0, 1, 0, "dimension"),
        (2, 0, 0, "lag"),
        (2, 1.5, 0, "lag"),
        (2, 1, 2, "coordinate .* at most 1"),
        (2, 1, -1, "coordinate"),
    ],
)
def test_wrong_delays_are_refused(
    dimension: float, lag: float, coordinate: float, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        TakensReturn(dimension, lag, coordinate)
    with pytest.raises(DataError, match=message):
        TakensPrice(10.0, dimension, lag, coordinate)


@pytest.mark.parametrize("half_life", [0.0, -1.0, np.nan])
def test_wrong_half_lives_are_refused(half_life: float) -> None:
    with pytest.raises(DataError, match="half-life"):
        PhasePrice(half_life)
    with pytest.raises(DataError, match="half-life"):
        TakensPrice(half_life, 2, 1, 0)
