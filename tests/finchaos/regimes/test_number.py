"""The number of regimes: scikit-learn's criterion, known mixtures, noise that supports none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.clustering import COVARIANCE_FLOOR, ClusterRule, principal_whitening
from finchaos.regimes.number import choose_count

RULE = ClusterRule(restarts=2)


def sample(groups: int, rows: int = 450, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = np.array([[0.0, 0.0], [9.0, 0.0], [4.0, 8.0], [20.0, 20.0]])
    return corners[rng.integers(0, groups, rows)] + rng.normal(size=(rows, 2))


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize(
    ("method", "criterion"), [("gmm", "bic"), ("gmm", "stability"), ("kmeans", "stability")]
)
def test_the_number_of_a_known_mixture_is_found(groups: int, method, criterion) -> None:
    found = choose_count(
        sample(groups),
        [2, 3, 4],
        replace(RULE, method=method),
        seed=3,
        criterion=criterion,
        refits=8,
    )
    assert found.count == groups
    assert [row.count for row in found.table] == [2, 3, 4]
    chosen = next(row for row in found.table if row.count == groups)
    assert chosen.stability > 0.95
    assert chosen.hollow == 0
    assert (chosen.bic is None) == (method == "kmeans")


def test_the_criterion_is_that_of_scikit_learn() -> None:
    latents = sample(3)
    found = choose_count(latents, [2, 3], RULE, seed=3, criterion="bic", refits=2)
    center, whitening, _ = principal_whitening(latents)
    whitened = (latents - center) @ whitening
    for row in found.table:
        # The optimum of well separated groups does not depend on the start.
        model = GaussianMixture(
            row.count, reg_covar=COVARIANCE_FLOOR, n_init=5, max_iter=500, random_state=0
        ).fit(whitened)
        if row.count == 3:
            assert row.bic == pytest.approx(model.bic(whitened), rel=1e-4)
            assert row.log_likelihood == pytest.approx(
                model.score(whitened) * len(whitened), rel=1e-4
            )
        assert row.parameters == model._n_parameters()


def test_resampling_in_blocks_keeps_neighbours_and_draws_from_its_own_stream() -> None:
    latents = sample(2)
    one, same, blocks = (
        choose_count(
            latents, [2, 3], RULE, seed=5, criterion="stability", refits=3, block_bars=block
        )
        for block in (1, 1, 50)
    )
    assert one == same
    assert blocks.table[0].stability != one.table[1].stability
    # Another number beside it changes no row of the table.
    more = choose_count(latents, [2, 3, 4], RULE, seed=5, criterion="stability", refits=3)
    assert more.table[:2] == one.table


def test_noise_supports_no_number() -> None:
    noise = np.random.default_rng(1).normal(size=(400, 3))
    with pytest.raises(DataError, match=r"no number of regimes is supported.*2: 0\.") as caught:
        choose_count(noise, [2, 3], RULE, seed=1, criterion="bic", refits=6)
    assert "3: 0." in str(caught.value)


def test_a_regime_of_a_few_outliers_is_no_regime() -> None:
    latents = sample(2)
    latents[:3] = 200.0
    with pytest.raises(DataError, match="no number of regimes is supported"):
        choose_count(
            latents, [2], replace(RULE, least_share=0.02), seed=1, criterion="stability", refits=4
        )


def test_the_index_agrees_with_a_refit_done_by_hand() -> None:
    assert adjusted_rand_score([0, 0, 1, 1], [1, 1, 0, 0]) == 1.0
    found = choose_count(sample(2), [2], RULE, seed=2, criterion="stability", refits=4)
    assert found.table[0].refits == 4
    assert 0.0 <= found.table[0].stability_sd < 0.05


def test_bad_input_is_refused() -> None:
    latents = sample(2)
    with pytest.raises(DataError, match="do not vary"):
        choose_count(np.ones((100, 2)), [2], RULE, seed=1, criterion="bic")
    with pytest.raises(DataError, match="finite"):
        choose_count(latents * np.nan, [2], RULE, seed=1, criterion="bic")
    with pytest.raises(DataError, match="too few training rows"):
        choose_count(latents[:15], [2], RULE, seed=1, criterion="bic")
    with pytest.raises(DataError, match="too few training rows"):
        choose_count(latents, [2], RULE, seed=1, criterion="bic", block_bars=500)
    with pytest.raises(InputError, match="impossible choice"):
        choose_count(latents, [1, 2], RULE, seed=1, criterion="bic")
    with pytest.raises(InputError, match="impossible choice"):
        choose_count(latents, [2], RULE, seed=1, criterion="aic")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="K-Means"):
        choose_count(latents, [2], ClusterRule("kmeans"), seed=1, criterion="bic")
    with pytest.raises(InputError, match="stability"):
        choose_count(latents, [2], RULE, seed=1, criterion="bic", refits=1)
