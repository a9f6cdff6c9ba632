"""Lags and dimensions of systems for which they are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_regression

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.embedding import (
    autocorrelation_lag,
    delay_vectors,
    embedding_dimension,
    false_neighbours,
    mutual_information,
    mutual_information_lag,
)
from tests.finchaos.features.fractional import henon, logistic, lorenz


def autoregression(memory: float, count: int) -> np.ndarray:
    noise = random_stream(1, f"test.embedding/{memory}").standard_normal(count)
    x = np.zeros(count)
    for i in range(1, count):
        x[i] = memory * x[i - 1] + np.sqrt(1.0 - memory**2) * noise[i]
    return x


def test_delay_vectors_hold_the_newest_first() -> None:
    found = delay_vectors(np.arange(10.0) ** 2, 3, 2)
    assert found.shape == (6, 3)
    assert found[0].tolist() == [16.0, 4.0, 0.0]
    assert (found[:, 0] == np.arange(4.0, 10.0) ** 2).all()


def test_autocorrelation_falls_to_a_share_of_e() -> None:
    # exp(-lag / 12) is 1 / e at 12.
    found = autocorrelation_lag(autoregression(np.exp(-1.0 / 12.0), 100_000), 40)
    assert found == pytest.approx(12, abs=2)
    assert autocorrelation_lag(autoregression(0.99, 2000), 5) == 5
    assert autocorrelation_lag(autoregression(0.0, 2000), 5) == 1


def test_mutual_information_of_normals_in_closed_form() -> None:
    """-ln(1 - rho^2) / 2, of which bins lose a little; independent values have none."""
    series = autoregression(0.8, 200_000)
    closed = -0.5 * np.log(1.0 - 0.8**2)
    assert mutual_information(series, 1, 32) == pytest.approx(closed, rel=0.04)
    assert mutual_information(series, 1, 32) <= closed + 0.005
    assert mutual_information(autoregression(0.0, 20_000), 1) < 2e-3


def test_mutual_information_beside_another_estimator() -> None:
    series = lorenz(4000, 0.02)
    for lag in (3, 8):
        other = mutual_info_regression(series[:-lag, None], series[lag:], random_state=0)[0]
        assert mutual_information(series, lag, 24) == pytest.approx(other, rel=0.25)


def test_first_minimum_of_mutual_information() -> None:
    """A quarter of a turn of a noisy circle; about 0.17 units of time on Lorenz's attractor."""
    turn = np.sin(2.0 * np.pi * np.arange(20_000) / 40.0)
    turn += 0.3 * random_stream(2, "test.turn").standard_normal(20_000)
    assert mutual_information_lag(turn, 30, 8) == pytest.approx(10, abs=2)
    assert mutual_information_lag(lorenz(20_000, 0.01), 40, 32) == pytest.approx(17, abs=2)
    assert mutual_information_lag(autoregression(0.999, 4000), 3) == 3


def test_dimensions_of_maps() -> None:
    assert embedding_dimension(logistic(3000), 1, 5) == 1
    assert embedding_dimension(henon(3000), 1, 5) == 2


def test_dimension_of_a_flow() -> None:
    shares = false_neighbours(lorenz(8000, 0.02), 8, 4)
    assert shares[0] > 0.5
    assert shares[1] > 0.01
    assert shares[2] <= 0.01
    assert embedding_dimension(lorenz(8000, 0.02), 8, 5) == 3


def test_noise_has_no_dimension() -> None:
    noise = random_stream(3, "test.noise").standard_normal(2000)
    assert (false_neighbours(noise, 1, 4) > 0.1).all()
    assert embedding_dimension(noise, 1, 4) == 4


def test_false_neighbours_by_hand() -> None:
    """Kennel's two criteria, pair by pair."""
    series = henon(150)
    shares = false_neighbours(series, 1, 2)
    for dimension in (1, 2):
        longer = delay_vectors(series, dimension + 1, 1)
        apart = np.linalg.norm(longer[:, None, 1:] - longer[None, :, 1:], axis=2)
        np.fill_diagonal(apart, np.inf)
        other = apart.argmin(axis=1)
        close = apart.min(axis=1)
        gap = np.abs(longer[:, 0] - longer[other, 0])
        false = (gap / close > 10.0) | (np.sqrt(gap**2 + close**2) / series.std() > 2.0)
        assert shares[dimension - 1] == false.mean()


def test_unusable_series_are_refused() -> None:
    good = np.arange(200.0)
    for call in (
        lambda x: delay_vectors(x, 3, 2),
        lambda x: autocorrelation_lag(x, 10),
        lambda x: mutual_information(x, 2),
        lambda x: mutual_information_lag(x, 5),
        lambda x: false_neighbours(x, 1, 3),
        lambda x: embedding_dimension(x, 1, 3),
    ):
        with pytest.raises(DataError, match="constant"):
            call(np.ones(200))
        with pytest.raises(DataError, match="finite"):
            call(np.r_[good, np.nan])
        with pytest.raises(DataError, match="too short"):
            call(good[:4])
        with pytest.raises(DataError, match="one axis"):
            call(good.reshape(2, 100))
    with pytest.raises(DataError, match="tolerance"):
        embedding_dimension(good, 1, 3, tolerance=1.0)
    with pytest.raises(DataError, match="lag"):
        false_neighbours(good, 0, 3)
    with pytest.raises(DataError, match="bins"):
        mutual_information(good, 1, 1)
