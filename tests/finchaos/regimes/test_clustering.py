"""Regimes found among latents: recovered, ordered by volatility, refused when ambiguous."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.regimes.clustering import ClusterRule, RegimeClusters


def sample(
    seed: int = 0, rows: int = 600, turn: bool = False, volatility: tuple[float, float] = (1, 3)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents of two regimes, returns, and which regime each row is of; ``turn`` swaps them."""
    rng = np.random.default_rng(seed)
    regime = (rng.random(rows) < 0.3).astype(int)
    place = 1 - regime if turn else regime
    latents = rng.normal(size=(rows, 2)) @ [[1.0, 0.4], [0.0, 0.8]] + 6.0 * place[:, None]
    return latents, 0.01 * np.array(volatility)[regime] * rng.normal(size=rows), regime


@pytest.mark.parametrize("method", ["gmm", "kmeans"])
@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_regime_zero_is_the_calm_one_wherever_it_lies_and_however_it_starts(
    method: Literal["gmm", "kmeans"], turn: bool, seed: int
) -> None:
    latents, returns, regime = sample(turn=turn)
    found = RegimeClusters.fit(latents, returns, ClusterRule(method), seed=seed)
    labels = found.probabilities(latents).argmax(axis=1)
    assert (labels == regime).mean() > 0.98
    expected = [np.sqrt(np.mean(returns[labels == k] ** 2)) for k in (0, 1)]
    np.testing.assert_allclose(found.volatility, expected, rtol=1e-12)


def test_permuting_the_rows_changes_no_label() -> None:
    latents, returns, _ = sample()
    order = np.random.default_rng(5).permutation(len(latents))
    plain = RegimeClusters.fit(latents, returns, ClusterRule(), seed=1)
    shuffled = RegimeClusters.fit(latents[order], returns[order], ClusterRule(), seed=1)
    np.testing.assert_array_equal(
        plain.probabilities(latents).argmax(1), shuffled.probabilities(latents).argmax(1)
    )


def test_three_regimes_rise_in_volatility() -> None:
    rng = np.random.default_rng(3)
    regime = rng.integers(0, 3, 900)
    latents = rng.normal(size=(900, 2)) + 8.0 * np.array([[1, 0], [0, 1], [0, 0]])[regime]
    returns = 0.01 * np.array([2.0, 4.0, 1.0])[regime] * rng.normal(size=900)
    found = RegimeClusters.fit(latents, returns, ClusterRule(count=3), seed=1)
    assert (np.diff(found.volatility) > 0).all()
    assert (found.probabilities(latents).argmax(1) == np.array([1, 2, 0])[regime]).mean() > 0.98


def test_probabilities_equal_the_mixture_written_out() -> None:
    latents, returns, _ = sample()
    found = RegimeClusters.fit(latents, returns, ClusterRule(), seed=1)
    whitened = (latents - found.center) @ found.whitening
    densities = []
    for k in range(2):
        inverse_root = np.linalg.inv(found.precision_root[k])
        law = multivariate_normal(found.mean[k], inverse_root.T @ inverse_root)
        weight = np.exp(found.log_weight[k]) / abs(np.linalg.det(found.precision_root[k]))
        densities.append(weight * law.pdf(whitened))
    expected = np.stack(densities, axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities(latents), expected, atol=1e-10)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(whitened.shape[1]), atol=1e-10)


def test_temperature_softens() -> None:
    latents, returns, _ = sample()
    sharp, soft = (
        RegimeClusters.fit(latents, returns, ClusterRule(temperature=t), seed=1) for t in (1.0, 8.0)
    )
    between = latents.mean(axis=0, keepdims=True) + np.ones((1, 2))
    assert abs(soft.probabilities(between)[0, 0] - 0.5) < abs(
        sharp.probabilities(between)[0, 0] - 0.5
    )


def test_rows_keep_their_bits_whatever_the_others() -> None:
    latents, returns, _ = sample()
    found = RegimeClusters.fit(latents, returns, ClusterRule(), seed=1)
    whole, distance = found.probabilities(latents), found.distance(latents)
    for row in (0, 17, 599):
        assert np.array_equal(found.probabilities(latents[row : row + 1])[0], whole[row])
        assert found.distance(latents[row : row + 1])[0] == distance[row]


def test_small_directions_form_no_regimes_but_count_as_distance() -> None:
    latents, returns, _ = sample()
    flat = np.column_stack([latents, 0.01 * np.random.default_rng(9).normal(size=len(latents))])
    found = RegimeClusters.fit(flat, returns, ClusterRule(), seed=1)
    moved = flat[:1] + np.array([[0.0, 0.0, 0.2]])
    np.testing.assert_allclose(found.probabilities(moved), found.probabilities(flat[:1]), atol=0.05)
    assert found.distance(moved)[0] > found.distance(flat[:1])[0] + 10.0


def test_ambiguous_and_hollow_regimes_are_refused() -> None:
    latents, returns, _ = sample(volatility=(1.0, 1.02))
    with pytest.raises(DataError, match="ordered by volatility"):
        RegimeClusters.fit(latents, returns, ClusterRule(), seed=1)
    latents, returns, _ = sample()
    rule = ClusterRule(least_share=0.49)
    with pytest.raises(DataError, match="too few training rows"):
        RegimeClusters.fit(latents, returns, rule, seed=1)
    with pytest.raises(DataError, match="do not vary"):
        RegimeClusters.fit(np.ones((50, 2)), returns[:50], ClusterRule(), seed=1)


def test_arrays_give_the_same_regimes_back_and_damage_is_refused() -> None:
    latents, returns, _ = sample()
    found = RegimeClusters.fit(latents, returns, ClusterRule(), seed=1)
    arrays = found.to_arrays()
    again = RegimeClusters.from_arrays(arrays)
    assert np.array_equal(again.probabilities(latents), found.probabilities(latents))
    for damaged in (
        {name: value for name, value in arrays.items() if name != "mean"},
        {**arrays, "mean": arrays["mean"][:1]},
        {**arrays, "center": arrays["center"] * np.nan},
    ):
        with pytest.raises(CheckpointError):
            RegimeClusters.from_arrays(damaged)


def test_the_process_wide_generator_is_left_alone() -> None:
    latents, returns, _ = sample()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    RegimeClusters.fit(latents, returns, ClusterRule("kmeans"), seed=1)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_impossible_rules_are_refused() -> None:
    for wrong in ({"count": 1}, {"temperature": 0.0}, {"volatility_ratio": 1.0}):
        with pytest.raises(InputError, match="impossible rule"):
            ClusterRule(**wrong)  # type: ignore[arg-type]
