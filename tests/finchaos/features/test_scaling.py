"""The scaler: robust, frozen, and blind to rows it was not fitted on."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import median_abs_deviation, norm, zscore

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.scaling import IQR_TO_SD, MAD_TO_SD, ColumnScaler, RobustScaler, ZScoreScaler


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return random_stream(8, "test.scaling").standard_t(3, (500, 4)) * [1.0, 10.0, 0.01, 5.0] + 2.0


def test_constants_are_those_of_the_normal() -> None:
    assert pytest.approx(1.0 / norm.ppf(0.75), rel=1e-15) == MAD_TO_SD
    assert pytest.approx(2.0 * norm.ppf(0.75), rel=1e-15) == IQR_TO_SD


def test_centre_and_scale_agree_with_scipy(values: np.ndarray) -> None:
    scaler = RobustScaler.fit(values)
    assert scaler.center == pytest.approx(np.median(values, axis=0))
    assert scaler.scale == pytest.approx(median_abs_deviation(values, axis=0, scale="normal"))
    assert scaler.spread == ("mad",) * 4


def test_outliers_move_neither_the_scale_nor_pass_the_clip(values: np.ndarray) -> None:
    dirty = values.copy()
    dirty[:5] = 1e9
    clean, robust = RobustScaler.fit(values), RobustScaler.fit(dirty)
    assert robust.scale == pytest.approx(clean.scale, rel=0.05)
    assert np.abs(robust.transform(dirty)).max() == 10.0


def test_training_rows_alone_decide(values: np.ndarray) -> None:
    """Alter everything after the training window: scaler and scaled past stay bit-equal."""
    altered = values.copy()
    altered[300:] = altered[300:][::-1] * 100.0
    one, two = RobustScaler.fit(values[:300]), RobustScaler.fit(altered[:300])
    assert (one.transform(values)[:300] == two.transform(altered)[:300]).all()
    leaky = RobustScaler.fit(altered)
    assert (leaky.transform(values)[:300] != one.transform(values)[:300]).any()


@pytest.mark.parametrize(
    ("column", "spread", "scale"),
    [
        (np.where(np.arange(100) < 40, 1.0, 0.0), "iqr", 1.0 / IQR_TO_SD),
        (np.where(np.arange(100) < 10, 1.0, 0.0), "sd", 0.3),
        (np.full(100, 0.1), "constant", 1.0),
    ],
)
def test_fallbacks_in_order_and_logged(
    column: np.ndarray, spread: str, scale: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "finchaos.features.scaling"):
        scaler = RobustScaler.fit(column[:, None])
    assert scaler.spread == (spread,)
    assert scaler.scale[0] == pytest.approx(scale)
    assert f"using {spread}" in caplog.text


def test_fixed_columns_are_left_alone(values: np.ndarray) -> None:
    scaler = RobustScaler.fit(values, fixed=(False, False, True, False))
    assert scaler.spread[2] == "fixed"
    assert (scaler.transform(values)[:, 2] == np.clip(values[:, 2], -10, 10)).all()


@given(arrays(np.float64, (20, 2), elements=st.floats(-1e6, 1e6)))
def test_any_finite_rows_scale_to_finite_ones(rows: np.ndarray) -> None:
    scaler = RobustScaler.fit(rows)
    scaled = scaler.transform(rows)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= scaler.clip


def test_arrays_and_back(values: np.ndarray) -> None:
    scaler = RobustScaler.fit(values, fixed=(True, False, False, False), clip=4.0)
    back = RobustScaler.from_arrays(scaler.to_arrays())
    assert back.spread == scaler.spread
    assert (back.transform(values) == scaler.transform(values)).all()


def test_leading_dimensions_are_rows(values: np.ndarray) -> None:
    stacked = values.reshape(5, 100, 4)
    scaler = RobustScaler.fit(stacked)
    assert (scaler.scale == RobustScaler.fit(values).scale).all()
    assert scaler.transform(stacked).shape == stacked.shape


def test_a_fitted_scaler_cannot_be_changed(values: np.ndarray) -> None:
    scaler = RobustScaler.fit(values)
    with pytest.raises(ValueError, match="read-only"):
        scaler.center[0] = 0.0


def test_bad_rows_and_arrays_are_refused(values: np.ndarray) -> None:
    scaler = RobustScaler.fit(values)
    with pytest.raises(DataError, match="finite"):
        RobustScaler.fit(np.array([[np.nan]]))
    with pytest.raises(DataError, match="finite"):
        RobustScaler.fit(np.empty((0, 3)))
    with pytest.raises(DataError, match="every column"):
        RobustScaler.fit(values, fixed=(True,))
    with pytest.raises(DataError, match="other columns"):
        scaler.transform(values[:, :2])
    packed = scaler.to_arrays()
    with pytest.raises(DataError, match="clip"):
        RobustScaler.from_arrays({k: v for k, v in packed.items() if k != "clip"})
    with pytest.raises(DataError, match="codes"):
        RobustScaler.from_arrays({**packed, "spread": packed["spread"] + 9})
    with pytest.raises(DataError, match="impossible"):
        RobustScaler.from_arrays({**packed, "scale": -packed["scale"]})


KINDS = (RobustScaler, ZScoreScaler)


def test_z_scores_are_those_of_scipy(values: np.ndarray) -> None:
    scaler = ZScoreScaler.fit(values[:300], clip=1e9)
    assert set(scaler.spread) == {"sd"}
    assert scaler.transform(values[:300]) == pytest.approx(zscore(values[:300]), abs=1e-12)
    training = values[:300]
    later = (values[300:] - training.mean(axis=0)) / training.std(axis=0)
    assert scaler.transform(values[300:]) == pytest.approx(later, abs=1e-12)


def test_z_scores_use_the_training_window_only_and_are_clipped(values: np.ndarray) -> None:
    altered = np.concatenate([values[:300], 100.0 * values[300:][::-1]])
    one, two = ZScoreScaler.fit(values[:300]), ZScoreScaler.fit(altered[:300])
    assert (one.transform(values)[:300] == two.transform(altered)[:300]).all()
    assert one.transform(np.full((1, 4), 1e12)).tolist() == [[10.0] * 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_is_only_centred_and_that_is_logged(
    kind: type[ColumnScaler], caplog: pytest.LogCaptureFixture
) -> None:
    rows = np.column_stack([np.full(50, 0.1), np.arange(50.0)])
    with caplog.at_level(logging.WARNING, "finchaos.features.scaling"):
        scaler = kind.fit(rows)
    assert scaler.spread[0] == "constant"
    assert scaler.transform(rows)[:, 0] == pytest.approx(0.0, abs=1e-15)
    assert "column 0 has no" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_columns_without_values_are_named(kind: type[ColumnScaler], values: np.ndarray) -> None:
    rows = values.copy()
    rows[3, 1] = np.inf
    rows[:, 2] = np.nan
    with pytest.raises(DataError, match=r"columns \[1, 2\].*and \[2\] nothing but NaN.*drop"):
        kind.fit(rows)


def test_z_scores_survive_their_arrays(values: np.ndarray) -> None:
    scaler = ZScoreScaler.fit(values, fixed=(True, False, False, False), clip=4.0)
    back = ZScoreScaler.from_arrays(scaler.to_arrays())
    assert isinstance(back, ZScoreScaler)
    assert (back.transform(values) == scaler.transform(values)).all()
