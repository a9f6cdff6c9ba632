"""Dependence of a series, against the autoregression whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.dependence import (
    autocorrelation_time,
    autocorrelations,
    effective_sample_size,
    share_kept_by_blocks,
)


def autoregressive(n: int, coefficient: float) -> np.ndarray:
    noise = random_stream(1, f"test.dependence.{coefficient}").normal(size=n + 500)
    return lfilter([1.0], [1.0, -coefficient], noise)[500:]


@pytest.mark.parametrize("coefficient", [0.3, 0.7, 0.9])
def test_time_of_an_autoregression(coefficient: float) -> None:
    n = 200_000
    series = autoregressive(n, coefficient)
    exact = (1.0 + coefficient) / (1.0 - coefficient)
    assert autocorrelation_time(series) == pytest.approx(exact, rel=0.1)
    assert effective_sample_size(series) == pytest.approx(n / exact, rel=0.1)
    lags = autocorrelations(series)
    np.testing.assert_allclose(lags[:4], coefficient ** np.arange(4), atol=0.02)


def test_share_kept_by_blocks_of_an_autoregression() -> None:
    phi, block = 0.9, 30
    lags = np.arange(1, block)
    weighted = 1.0 + 2.0 * ((1.0 - lags / block) * phi**lags).sum()
    exact = weighted * (1.0 - phi) / (1.0 + phi)
    assert share_kept_by_blocks(autoregressive(200_000, phi), block) == pytest.approx(
        exact, rel=0.1
    )


def test_alternating_series_is_worth_no_more_than_its_length() -> None:
    alternating = np.tile([1.0, -1.0], 50)
    assert effective_sample_size(alternating) == 100.0
    assert 0.0 < share_kept_by_blocks(alternating, 10) <= 1.0


def test_constant_series() -> None:
    assert effective_sample_size(np.ones(10)) == 10.0
    assert share_kept_by_blocks(np.ones(10), 3) == 1.0


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.inf]), np.ones((2, 2))])
def test_refuses_what_is_no_series(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="finite series"):
        autocorrelations(bad)
