"""Projections: scikit-learn's axes, rows by themselves, pictures that are in-sample and say so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.regimes.projection import PrincipalAxes, fit_layers, neighbour_map, orbit


def latents(rows: int = 200, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 6)) @ rng.normal(size=(6, 6)) + 3.0


def test_axes_are_those_of_scikit_learn_up_to_sign() -> None:
    values = latents()
    found = PrincipalAxes.fit(values, count=3)
    oracle = PCA(3, svd_solver="full").fit(values)
    np.testing.assert_allclose(found.variance, oracle.explained_variance_, rtol=1e-10)
    np.testing.assert_allclose(found.explained, oracle.explained_variance_ratio_, rtol=1e-10)
    signs = np.sign((found.axes * oracle.components_.T).sum(axis=0))
    np.testing.assert_allclose(found.axes, oracle.components_.T * signs, atol=1e-10)
    np.testing.assert_allclose(
        found.transform(values), oracle.transform(values) * signs, atol=1e-10
    )
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(3), atol=1e-12)
    assert (found.axes[np.abs(found.axes).argmax(axis=0), range(3)] > 0).all()


def test_a_rows_bits_depend_on_it_alone() -> None:
    axes = PrincipalAxes.fit(latents(), count=3)
    values = latents(seed=1)
    whole = axes.transform(values)
    altered = values.copy()
    altered[120:] = 1e6
    assert np.array_equal(axes.transform(altered)[:120], whole[:120])
    for row in (0, 57, 199):
        assert np.array_equal(axes.transform(values[row : row + 1])[0], whole[row])


def test_states_of_every_layer_are_laid_flat() -> None:
    rng = np.random.default_rng(3)
    layers = {f"layer.{k}": rng.normal(size=(80, 4, 3)) for k in range(2)}
    found = fit_layers(layers, count=2)
    assert list(found) == ["layer.0", "layer.1"]
    plain = PrincipalAxes.fit(layers["layer.1"].reshape(80, 12), count=2)
    assert np.array_equal(found["layer.1"].axes, plain.axes)
    assert found["layer.0"].transform(layers["layer.0"]).shape == (80, 2)
    with pytest.raises(DataError, match=r"layer flat: .*do not vary"):
        fit_layers({**layers, "flat": np.ones((80, 5))}, count=2)
    with pytest.raises(InputError, match="no layers"):
        fit_layers({})


def test_arrays_give_the_same_axes_back_and_damage_is_refused() -> None:
    axes = PrincipalAxes.fit(latents())
    arrays = axes.to_arrays()
    again = PrincipalAxes.from_arrays(arrays)
    assert np.array_equal(again.transform(latents()), axes.transform(latents()))
    assert np.array_equal(again.explained, axes.explained)
    for damaged in (
        {name: value for name, value in arrays.items() if name != "axes"},
        {**arrays, "axes": arrays["axes"][:2]},
        {**arrays, "center": arrays["center"] * np.nan},
        {**arrays, "total_variance": np.ones(2)},
    ):
        with pytest.raises(CheckpointError):
            PrincipalAxes.from_arrays(damaged)


def test_an_orbit_holds_nothing_of_later_bars() -> None:
    values = latents()
    index = pd.date_range("2020-01-01", periods=200, freq="D", tz="UTC")
    axes = PrincipalAxes.fit(values[:100])
    labels = np.arange(200) % 2
    found = orbit(axes, values, index, trained_until=index[99], labels=labels)
    assert found.trained.sum() == 100
    assert found.speed[0] == 0.0
    assert found.speed[7] == pytest.approx(np.linalg.norm(found.points[7] - found.points[6]))
    assert found.labels is labels
    altered = values.copy()
    altered[150:] += 9.0
    other = orbit(axes, altered, index, trained_until=index[99])
    assert np.array_equal(other.points[:150], found.points[:150])
    assert np.array_equal(other.speed[:150], found.speed[:150])
    with pytest.raises(InputError, match="fit together"):
        orbit(axes, values, index[1:], trained_until=index[99])
    with pytest.raises(InputError, match="fit together"):
        orbit(axes, values, index, trained_until=index[99], labels=labels[1:])


def test_a_map_keeps_neighbours_and_thins_evenly() -> None:
    rng = np.random.default_rng(5)
    regime = np.arange(180) % 3
    values = rng.normal(size=(180, 5)) + 12.0 * np.eye(5)[regime]
    found = neighbour_map(values, seed=1, perplexity=15.0)
    near = NearestNeighbors(n_neighbors=6).fit(found.points).kneighbors(found.points)[1][:, 1:]
    assert (regime[near] == regime[:, None]).mean() > 0.97
    assert found.rows.tolist() == list(range(180))
    again = neighbour_map(values, seed=1, perplexity=15.0)
    assert np.array_equal(again.points, found.points)
    thin = neighbour_map(values, seed=1, perplexity=15.0, most_rows=60)
    assert len(thin.rows) == 60
    assert (thin.rows[0], thin.rows[-1]) == (0, 179)
    line = neighbour_map(values[:, :1], seed=1, perplexity=15.0)
    assert line.points.shape == (180, 2)


def test_bad_input_is_refused() -> None:
    values = latents()
    with pytest.raises(DataError, match="too few latents"):
        PrincipalAxes.fit(values[:3], count=3)
    with pytest.raises(DataError, match="too few latents"):
        PrincipalAxes.fit(values[:, :2], count=3)
    with pytest.raises(DataError, match="do not vary"):
        PrincipalAxes.fit(np.ones((50, 4)))
    with pytest.raises(DataError, match=r"do not vary.*got 1"):
        PrincipalAxes.fit(np.outer(np.arange(50.0), np.ones(4)), count=2)
    with pytest.raises(DataError, match=r"finite.*first 7"):
        PrincipalAxes.fit(np.where(np.arange(200)[:, None] == 7, np.nan, values))
    with pytest.raises(DataError, match="row per bar"):
        PrincipalAxes.fit(values[:, 0])
    with pytest.raises(DataError, match="do not fit"):
        PrincipalAxes.fit(values).transform(values[:, :4])
    with pytest.raises(DataError, match="finite"):
        PrincipalAxes.fit(values).transform(values * np.inf)
    with pytest.raises(DataError, match="perplexity"):
        neighbour_map(values[:80], seed=1)
    with pytest.raises(DataError, match="do not vary"):
        neighbour_map(np.ones((200, 3)), seed=1)
