"""Scale-free features of indicators: what is fed, against TA-Lib, and what flat prices give."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from finchaos.core.errors import DataError
from finchaos.features import FeatureSchema, load_schema
from finchaos.features.formula import VOLATILITY_FLOOR
from finchaos.features.schema import FeatureSpec
from finchaos.features.technical import BollingerBandwidth, DirectionalIndex, MacdLine, MeanDistance
from finchaos.features.trend import ParabolicDistance
from finchaos.markets import load_builtin
from tests.finchaos.features.examples import bars_of, flat, simulated

SCHEMA = load_schema("technical_v1")
START = 40


def sets() -> dict[str, dict[str, np.ndarray]]:
    bars = load_builtin("spx", "2007-01-01", "2009-12-31")
    real = {n: np.array(getattr(bars, n)) for n in ("open", "high", "low", "close", "volume")}
    return {"spx": real, "heston": {k: v[0] for k, v in simulated(1, 900).items()}}


SETS = sets()


def expected(bars: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every feature as TA-Lib and plain numpy give it."""
    high, low, close = (bars[name] for name in ("high", "low", "close"))
    atr = talib.ATR(high, low, close, 14)
    line, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    stop = talib.SAR(high, low, 0.02, 0.2)
    net = close - np.concatenate([np.full(20, np.nan), close[:-20]])
    path = talib.SUM(np.abs(np.diff(close, prepend=close[0])), 20)
    return {
        "log_atr": np.log(atr / close),
        "rsi": talib.RSI(close, 14) / 50.0 - 1.0,
        "adx": talib.ADX(high, low, close, 14) / 100.0,
        "plus_di": talib.PLUS_DI(high, low, close, 14) / 100.0,
        "minus_di": talib.MINUS_DI(high, low, close, 14) / 100.0,
        "macd_line": line / atr,
        "macd_signal": signal / atr,
        "macd_histogram": np.tanh(histogram / atr),
        "macd_mark": np.where(np.abs(histogram) > 0.02 * atr, np.sign(histogram), 0.0),
        "bandwidth": (upper - lower) / middle,
        "bb_position": np.clip((close - lower) / (upper - lower), -0.5, 1.5),
        "stoch_k": talib.STOCH(high, low, close, 14, 3, 0, 1, 0)[0] / 50.0 - 1.0,
        "sma_distance": (close - talib.SMA(close, 20)) / atr,
        "psar": (close - stop) / atr,
        "psar_mark": np.where(stop < close, 1.0, -1.0),
        "efficiency_ratio": np.abs(net) / path,
        "momentum_score": np.tanh(net / (atr * np.sqrt(20.0))),
    }


@pytest.mark.parametrize("name", SETS)
def test_features_are_those_of_talib(name: str) -> None:
    found = SCHEMA.compute(SETS[name])
    for feature, values in expected(SETS[name]).items():
        mine = found[:, SCHEMA.names.index(feature)]
        assert mine[START:] == pytest.approx(values[START:], rel=1e-9, abs=1e-10), feature


def test_neutral_values_on_a_flat_price() -> None:
    found = SCHEMA.compute(flat(400))
    neutral = dict.fromkeys(expected(SETS["spx"]), 0.0)
    neutral |= {"bb_position": 0.5, "log_atr": np.log(VOLATILITY_FLOOR)}
    for feature, value in neutral.items():
        assert found[:, SCHEMA.names.index(feature)] == pytest.approx(value, abs=1e-9), feature


def test_neutral_values_on_the_first_bar() -> None:
    bars = {name: values[:1] for name, values in SETS["spx"].items()}
    found = dict(zip(SCHEMA.names, SCHEMA.compute(bars)[0], strict=True))
    for feature in expected(bars):
        if feature != "log_atr":
            assert found[feature] == (0.5 if feature == "bb_position" else 0.0), feature


def test_closes_serve_where_no_range_is_needed() -> None:
    names = ("rsi", "bollinger_bandwidth", "bollinger_position", "efficiency_ratio")
    schema = FeatureSchema("closes", tuple(FeatureSpec(name=n, formula=n) for n in names))
    assert not schema.needs_range
    alone = schema.compute({"close": SETS["spx"]["close"]})
    assert (alone == schema.compute(SETS["spx"])).all()


def test_volume_is_not_needed() -> None:
    bars = bars_of({**SETS["spx"], "volume": np.zeros(len(SETS["spx"]["close"]))})
    for name in ("technical_v1", "manifold_v1"):
        assert not load_schema(name).needs_volume
        assert np.isfinite(load_schema(name).build(bars).values).all()


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(DataError, match="below slow"):
        MacdLine(26, 12, 9)
    with pytest.raises(DataError, match="at least 2"):
        DirectionalIndex(1)
    with pytest.raises(DataError, match="deviations"):
        BollingerBandwidth(20, 0.0)
    with pytest.raises(DataError, match="acceleration"):
        ParabolicDistance(0.3, 0.2)
    with pytest.raises(DataError, match="whole number"):
        MeanDistance(2.5)
