"""Monitors of novelty against plain computations, their false alarms, and planted shifts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.covariance import ledoit_wolf

from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.trading.novelty import (
    KINDS,
    EuclideanNovelty,
    Kind,
    MahalanobisNovelty,
    NeighbourNovelty,
    NoveltyRule,
    fit_novelty,
    novelty_arrays,
    novelty_from_arrays,
    novelty_limit,
)

MIX = np.array([[1.0, 0.0, 0.0], [0.8, 0.4, 0.0], [0.0, 0.3, 2.0]])
FLOATS = st.floats(-1e3, 1e3)


def law(rows: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two clusters of unlike shape, and the cluster of each row."""
    rng = random_stream(17, name)
    labels = rng.integers(0, 2, rows)
    points = rng.standard_normal((rows, 3))
    points[labels == 1] = points[labels == 1] @ MIX + np.array([6.0, 0.0, -3.0])
    return points, labels


def fitted(kind: Kind, rows: int = 400, **rule: Any) -> Any:
    return fit_novelty(*law(rows, "training"), NoveltyRule(kind, quantile=0.95, **rule))[0]


def test_euclidean_distance_is_that_to_the_nearest_mean() -> None:
    latents, labels = law(300, "training")
    centers = np.array([latents[labels == c].mean(axis=0) for c in (0, 1)])
    fresh = law(50, "fresh")[0]
    found = EuclideanNovelty.fit(latents, labels).distance(fresh)
    np.testing.assert_allclose(found, cdist(fresh, centers).min(axis=1), rtol=1e-12)


def test_mahalanobis_distance_is_that_of_scipy_under_the_shrunk_covariance() -> None:
    latents, labels = law(60, "training")
    fresh = law(50, "fresh")[0]
    parts = [latents[labels == c] for c in (0, 1)]
    inverses = [np.linalg.inv(ledoit_wolf(part)[0]) for part in parts]
    expected = [
        min(mahalanobis(x, p.mean(axis=0), v) for p, v in zip(parts, inverses, strict=True))
        for x in fresh
    ]
    found = MahalanobisNovelty.fit(latents, labels).distance(fresh)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_cluster_with_fewer_rows_than_coordinates_can_be_measured() -> None:
    latents = random_stream(2, "few").standard_normal((5, 12))
    found = MahalanobisNovelty.fit(latents, np.zeros(5, dtype=int))
    assert np.isfinite(found.distance(latents)).all()


@given(
    arrays(np.float64, (30, 2), elements=FLOATS),
    arrays(np.float64, (7, 2), elements=FLOATS),
    st.integers(1, 30),
)
def test_neighbours_are_those_of_brute_force(
    known: np.ndarray, fresh: np.ndarray, count: int
) -> None:
    expected = np.sort(cdist(fresh, known), axis=1)[:, :count].mean(axis=1)
    found = NeighbourNovelty(known, count).distance(fresh)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_at_a_time_and_a_restored_monitor_give_the_same_bits(kind: Kind) -> None:
    monitor, fresh = fitted(kind), law(200, "fresh")[0]
    whole = monitor.distance(fresh)
    assert whole.shape == (200,)
    assert np.array_equal(whole, np.concatenate([monitor.distance(row[None]) for row in fresh]))
    again = novelty_from_arrays(novelty_arrays(monitor))
    assert type(again) is type(monitor)
    assert np.array_equal(whole, again.distance(fresh))
    assert monitor.distance(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_after_a_row_changes_its_distance(kind: Kind) -> None:
    monitor, fresh = fitted(kind), law(100, "fresh")[0]
    altered = fresh.copy()
    altered[60:] += 50.0
    assert np.array_equal(monitor.distance(altered)[:60], monitor.distance(fresh)[:60])


@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_on_the_law_of_training_are_as_many_as_stated(kind: Kind) -> None:
    rule = NoveltyRule(kind, quantile=0.98, calibration_share=0.4)
    monitor, limit = fit_novelty(*law(10_000, "long"), rule)
    rate = float((monitor.distance(law(20_000, "fresh")[0]) > limit).mean())
    # Binomial noise of 4000 calibration rows and 20000 fresh ones: 0.0025 in all.
    assert rate == pytest.approx(0.02, abs=4 * 0.0025)


def test_a_limit_from_the_rows_of_the_fit_would_be_too_low() -> None:
    """Why rows are held out: those of the fit are their own nearest neighbours."""
    latents, labels = law(2000, "training")
    rule = NoveltyRule("neighbours", neighbours=3, quantile=0.9, calibration_share=0.5)
    monitor, limit = fit_novelty(latents, labels, rule)
    seen = novelty_limit(monitor.distance(latents[:1000]), 0.9)
    fresh = monitor.distance(law(5000, "fresh")[0])
    assert (fresh > limit).mean() < 0.14 < 0.18 < (fresh > seen).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_shift_is_found(kind: Kind) -> None:
    monitor, limit = fit_novelty(*law(5000, "long"), NoveltyRule(kind, quantile=0.99))
    fresh = law(500, "fresh")[0]
    assert (monitor.distance(fresh) > limit).mean() < 0.03
    assert (monitor.distance(fresh + np.array([0.0, 12.0, 0.0])) > limit).all()


def test_only_a_covariance_sees_a_shift_across_a_narrow_cluster() -> None:
    rng = random_stream(6, "narrow")
    latents = rng.standard_normal((3000, 2)) * np.array([1.0, 0.05])
    labels = np.zeros(3000, dtype=int)
    shifted = np.column_stack([latents[:500, 0], np.full(500, 0.6)])
    found = {}
    for kind in ("euclidean", "mahalanobis"):
        monitor, limit = fit_novelty(latents, labels, NoveltyRule(kind, quantile=0.99))
        found[kind] = (monitor.distance(shifted) > limit).mean()
    assert found["mahalanobis"] == 1.0
    assert found["euclidean"] < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_calibration_part_moves_the_limit_only(kind: Kind) -> None:
    latents, labels = law(400, "training")
    moved = latents.copy()
    moved[320:] *= 3.0
    rule = NoveltyRule(kind, quantile=0.95)
    one, low = fit_novelty(latents, labels, rule)
    other, high = fit_novelty(moved, labels, rule)
    assert np.array_equal(one.distance(latents), other.distance(latents))
    assert low < high


@given(st.integers(1, 300), st.floats(0.01, 0.99))
@settings(max_examples=50)
def test_the_limit_is_the_order_statistic_of_split_conformal_prediction(
    count: int, quantile: float
) -> None:
    values = random_stream(count, "limit").random(count) + 0.5
    if (count + 1) * quantile > count + 1e-9:
        with pytest.raises(DataError, match="too few calibration rows"):
            novelty_limit(values, quantile)
        return
    limit = novelty_limit(values, quantile)
    within = int((values <= limit).sum())
    assert within >= (count + 1) * quantile - 1e-6 > within - 1


def damaged(what: str) -> dict[str, np.ndarray]:
    arrays = novelty_arrays(fitted("mahalanobis"))
    if what == "missing":
        del arrays["mahalanobis.roots"]
    if what == "shape":
        arrays["mahalanobis.roots"] = arrays["mahalanobis.roots"][:, :2]
    if what == "nan":
        arrays["mahalanobis.means"][0, 0] = np.nan
    if what == "mixed":
        arrays["euclidean.centers"] = np.zeros((2, 3))
    if what == "none":
        arrays = {}
    if what == "neighbours":
        arrays = {"neighbours.rows": np.zeros((3, 2)), "neighbours.neighbours": np.array([4])}
    return arrays


@pytest.mark.parametrize("what", ["missing", "shape", "nan", "mixed", "none", "neighbours"])
def test_damaged_arrays_are_refused(what: str) -> None:
    with pytest.raises(CheckpointError, match="monitor"):
        novelty_from_arrays(damaged(what))


@pytest.mark.parametrize(
    "call",
    [
        lambda: NoveltyRule("cosine"),  # type: ignore[arg-type]
        lambda: NoveltyRule(quantile=1.0),
        lambda: NoveltyRule(neighbours=0),
        lambda: NoveltyRule(gap=-1),
        lambda: fitted("neighbours", neighbours=321),
        lambda: fitted("euclidean").distance(np.zeros((1, 2))),
        lambda: fitted("euclidean").distance(np.array([[np.nan, 0.0, 0.0]])),
        lambda: EuclideanNovelty.fit(np.zeros((3, 2)), np.array([0, 0, 1])),
        lambda: EuclideanNovelty.fit(np.zeros((3, 2)), np.array([0.0, 0.0, 0.0])),
        lambda: MahalanobisNovelty.fit(np.ones((9, 2)), np.zeros(9, dtype=int)),
        lambda: fit_novelty(*law(400, "training"), NoveltyRule(quantile=0.999)),
        lambda: novelty_limit(np.zeros(99), 0.9),
        lambda: novelty_limit(np.full(99, np.nan), 0.9),
    ],
)
def test_what_cannot_be_measured_is_refused(call: Any) -> None:
    with pytest.raises(InputError):
        call()
