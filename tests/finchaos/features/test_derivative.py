"""Velocity and acceleration of the log price."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import DataError
from finchaos.features.derivative import Acceleration, Velocity
from finchaos.features.formula import Moves
from tests.finchaos.features.examples import simulated


def closes(price: np.ndarray) -> Moves:
    returns = np.diff(np.log(price), prepend=np.log(price[0]))[:, None]
    return Moves(returns, 0.0 * returns, 0.0 * returns)


def test_differences_of_the_log_price() -> None:
    price = simulated(1, 300)["close"][0]
    moves = closes(price)
    velocity = Velocity().open(1).advance(moves)[:, 0]
    acceleration = Acceleration().open(1).advance(moves)[:, 0]
    assert velocity[1:] == pytest.approx(np.diff(np.log(price)), rel=1e-12)
    assert acceleration[2:] == pytest.approx(np.diff(np.log(price), 2), rel=1e-12)
    assert acceleration[0] == 0.0


def test_smoothed_ones_are_exponential_means_by_pandas() -> None:
    moves = closes(simulated(1, 300)["close"][0])
    for formula, plain in ((Velocity, Velocity()), (Acceleration, Acceleration())):
        values = plain.open(1).advance(moves)[:, 0]
        mean = pd.Series(np.concatenate([[0.0], values])).ewm(halflife=6.0).mean().to_numpy()[1:]
        assert formula(6.0).open(1).advance(moves)[:, 0] == pytest.approx(mean, rel=1e-12)


def test_a_price_under_constant_acceleration() -> None:
    moves = closes(np.exp(0.0005 * np.arange(100.0) ** 2))
    assert Acceleration().open(1).advance(moves)[2:, 0] == pytest.approx(0.001)
    assert Velocity().open(1).advance(moves)[-1, 0] == pytest.approx(0.0005 * (99**2 - 98**2))


def test_lookbacks_and_bad_half_lives() -> None:
    assert (Velocity().lookback, Acceleration().lookback) == (1, 2)
    assert (Velocity(10.0).lookback, Acceleration(10.0).lookback) == (41, 42)
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(DataError, match="positive"):
            Velocity(bad)
