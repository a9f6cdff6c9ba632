"""Two-sample distances: published values, scipy as oracle, invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.stats import ks_2samp, norm

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.two_sample import (
    DISTANCES,
    bin_counts,
    binned_shares,
    distances,
    entropy,
    jensen_shannon,
    kl_divergence,
    ks_statistic,
    log_scale_shift,
    mean_shift,
    population_stability_index,
    quantile_edges,
    smoothed_shares,
)

P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])

# Whole numbers, so that ties occur; monotone maps of them below stay exact.
SAMPLES = st.lists(st.integers(-50, 50), min_size=12, max_size=80).map(
    lambda drawn: np.array(drawn, dtype=np.float64)
)


def test_reference_values_of_three_bins() -> None:
    assert kl_divergence(P, Q) == pytest.approx(0.0252672, abs=5e-8)
    assert kl_divergence(Q, P) == pytest.approx(0.0258154, abs=5e-8)
    assert population_stability_index(P, Q) == pytest.approx(0.0510826, abs=5e-8)


def test_divergences_agree_with_scipy() -> None:
    rng = random_stream(1, "test.divergences")
    p, q = rng.dirichlet(np.ones(7), size=20), rng.dirichlet(np.ones(7), size=20)
    np.testing.assert_allclose(kl_divergence(p, q), rel_entr(p, q).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(jensen_shannon(p, q), jensenshannon(p, q, axis=1) ** 2, rtol=1e-9)
    middle = 0.5 * (p + q)
    np.testing.assert_allclose(
        jensen_shannon(p, q), entropy(middle) - 0.5 * (entropy(p) + entropy(q)), atol=1e-14
    )


def test_empty_bins_of_shares() -> None:
    only_first, half = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    assert kl_divergence(only_first, half) == pytest.approx(np.log(2.0))
    assert kl_divergence(half, only_first) == np.inf
    assert population_stability_index(only_first, np.array([1.0, 0.0])) == 0.0
    assert jensen_shannon(only_first, np.array([0.0, 1.0])) == pytest.approx(np.log(2.0))


@pytest.mark.parametrize(("mean", "sd", "exact"), [(1.0, 1.0, 0.5), (0.0, 2.0, 0.3181472)])
def test_fine_bins_reach_the_divergence_of_normals(mean: float, sd: float, exact: float) -> None:
    found = []
    for bins in (10, 100, 10_000):
        edges = norm.ppf(np.arange(1, bins) / bins)
        q = np.diff(norm.cdf(edges, mean, sd), prepend=0.0, append=1.0)
        found.append(float(kl_divergence(np.full(bins, 1.0 / bins), q)))
    # Merging bins can only lose divergence.
    assert found[0] < found[1] < found[2] < exact
    assert found[2] == pytest.approx(exact, abs=1e-3)


def test_stability_index_of_independent_samples_follows_its_theory() -> None:
    rng = random_stream(2, "test.psi.null")
    found = [
        distances(rng.normal(size=1000), rng.normal(size=1000), bins=10)["psi"] for _ in range(1500)
    ]
    # (B - 1)(1/n + 1/m) = 0.018, and chi-square with 9 degrees of freedom around it.
    assert np.mean(found) == pytest.approx(0.018, abs=0.0008)
    assert np.quantile(found, 0.95) == pytest.approx(0.033, abs=0.002)


@given(SAMPLES, SAMPLES)
def test_ks_agrees_with_scipy(first: np.ndarray, second: np.ndarray) -> None:
    assert ks_statistic(first, second) == pytest.approx(
        ks_2samp(first, second, method="asymp").statistic, abs=1e-12
    )


@given(SAMPLES, SAMPLES, st.integers(2, 12))
@settings(deadline=None)
def test_invariants(first: np.ndarray, second: np.ndarray, bins: int) -> None:
    found = distances(first, second, bins)
    assert set(found) == set(DISTANCES)
    assert min(found.values()) >= 0.0
    assert found["jensen_shannon"] <= np.log(2.0)
    assert found["ks"] <= 1.0
    p, q = binned_shares(first, second, bins)
    assert population_stability_index(q, p) == pytest.approx(found["psi"], abs=1e-12)
    assert jensen_shannon(q, p) == pytest.approx(found["jensen_shannon"], abs=1e-12)
    assert found["psi"] == pytest.approx(
        found["kl_reference_to_current"] + found["kl_current_to_reference"], abs=1e-12
    )
    same = distances(first, first, bins)
    assert max(same.values()) == pytest.approx(0.0, abs=1e-12)


@given(SAMPLES, SAMPLES)
@settings(deadline=None)
def test_monotone_transforms_change_nothing(first: np.ndarray, second: np.ndarray) -> None:
    found = distances(first, second)
    for transform in (lambda x: 3.0 * x - 7.0, lambda x: x**3, lambda x: np.exp(x / 10.0)):
        assert distances(transform(first), transform(second)) == pytest.approx(found, abs=1e-12)


@given(SAMPLES, st.integers(2, 12))
def test_bins_cover_every_value_once(sample: np.ndarray, bins: int) -> None:
    edges = quantile_edges(sample, bins)
    assert (np.diff(edges) > 0).all()
    assert bin_counts(sample, edges).sum() == len(sample)


def test_bins_hold_equal_shares_without_ties() -> None:
    sample = random_stream(3, "test.bins").permutation(1000).astype(float)
    assert bin_counts(sample, quantile_edges(sample, 8)).tolist() == [125] * 8


def test_a_frequent_value_has_its_own_bin() -> None:
    reference = np.concatenate([np.zeros(500), np.linspace(0.1, 1.0, 500)])
    at, below, between = np.zeros(300), np.full(300, -1.0), np.full(300, 0.05)
    for foreign in (below, between):
        assert distances(reference, foreign)["psi"] > 2.0 * distances(reference, at)["psi"]
    constant = distances(np.zeros(200), np.ones(200))
    assert constant["psi"] > 5.0
    assert distances(np.zeros(200), -np.ones(200)) == pytest.approx(constant)


def test_smoothing_adds_half_a_count_to_every_bin() -> None:
    np.testing.assert_allclose(
        smoothed_shares(np.array([0, 3, 5])), np.array([0.5, 3.5, 5.5]) / 9.5
    )
    used = np.array([True, False, True])
    np.testing.assert_allclose(smoothed_shares(np.array([1, 0, 2]), used), [0.375, 0.0, 0.625])


def test_shifts_have_direction_and_size() -> None:
    reference = random_stream(4, "test.shift").normal(size=1000)
    spread = reference.std()
    assert mean_shift(reference, reference + 0.5) == pytest.approx(0.5 / spread)
    assert mean_shift(reference, reference - 0.5) == pytest.approx(-0.5 / spread)
    assert log_scale_shift(reference, 3.0 * reference) == pytest.approx(np.log(3.0))
    assert log_scale_shift(reference, reference / 3.0) == pytest.approx(-np.log(3.0))
    assert np.isnan(mean_shift(np.ones(5), reference))
    assert np.isnan(log_scale_shift(reference, np.ones(5)))


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.nan]), np.ones((3, 2))])
def test_refuses_what_is_no_sample(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="no sample"):
        distances(np.arange(20.0), bad)


def test_refuses_more_bins_than_values() -> None:
    with pytest.raises(InputError, match="4 values, 5 bins"):
        quantile_edges(np.arange(4.0), 5)
