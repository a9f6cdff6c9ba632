"""Curvature against geometry, and the indicators that it leads."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import talib

from finchaos.core.errors import DataError, DocumentError
from finchaos.core.provenance import random_stream
from finchaos.features import FeatureSchema, load_schema
from finchaos.features.formula import PRIOR_VOLATILITY, Moves
from finchaos.features.manifold import (
    AdaptiveDirectionalIndex,
    DynamicRelativeStrength,
    KappaProxy,
    VolatilityEnergy,
    menger_curvature,
)
from finchaos.features.schema import FeatureSpec
from tests.finchaos.features.examples import bars_of, flat, simulated

SCHEMA = load_schema("manifold_v1")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return {name: values[0] for name, values in simulated(1, 600).items()}


def features(arrays: dict[str, np.ndarray], schema: FeatureSchema = SCHEMA) -> pd.DataFrame:
    return pd.DataFrame(schema.compute(arrays), columns=list(schema.names))


def single(formula: str, **params: float) -> FeatureSchema:
    return FeatureSchema("x", (FeatureSpec(name="f", formula=formula, params=params),))


def volatility(returns: np.ndarray) -> np.ndarray:
    """RiskMetrics by pandas, the prior being the value before the first."""
    squares = np.concatenate([[PRIOR_VOLATILITY**2], returns**2])
    return np.sqrt(pd.Series(squares).ewm(alpha=0.06, adjust=False).mean().to_numpy()[1:])


def kappa(returns: np.ndarray) -> np.ndarray:
    changes = np.concatenate([[0.0, 0.0], np.diff(returns)])
    bend = pd.Series(changes).ewm(span=64, adjust=False).mean().to_numpy()[1:]
    return bend / volatility(returns)


def test_curvature_of_a_circle_a_parabola_and_a_line() -> None:
    step = 1e-3
    heights = np.sqrt(25.0 - np.array([2.0 - step, 2.0, 2.0 + step]) ** 2)
    assert menger_curvature(*heights, step) == pytest.approx(0.2, rel=1e-4)
    assert menger_curvature(*(np.array([-step, 0.0, step]) ** 2), step) == pytest.approx(2.0)
    assert menger_curvature(1.0, 1.7, 2.4) == pytest.approx(0.0, abs=1e-15)


def test_curvature_is_the_inverse_radius_of_the_circle_through_the_points() -> None:
    rng = random_stream(3, "test.menger")
    for heights in rng.standard_normal((50, 3)):
        x = np.array([0.0, 1.0, 2.0])
        # The circle x^2 + y^2 = 2 a x + 2 b y + c through three points, by linear algebra.
        rows = np.column_stack([2.0 * x, 2.0 * heights, np.ones(3)])
        a, b, c = np.linalg.solve(rows, x**2 + heights**2)
        assert menger_curvature(*heights) == pytest.approx(1.0 / np.sqrt(c + a * a + b * b))


def test_bending_and_volatility_by_pandas(arrays: dict[str, np.ndarray]) -> None:
    found = features(arrays)
    returns = np.log(arrays["close"] / np.concatenate([arrays["open"][:1], arrays["close"][:-1]]))
    assert np.exp(found["log_vol_ewma"].to_numpy()) == pytest.approx(volatility(returns), rel=1e-11)
    assert found["kappa_proxy"].to_numpy() == pytest.approx(kappa(returns), rel=1e-9, abs=1e-13)
    heights = returns / volatility(returns)
    plain = [np.log1p(menger_curvature(*heights[t - 2 : t + 1])) for t in range(2, 600)]
    assert found["curvature"][2:].to_numpy() == pytest.approx(np.array(plain), rel=1e-9)


def test_bending_as_first_printed_is_a_third_difference(arrays: dict[str, np.ndarray]) -> None:
    found = single("kappa_proxy", legacy=1).compute(arrays)[:, 0]
    returns = np.diff(np.log(arrays["close"]), prepend=np.log(arrays["close"][0]))
    third = np.diff(returns, 2) / volatility(returns)[2:]
    assert found[2:] == pytest.approx(third, rel=1e-9, abs=1e-11)


def test_energy_is_the_log_of_two_at_the_median_of_noise() -> None:
    returns = PRIOR_VOLATILITY * random_stream(8, "test.energy").standard_normal((4000, 50))
    moves = Moves(returns, returns, returns)
    for legacy in (0, 1):
        # A slow volatility, so that it hardly depends on the newest return.
        formula = VolatilityEnergy(decay=0.999, legacy=legacy)
        energy = formula.open(50).advance(moves)[500:]
        assert np.median(energy) == pytest.approx(np.log(2.0), abs=0.01)
        fitted = formula.fit(moves)
        assert fitted["median"] == pytest.approx(formula.noise_median, rel=0.02)
        assert fitted["prior_volatility"] == pytest.approx(PRIOR_VOLATILITY, rel=0.01)


def test_indicators_that_are_led(arrays: dict[str, np.ndarray]) -> None:
    found = features(arrays)
    high, low, close = (arrays[name] for name in ("high", "low", "close"))
    rsi = talib.RSI(close, 14)
    led = np.clip(50.0 + (rsi - 50.0) * (1.0 + 0.5 * np.tanh(found["kappa_proxy"])), 0.0, 100.0)
    assert found["rsi_dyn"][14:].to_numpy() == pytest.approx(led[14:] / 50.0 - 1.0, abs=1e-10)
    adx = talib.ADX(high, low, close, 14) / (1.0 + 0.15 * found["vol_energy"])
    assert found["adx_adaptive"][27:].to_numpy() == pytest.approx(adx[27:] / 100.0, abs=1e-10)
    away = (close - talib.SAR(high, low, 0.02, 0.2)) / talib.ATR(high, low, close, 14)
    expected = np.clip(away, -10.0, 10.0)[14:]
    assert found["psar_adaptive"][14:].to_numpy() == pytest.approx(expected, abs=1e-9)


def test_a_led_index_without_weight_is_the_plain_one(arrays: dict[str, np.ndarray]) -> None:
    assert (single("rsi_dyn", beta=0).compute(arrays) == single("rsi").compute(arrays)).all()
    assert (single("adx_adaptive", gamma=0).compute(arrays) == single("adx").compute(arrays)).all()


def test_constants_come_from_the_training_window_only(arrays: dict[str, np.ndarray]) -> None:
    bars = bars_of(arrays)
    altered = bars_of({k: np.concatenate([v[:400], v[400:][::-1]]) for k, v in arrays.items()})
    one, two = SCHEMA.fitted(bars.rows(0, 400)), SCHEMA.fitted(altered.rows(0, 400))
    assert one.constants == two.constants
    assert set(one.constants) >= {"vol_energy.median", "adx_adaptive.median"}
    returns = np.log(arrays["close"] / np.concatenate([arrays["open"][:1], arrays["close"][:-1]]))
    prior = one.constants["kappa_proxy.prior_volatility"]
    assert prior == pytest.approx(np.sqrt(np.mean(returns[:400] ** 2)))
    fitted = features(arrays, one)
    training = fitted["kappa_proxy"][:400].abs().median()
    assert one.constants["vol_energy.median"] == pytest.approx(training)
    energy = np.log1p(fitted["kappa_proxy"].abs() / training)
    assert fitted["vol_energy"].to_numpy() == pytest.approx(energy.to_numpy(), rel=1e-12)


def test_a_fitted_schema_survives_its_arrays(arrays: dict[str, np.ndarray]) -> None:
    fitted = SCHEMA.fitted(bars_of(arrays).rows(0, 300))
    assert fitted.digest == SCHEMA.digest
    assert (SCHEMA.compute(arrays) != fitted.compute(arrays)).any()
    back = SCHEMA.with_arrays(fitted.to_arrays())
    assert (back.compute(arrays) == fitted.compute(arrays)).all()
    with pytest.raises(DocumentError, match="does not have"):
        load_schema("technical_v1").with_arrays(fitted.to_arrays())


def test_training_bars_that_do_not_move_or_do_not_suffice_are_refused() -> None:
    with pytest.raises(DataError, match="median curvature is zero"):
        SCHEMA.fitted(bars_of(flat(400)))
    with pytest.raises(DataError, match="too few bars"):
        SCHEMA.fitted(bars_of(flat(20)))


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(DataError, match="legacy"):
        KappaProxy(legacy=0.5)
    with pytest.raises(DataError, match="beta"):
        DynamicRelativeStrength(beta=1.5)
    with pytest.raises(DataError, match="gamma"):
        AdaptiveDirectionalIndex(gamma=-0.1)
    with pytest.raises(DataError, match="median"):
        VolatilityEnergy(median=0.0)
