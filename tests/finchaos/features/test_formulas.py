"""Each formula against another way of computing it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from finchaos.core.provenance import random_stream
from finchaos.features.formula import PRIOR_VOLATILITY, Moves
from finchaos.features.price import AbsoluteReturn, Drawdown, LogReturn, Momentum
from finchaos.features.recursion import Change, Ewma, fold
from finchaos.features.volatility import (
    LogDownside,
    LogRangeVolatility,
    LogVolatility,
    LogVolatilityOfVolatility,
    RangeVolatilityChange,
    garman_klass,
)
from finchaos.markets.simulate.heston import HestonConfig, HestonRegime, simulate

N = 300


@pytest.fixture(scope="module")
def moves() -> Moves:
    rng = random_stream(4, "test.formulas")
    body = 0.01 * rng.standard_t(4, (N, 1))
    return Moves(
        log_return=body + 0.002 * rng.standard_normal((N, 1)),
        log_range=np.abs(body) + 0.01 * rng.random((N, 1)),
        log_body=body,
    )


def average(x: np.ndarray, half_life: float, prior: float) -> np.ndarray:
    """Normalised exponential mean by pandas, the prior being an observation before the first."""
    series = pd.Series(np.concatenate([[prior], x[:, 0]]))
    return series.ewm(halflife=half_life, adjust=True).mean().to_numpy()[1:]


def test_exponential_mean_agrees_with_pandas(moves: Moves) -> None:
    mine = Ewma(7.0, 0.5, 1).advance(moves.log_return)
    assert mine[:, 0] == pytest.approx(average(moves.log_return, 7.0, 0.5), rel=1e-12)


def test_a_long_exponential_mean_of_a_constant_is_that_constant() -> None:
    assert Ewma(5.0, 9.0, 1).advance(np.full((500, 1), 2.0))[-1, 0] == pytest.approx(2.0)


def test_one_path_and_many_take_the_same_steps() -> None:
    """The float loop for one path against the array loop, bit by bit."""
    values = random_stream(5, "test.fold").standard_normal((200, 3))

    def step(state: float, value: float) -> float:
        return 0.9 * state + value / 3.0 - abs(value)

    many, last = fold(values, np.ones(3), step)
    for path in range(3):
        one, end = fold(np.ascontiguousarray(values[:, path : path + 1]), np.ones(1), step)
        assert (one[:, 0] == many[:, path]).all()
        assert end[0] == last[path]


def test_change_carries_over_from_chunk_to_chunk() -> None:
    values = np.arange(10.0)[:, None] ** 2
    change = Change()
    parts = np.concatenate([change.advance(values[:4]), change.advance(values[4:])])
    assert parts[:, 0].tolist() == [0.0, *np.diff(values[:, 0])]


def test_returns(moves: Moves) -> None:
    assert (LogReturn().open(1).advance(moves) == moves.log_return).all()
    assert (AbsoluteReturn().open(1).advance(moves) == np.abs(moves.log_return)).all()


def test_log_volatilities(moves: Moves) -> None:
    variance = average(moves.log_return**2, 5.0, PRIOR_VOLATILITY**2)
    found = LogVolatility(5.0).open(1).advance(moves)[:, 0]
    assert np.exp(found) == pytest.approx(np.sqrt(variance), rel=1e-12)
    loss = np.minimum(moves.log_return, 0.0) ** 2
    downside = average(loss, 10.0, 0.5 * PRIOR_VOLATILITY**2)
    found = LogDownside(10.0).open(1).advance(moves)[:, 0]
    assert np.exp(found) == pytest.approx(np.sqrt(downside), rel=1e-12)


def test_volatility_of_exact_moves_is_their_size() -> None:
    still = np.zeros((400, 1))
    swing = Moves(np.where(np.arange(400)[:, None] % 2, 0.02, -0.02), still, still)
    assert np.exp(LogVolatility(5.0).open(1).advance(swing)[-1, 0]) == pytest.approx(0.02)
    # Every second return is a loss: half the mean square.
    last = LogDownside(1000.0).open(1).advance(swing)[-1, 0]
    assert np.exp(last) == pytest.approx(0.02 / np.sqrt(2.0), rel=1e-2)


def test_garman_klass_by_hand() -> None:
    value = garman_klass(np.array([np.log(110 / 95)]), np.array([np.log(105 / 100)]))
    by_hand = 0.5 * 0.14660347**2 - 0.38629436 * 0.04879016**2
    assert value[0] == pytest.approx(by_hand, rel=1e-6)


def test_range_volatility_measures_a_known_variance() -> None:
    steady = HestonRegime(3.0, 0.04, 0.0, 0.0, 0.0, 100.0)
    paths = simulate(HestonConfig((steady,), substeps=8), 40, 400, random_stream(1, "test.gk"))
    ranges, bodies = np.log(paths.high / paths.low), np.log(paths.close / paths.open)
    assert 252 * garman_klass(ranges, bodies).mean() == pytest.approx(0.04, rel=0.02)
    flat = Moves(np.zeros((400, 40)), ranges.T, bodies.T)
    annual = np.sqrt(252) * np.exp(LogRangeVolatility(60.0).open(40).advance(flat)[-1])
    assert annual.mean() == pytest.approx(0.2, rel=0.02)


def test_changes_of_range_volatility(moves: Moves) -> None:
    variance = average(garman_klass(moves.log_range, moves.log_body), 5.0, PRIOR_VOLATILITY**2)
    change = RangeVolatilityChange(5.0).open(1).advance(moves)[:, 0]
    assert change[0] == 0.0
    assert change[1:] == pytest.approx(0.5 * np.diff(np.log(variance)), abs=1e-12)
    steps = np.concatenate([[0.0], np.diff(np.sqrt(variance))])[:, None]
    square = average(steps**2, 20.0, 0.01 * PRIOR_VOLATILITY**2)
    found = LogVolatilityOfVolatility(20.0, 5.0).open(1).advance(moves)[:, 0]
    assert np.exp(found) == pytest.approx(np.sqrt(square), rel=1e-9)


def test_volatility_of_volatility_tells_regimes_apart_that_have_one_level() -> None:
    """What it is for: same variance on average, three times the volatility of variance."""
    found = []
    for xi in (0.15, 0.45):
        law = HestonRegime(3.0, 0.04, xi, 0.0, 0.0, 100.0)
        paths = simulate(HestonConfig((law,), substeps=8), 60, 400, random_stream(2, "test.xi"))
        flat = Moves(
            np.zeros((400, 60)),
            np.log(paths.high / paths.low).T,
            np.log(paths.close / paths.open).T,
        )
        formula = LogVolatilityOfVolatility(20.0, 20.0)
        found.append(formula.open(60).advance(flat)[-1].mean())
    assert found[1] > found[0] + 0.1


def test_drawdown_from_a_high_that_never_fades_is_the_drawdown(moves: Moves) -> None:
    level = np.cumsum(moves.log_return[:, 0])
    high = np.maximum.accumulate(np.concatenate([[0.0], level]))[1:]
    endless = Drawdown(1e15).open(1).advance(moves)[:, 0]
    assert endless == pytest.approx(level - high, abs=1e-9)


def test_drawdown_fades_by_half_in_a_half_life() -> None:
    fall = np.zeros((21, 1))
    fall[0] = -0.3
    depth = Drawdown(20.0).open(1).advance(Moves(fall, fall, fall))[:, 0]
    assert depth[20] == pytest.approx(0.5 * depth[0])
    assert (depth <= 0).all()


def test_momentum(moves: Moves) -> None:
    mean = average(moves.log_return, 20.0, 0.0)
    square = average(moves.log_return**2, 20.0, PRIOR_VOLATILITY**2)
    decay = 0.5 ** (1 / 20.0)
    z = mean / np.sqrt(square) * np.sqrt((1 + decay) / (1 - decay))
    found = Momentum(20.0).open(1).advance(moves)[:, 0]
    assert found == pytest.approx(np.tanh(z / 2), abs=1e-12)


def test_momentum_without_trend_is_a_standard_normal_in_disguise() -> None:
    noise = 0.01 * random_stream(6, "test.momentum").standard_normal((300, 2000))
    found = Momentum(20.0).open(2000).advance(Moves(noise, noise, noise))[-1]
    z = 2.0 * np.arctanh(found)
    assert abs(z.mean()) < 4.0 / np.sqrt(2000)
    assert z.std() == pytest.approx(1.0, abs=0.08)
