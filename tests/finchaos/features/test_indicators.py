"""Indicators against TA-Lib on real and simulated bars, published values and flat prices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib

from finchaos.features.indicators import Atr, Bands, Directional, Macd, Rsi, Stochastic
from finchaos.features.parabolic import Parabolic
from finchaos.markets import load_builtin
from tests.finchaos.features.examples import simulated

TOLERANCE = 1e-10
Prices = tuple[np.ndarray, np.ndarray, np.ndarray]

RSI_CLOSES = [
    *(44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826),
    *(45.8931, 46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439),
    *(46.2122, 46.2521, 45.7137, 46.4515, 45.7835, 45.3548, 44.0288, 44.1783, 44.2181, 44.5672),
    *(43.4205, 42.6628, 43.1314),
]
"""The worked example of the RSI that chart schools print."""


def windows() -> dict[str, dict[str, np.ndarray]]:
    """Real bars of three kinds of market and of 20 years, and simulated ones."""
    bars = load_builtin("spx")
    whole = {name: np.array(getattr(bars, name)) for name in ("high", "low", "close")}
    paths = simulated(1, 4000)
    return {
        "spx 1999-2018": whole,
        "spx 2008": {k: v[2260:2780] for k, v in whole.items()},
        "spx 2017": {k: v[4520:4780] for k, v in whole.items()},
        "heston": {k: paths[k][0] for k in ("high", "low", "close")},
    }


MARKETS = windows()


def bandwidths(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> list[np.ndarray]:
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    return [upper, middle, lower]


def bands(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> list[np.ndarray]:
    away, deviation = Bands(20, 1).advance(close)
    middle = close + away
    return [middle + 2.0 * deviation, middle, middle - 2.0 * deviation]


Function = Callable[[Any, Any, Any], Any]
PAIRS: dict[str, tuple[Function, Function, int]] = {
    "rsi": (lambda hi, lo, c: [Rsi(14, 1).advance(c)], lambda hi, lo, c: [talib.RSI(c, 14)], 14),
    "rsi of 2": (lambda hi, lo, c: [Rsi(2, 1).advance(c)], lambda hi, lo, c: [talib.RSI(c, 2)], 2),
    "atr": (
        lambda hi, lo, c: [Atr(14, 1).advance(hi, lo, c)],
        lambda hi, lo, c: [talib.ATR(hi, lo, c, 14)],
        14,
    ),
    "directional": (
        lambda hi, lo, c: Directional(14, 1).advance(hi, lo, c)[:2],
        lambda hi, lo, c: [talib.PLUS_DI(hi, lo, c, 14), talib.MINUS_DI(hi, lo, c, 14)],
        14,
    ),
    "adx": (
        lambda hi, lo, c: [Directional(14, 1).advance(hi, lo, c)[2]],
        lambda hi, lo, c: [talib.ADX(hi, lo, c, 14)],
        27,
    ),
    "adx of 5": (
        lambda hi, lo, c: [Directional(5, 1).advance(hi, lo, c)[2]],
        lambda hi, lo, c: [talib.ADX(hi, lo, c, 5)],
        9,
    ),
    "macd": (
        lambda hi, lo, c: Macd(12, 26, 9, 1).advance(c),
        lambda hi, lo, c: talib.MACD(c, 12, 26, 9)[:2],
        33,
    ),
    "macd of 5, 8 and 3": (
        lambda hi, lo, c: Macd(5, 8, 3, 1).advance(c),
        lambda hi, lo, c: talib.MACD(c, 5, 8, 3)[:2],
        9,
    ),
    "bands": (bands, bandwidths, 19),
    "stochastic": (
        lambda hi, lo, c: [Stochastic(14, 3, 1).advance(hi, lo, c)],
        lambda hi, lo, c: [talib.STOCH(hi, lo, c, 14, 3, 0, 1, 0)[0]],
        15,
    ),
    "parabolic": (
        lambda hi, lo, c: [Parabolic(0.02, 0.2, 1).advance(hi, lo, c)],
        lambda hi, lo, c: [talib.SAR(hi, lo, 0.02, 0.2)],
        1,
    ),
    "parabolic of 0.05": (
        lambda hi, lo, c: [Parabolic(0.05, 0.1, 1).advance(hi, lo, c)],
        lambda hi, lo, c: [talib.SAR(hi, lo, 0.05, 0.1)],
        1,
    ),
}


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_talib_after_warmup(name: str, market: str) -> None:
    """To 1e-10 of the price's or the indicator's own size."""
    ours, theirs, warmup = PAIRS[name]
    flat = [MARKETS[market][k] for k in ("high", "low", "close")]
    columns = [values[:, None].copy() for values in flat]
    expected_all = theirs(*(values.copy() for values in flat))
    for found, expected in zip(ours(*columns), expected_all, strict=True):
        assert np.isfinite(expected[warmup:]).all()
        assert np.isnan(expected[:warmup]).all() or name.startswith("macd")
        apart = np.abs(found[warmup:, 0] - expected[warmup:])
        assert (apart <= TOLERANCE * np.maximum(1.0, np.abs(expected[warmup:]))).all()


def ramp() -> Prices:
    close = np.arange(1.0, 101.0)[:, None]
    return close + 0.5, close - 0.5, close


def test_published_values_of_a_ramp() -> None:
    high, low, close = ramp()
    assert Rsi(14, 1).advance(close)[-1, 0] == pytest.approx(100.0)
    assert Atr(14, 1).advance(high, low, close)[-1, 0] == pytest.approx(1.5)
    assert Directional(14, 1).advance(high, low, close)[2, -1, 0] == pytest.approx(100.0)
    assert Stochastic(14, 3, 1).advance(high, low, close)[-1, 0] == pytest.approx(
        96.428571, abs=1e-6
    )
    assert Macd(12, 26, 9, 1).advance(close)[0, -1, 0] == pytest.approx(7.0)
    away, deviation = Bands(20, 1).advance(close)[:, -1, 0]
    assert 100.0 + away + 2.0 * deviation == pytest.approx(102.0325626, abs=1e-7)


def test_the_worked_example_of_the_rsi() -> None:
    found = Rsi(14, 1).advance(np.array(RSI_CLOSES)[:, None])[14:, 0]
    assert found[:6] == pytest.approx([70.53, 66.32, 66.55, 69.41, 66.36, 57.97], abs=0.01)
    assert found[-1] == pytest.approx(37.77, abs=0.01)


def test_neutral_values_before_the_warmup() -> None:
    high, low, close = ramp()
    assert (Rsi(14, 1).advance(close)[:14] == 50.0).all()
    directional = Directional(14, 1).advance(high, low, close)
    assert (directional[:2, :14] == 0.0).all()
    assert (directional[2, :27] == 0.0).all()
    line, signal = Macd(12, 26, 9, 1).advance(close)
    assert (line[:25] == 0.0).all()
    assert line[25] > 0.0
    assert (signal[:33] == 0.0).all()
    assert (Stochastic(14, 3, 1).advance(high, low, close)[:15] == 50.0).all()
    assert Parabolic(0.02, 0.2, 1).advance(high, low, close)[0] == close[0]
    assert Atr(14, 1).advance(high, low, close)[:3, 0].tolist() == [1.0, 1.5, 1.5]


def test_a_flat_price() -> None:
    """RSI 50, %K 50, ADX 0, where TA-Lib says 0, 0 and 0."""
    close = np.full((200, 1), 100.0)
    flat = (close, close, close)
    assert (Rsi(14, 1).advance(close) == 50.0).all()
    assert (Stochastic(14, 3, 1).advance(*flat) == 50.0).all()
    assert (Directional(14, 1).advance(*flat) == 0.0).all()
    assert (Atr(14, 1).advance(*flat) == 0.0).all()
    assert (Bands(20, 1).advance(close) == 0.0).all()
    assert (Parabolic(0.02, 0.2, 1).advance(*flat) == close).all()
    assert np.abs(Macd(12, 26, 9, 1).advance(close)).max() < 1e-12


def test_a_price_that_stops_moving_is_forgotten() -> None:
    """A window without moves has exactly no deviation, whatever went before."""
    moving = 100.0 * np.exp(np.cumsum(np.tile([0.1, -0.07, 0.013], 20)))[:, None]
    close = np.concatenate([moving, np.full((2000, 1), moving[-1, 0])])
    assert (Bands(20, 1).advance(close)[:, 60 + 19 :] == 0.0).all()
    assert (Stochastic(14, 3, 1).advance(close, close, close)[60 + 16 :] == 50.0).all()
    rsi = Rsi(14, 1).advance(close)[:, 0]
    assert rsi[61] == pytest.approx(rsi[100])
    assert rsi[-1] == pytest.approx(50.0, abs=1e-6)
    assert Directional(14, 1).advance(close, close, close)[2, -1, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_stop_reverses_where_a_bar_touches_it_and_not_where_nothing_moves() -> None:
    high = np.array([10.0, 11.0, 12.0, 12.0, 9.5])[:, None]
    low = np.array([9.0, 10.0, 11.0, 11.0, 8.0])[:, None]
    stops = Parabolic(0.02, 0.2, 1).advance(high, low, high)[:, 0]
    assert stops[1] == 9.0
    assert stops[4] == 12.0, "on the reversal the stop is the highest price of the trend"
    assert (stops[1:4] < low[1:4, 0]).all()
