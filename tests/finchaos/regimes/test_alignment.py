"""Labels between refits: every permutation tried, and what cannot be told apart refused."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.alignment import align_centers, align_clusters, align_labels
from finchaos.regimes.clustering import ClusterRule, RegimeClusters

CENTERS = st.integers(1, 5).flatmap(
    lambda c: st.tuples(
        *[
            st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=c, max_size=c).map(
                lambda rows: np.array(rows, dtype=float)
            )
            for _ in range(2)
        ]
    )
)


@given(CENTERS)
def test_best_and_runner_up_are_those_of_all_permutations(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    old, new = pair
    cost = np.linalg.norm(old[:, None] - new[None], axis=2)
    sums = sorted(
        sum(cost[k, order[k]] for k in range(len(old))) for order in permutations(range(len(old)))
    )
    found = align_centers(old, new, when_ambiguous="flag")
    assert found.cost == pytest.approx(sums[0])
    assert cost[np.arange(len(old)), found.order].sum() == pytest.approx(sums[0])
    if len(sums) == 1:
        assert (found.runner_up, found.margin) == (np.inf, 1.0)
    else:
        assert found.runner_up == pytest.approx(sums[1])
        assert found.margin == pytest.approx(1 - sums[0] / sums[1] if sums[1] else 0.0, abs=1e-9)
    assert found.ambiguous == (found.margin < 0.2)
    if found.ambiguous:
        with pytest.raises(DataError, match="cannot be told apart"):
            align_centers(old, new)


@given(st.permutations(range(4)), st.integers(0, 5))
def test_labels_keep_their_meaning_under_any_permutation(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    old = 10.0 * np.eye(4)
    new = (old + rng.normal(scale=0.3, size=old.shape))[order]
    found = align_centers(old, new)
    assert found.order.tolist() == np.argsort(order).tolist()
    assert found.swapped == (list(order) != [0, 1, 2, 3])
    labels = rng.integers(0, 4, 50)
    renumbered = np.argsort(order)[labels]
    assert found.relabelled(renumbered).tolist() == labels.tolist()
    whole = align_labels(labels, renumbered, count=4) if len(set(labels)) == 4 else found
    assert whole.order.tolist() == found.order.tolist()


def test_two_regimes_that_met_halfway_are_ambiguous() -> None:
    old = np.array([[0.0, 0.0], [4.0, 0.0]])
    new = np.array([[2.0, 1.0], [2.0, -1.0]])
    found = align_centers(old, new, when_ambiguous="flag")
    assert found.ambiguous
    assert found.margin == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(DataError, match=r"at least 20%.*got 0\.0%"):
        align_centers(old, new)
    assert align_centers(old, np.array([[1.0, 0.0], [3.0, 0.0]])).margin == 4 / 6


def fit(seed: int, returns_up: bool) -> tuple[RegimeClusters, np.ndarray]:
    """A fit whose order by volatility depends on ``returns_up``; latents on skewed axes."""
    rng = np.random.default_rng(seed)
    regime = rng.integers(0, 2, 500)
    latents = rng.normal(size=(500, 3)) @ [[1, 2, 0], [0, 1, 1], [0, 0, 3.0]]
    latents = latents + 9.0 * regime[:, None] * np.array([1.0, -1.0, 0.5])
    loud = regime if returns_up else 1 - regime
    returns = 0.01 * (1 + 2 * loud) * rng.normal(size=500)
    return RegimeClusters.fit(latents, returns, ClusterRule(), seed=seed), latents


def test_a_refit_whose_volatilities_swapped_keeps_the_old_labels() -> None:
    old, latents = fit(1, True)
    new, _ = fit(2, False)
    found = align_clusters(old, new)
    assert found.swapped
    before = old.probabilities(latents).argmax(axis=1)
    after = new.probabilities(latents).argmax(axis=1)
    assert (before == after).mean() < 0.05
    assert (found.reordered(new).probabilities(latents).argmax(axis=1) == before).mean() > 0.98
    assert (found.relabelled(after) == before).mean() > 0.98
    assert found.reordered(new).volatility[0] > found.reordered(new).volatility[1]
    assert align_labels(before, after, count=2).order.tolist() == found.order.tolist()


def test_a_changed_number_of_regimes_is_refused() -> None:
    with pytest.raises(DataError, match=r"number of regimes has changed.*2 regimes.*got 3"):
        align_centers(np.zeros((2, 1)), np.zeros((3, 1)))
    with pytest.raises(DataError, match=r"number of regimes has changed.*3 regimes.*got 2"):
        align_labels(np.array([0, 1, 2]), np.array([0, 1, 1]), count=3)


def test_bad_input_is_refused() -> None:
    two = np.array([[0.0], [1.0]])
    with pytest.raises(DataError, match="finite"):
        align_centers(two, two * np.nan)
    with pytest.raises(InputError, match="one space"):
        align_centers(two, np.zeros((2, 2)))
    with pytest.raises(InputError, match="one space"):
        align_centers(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(InputError, match="impossible alignment"):
        align_centers(two, two, least_margin=1.0)
    with pytest.raises(InputError, match="impossible alignment"):
        align_centers(two, two, when_ambiguous="guess")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="same rows"):
        align_labels(np.array([0, 1]), np.array([0]), count=2)
    with pytest.raises(InputError, match="integers"):
        align_labels(np.array([0.0, 1.0]), np.array([0, 1]), count=2)
    with pytest.raises(DataError, match="out of range"):
        align_labels(np.array([0, 2]), np.array([0, 1]), count=2)
    with pytest.raises(DataError, match="none of the rows"):
        align_labels(np.array([0, 0]), np.array([1, 1]), count=2)
    old, _ = fit(1, True)
    wide = RegimeClusters.from_arrays(
        {
            **old.to_arrays(),
            "center": np.zeros(4),
            "whitening": np.zeros((4, old.whitening.shape[1])),
            "residual": np.zeros((4, 0)),
        }
    )
    with pytest.raises(DataError, match="different width"):
        align_clusters(old, wide)
