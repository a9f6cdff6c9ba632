"""Confidence: the temperature that made the rows, independent figures, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.regimes.clustering import ClusterRule, RegimeClusters
from finchaos.trading.confidence import (
    SoftminConfidence,
    brier_score,
    calibration_rows,
    confidence,
    reliability,
)

SQUARES = arrays(np.float64, (5, 3), elements=st.floats(0, 1e6))


def balls(temperature: float, rows: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances to the centres of Gaussian balls of a variance, and who made each row."""
    rng = random_stream(11, name)
    centers = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    labels = rng.integers(0, 3, rows)
    points = centers[labels] + np.sqrt(temperature) * rng.standard_normal((rows, 2))
    return cdist(points, centers, "sqeuclidean"), labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_rows_is_found(temperature: float) -> None:
    squares, labels = balls(temperature, 20_000, "fit")
    found = SoftminConfidence.fit(squares, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    # No other one is likelier, by a plain grid.
    losses = [
        -np.log(SoftminConfidence(t).probabilities(squares)[np.arange(len(labels)), labels]).mean()
        for t in (0.98 * found.temperature, found.temperature, 1.02 * found.temperature)
    ]
    assert min(losses) == losses[1]


def test_fitted_probabilities_are_calibrated_on_fresh_rows_and_wrong_ones_are_not() -> None:
    found = SoftminConfidence.fit(*balls(2.0, 5000, "calibration"))
    squares, labels = balls(2.0, 50_000, "fresh")
    sharp = SoftminConfidence(found.temperature / 4)
    errors = [
        reliability(c.probabilities(squares)[:, 0], labels == 0).expected_calibration_error
        for c in (found, sharp)
    ]
    assert errors[0] < 0.01 < 0.03 < errors[1]
    scores = [brier_score(c.probabilities(squares), labels) for c in (found, sharp)]
    assert scores[0] < scores[1]


@given(SQUARES, st.floats(1e-3, 1e3))
def test_probabilities_sum_to_one_and_fall_with_distance(
    squares: np.ndarray, temperature: float
) -> None:
    softmin = SoftminConfidence(temperature)
    shares = softmin.probabilities(squares)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-12)
    further = squares.copy()
    further[:, 1] += 1.0
    assert (softmin.probabilities(further)[:, 1] <= shares[:, 1]).all()
    nearest = squares.argmin(axis=1)
    assert (shares[np.arange(5), nearest] == shares.max(axis=1)).all()


@given(SQUARES)
def test_a_row_at_a_time_gives_the_same_bits(squares: np.ndarray) -> None:
    softmin = SoftminConfidence(3.0)
    whole = softmin.probabilities(squares)
    steps = np.vstack([softmin.probabilities(row[None]) for row in squares])
    assert np.array_equal(whole, steps)
    assert np.array_equal(
        confidence(whole), np.concatenate([confidence(row[None]) for row in steps])
    )


@given(SQUARES)
def test_confidence_is_one_less_the_normalised_entropy(squares: np.ndarray) -> None:
    shares = SoftminConfidence(10.0).probabilities(squares)
    expected = 1.0 - entropy(shares, base=3, axis=1)
    np.testing.assert_allclose(confidence(shares), expected, atol=1e-9)
    assert (confidence(shares) >= 0.0).all()


@given(
    arrays(np.float64, 200, elements=st.floats(0, 1)),
    arrays(np.bool_, 200),
    st.integers(2, 12),
)
def test_the_table_is_that_of_sklearn(said: np.ndarray, came: np.ndarray, bins: int) -> None:
    table = reliability(said, came, bins)
    true, predicted = calibration_curve(came, said, n_bins=bins, strategy="quantile", pos_label=1)
    np.testing.assert_allclose(table.came, true, atol=1e-12)
    np.testing.assert_allclose(table.said, predicted, atol=1e-12)
    assert table.rows.sum() == 200


def test_the_error_by_hand_and_bins_of_equal_mass() -> None:
    rng = random_stream(3, "reliability")
    said = rng.random(1000)
    came = rng.random(1000) < said**2
    table = reliability(said, came)
    assert table.rows.tolist() == [100] * 10
    parts = np.array_split(np.argsort(said), 10)
    by_hand = np.mean([abs(said[part].mean() - came[part].mean()) for part in parts])
    assert table.expected_calibration_error == pytest.approx(by_hand, rel=1e-12)


def test_the_score_of_two_regimes_is_twice_that_of_sklearn() -> None:
    rng = random_stream(3, "brier")
    calm = rng.random(500)
    came = rng.random(500) < calm
    score = brier_score(np.column_stack([calm, 1.0 - calm]), np.where(came, 0, 1))
    assert score == pytest.approx(2.0 * brier_score_loss(came, calm))


def test_distances_of_regimes_are_euclidean_among_whitened_latents() -> None:
    rng = random_stream(5, "clusters")
    calm = np.arange(600) < 300
    latents = rng.standard_normal((600, 3)) * 0.3 + np.where(calm, -2.0, 2.0)[:, None]
    returns = rng.standard_normal(600) * np.where(calm, 0.005, 0.02)
    clusters = RegimeClusters.fit(latents, returns, ClusterRule(), seed=1)
    whitened = (latents - clusters.center) @ clusters.whitening
    squares = clusters.squared_center_distances(latents)
    np.testing.assert_allclose(squares, cdist(whitened, clusters.mean, "sqeuclidean"), atol=1e-9)
    steps = np.vstack([clusters.squared_center_distances(row[None]) for row in latents])
    assert np.array_equal(squares, steps)


def test_the_last_rows_are_held_out() -> None:
    fit, held = calibration_rows(1000, 0.25, gap=20)
    assert (fit, held) == (slice(0, 730), slice(750, 1000))
    for wrong in ((1000, 0.0), (1000, 1.0), (1000, 0.2, -1), (1, 0.5), (0, 0.5), (10, 0.5, 5)):
        with pytest.raises(InputError, match="calibrat"):
            calibration_rows(*wrong)


def spoilt(what: str) -> tuple[np.ndarray, np.ndarray]:
    squares, labels = balls(1.0, 200, "spoilt")
    if what == "nan":
        squares[3, 1] = np.nan
    if what == "collapsed":
        squares[:, 2] = squares[:, 0]
    if what == "one regime only":
        labels[:] = 1
    if what == "nearest":
        labels = squares.argmin(axis=1)
    if what == "nothing":
        labels = squares.argmax(axis=1)
    if what == "labels":
        labels[0] = 3
    if what == "short":
        labels = labels[1:]
    return squares, labels


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("nan", "1 not finite"),
        ("collapsed", "one centre.*regimes 0 and 2"),
        ("one regime only", "holds one regime only"),
        ("nearest", "every row belongs to its nearest"),
        ("nothing", "say next to nothing of the regimes"),
        ("labels", "whole numbers from 0 to 2"),
        ("short", "labels do not fit"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(what: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        SoftminConfidence.fit(*spoilt(what))


@pytest.mark.parametrize(
    "call",
    [
        lambda: SoftminConfidence(0.0),
        lambda: SoftminConfidence(1.0).probabilities(np.array([[1.0, np.inf]])),
        lambda: SoftminConfidence(1.0).probabilities(np.array([[1.0]])),
        lambda: confidence(np.array([[0.5, 0.6]])),
        lambda: confidence(np.array([[np.nan, 1.0]])),
        lambda: brier_score(np.array([[0.5, 0.5]]), np.array([0.0])),
        lambda: reliability(np.array([0.5]), np.array([2])),
        lambda: reliability(np.array([1.5]), np.array([1]), 1),
        lambda: reliability(np.array([0.5]), np.array([1]), 2),
        lambda: reliability(np.array([0.5]), np.array([1]), 0),
    ],
)
def test_nonsense_is_refused(call: Any) -> None:
    with pytest.raises(InputError):
        call()
