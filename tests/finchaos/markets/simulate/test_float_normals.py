"""Normals by inversion against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.float_normals import log32, normals32


def bits_of(n: int) -> np.ndarray:
    rng = random_stream(2, "test.normals")
    return rng.integers(0, 2**32 - 1, n, dtype=np.uint32, endpoint=True)


def quantiles(bits: np.ndarray) -> np.ndarray:
    """The normal quantiles that bits stand for, in double precision."""
    p = ((bits & 0x7FFFFFFF).astype(np.float64) + 0.5) / 2.0**32
    return np.where(bits >> 31, ndtri(p), -ndtri(p))


def test_every_number_is_the_quantile_of_its_bits() -> None:
    edges = np.array([0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1], dtype=np.uint32)
    small = np.geomspace(1, 2**31 - 1, 2000).astype(np.uint32)
    bits = np.concatenate([bits_of(500_000), edges, small, small | np.uint32(2**31)])
    found = normals32(bits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, quantiles(bits), rtol=1e-6, atol=2e-6)
    assert np.abs(found).max() == pytest.approx(6.338, abs=1e-3)


def test_they_are_standard_normal() -> None:
    found = normals32(bits_of(1_000_000)).astype(np.float64)
    assert stats.kstest(found, "norm").pvalue > 1e-3
    assert abs(found.mean()) < 4e-3
    assert found.var() == pytest.approx(1.0, abs=6e-3)
    assert stats.kurtosis(found) == pytest.approx(0.0, abs=0.02)


def test_logarithms_are_numpys() -> None:
    for x in np.geomspace(1e-37, 1e37, 999).astype(np.float32):
        assert log32(x) == pytest.approx(float(np.log(np.float64(x))), rel=3e-7, abs=2e-7)
