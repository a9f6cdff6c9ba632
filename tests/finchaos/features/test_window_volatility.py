"""Estimators of volatility against their published formulas, window by window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from finchaos.core.errors import DataError
from finchaos.features.formula import PRIOR_VOLATILITY, VOLATILITY_FLOOR, Formula, Moves
from finchaos.features.schema import FeatureSchema, FeatureSpec
from finchaos.features.window_volatility import (
    LogEwmaVolatility,
    LogGarmanKlass,
    LogParkinson,
    LogRealised,
    LogRogersSatchell,
    LogYangZhang,
    VolatilityRegime,
)
from finchaos.markets.simulate.heston import HestonConfig, HestonRegime, simulate
from tests.finchaos.features.examples import bars_of, simulated

W, N = 20, 300
Window = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def bars() -> Window:
    """One path, with the close of the bar before."""
    one = {name: values[0] for name, values in simulated(1, N).items()}
    return {**one, "before": np.concatenate([one["open"][:1], one["close"][:-1]])}


def moves_of(bars: Window) -> Moves:
    column = {name: values[:, None].copy() for name, values in bars.items()}
    return Moves(
        log_return=np.log(column["close"] / column["before"]),
        log_range=np.log(column["high"] / column["low"]),
        log_body=np.log(column["close"] / column["open"]),
        open=column["open"],
        high=column["high"],
        low=column["low"],
        close=column["close"],
        previous_close=column["before"],
    )


def realised(b: Window) -> float:
    return float(np.sqrt(np.mean(np.log(b["close"] / b["before"]) ** 2)))


def parkinson(b: Window) -> float:
    squares = np.log(b["high"] / b["low"]) ** 2
    return float(np.sqrt(squares.sum() / (4.0 * len(squares) * np.log(2.0))))


def garman_klass(b: Window) -> float:
    ranges, bodies = np.log(b["high"] / b["low"]), np.log(b["close"] / b["open"])
    return float(np.sqrt(np.mean(0.5 * ranges**2 - (2.0 * np.log(2.0) - 1.0) * bodies**2)))


def rogers_satchell(b: Window) -> float:
    high_close, high_open = np.log(b["high"] / b["close"]), np.log(b["high"] / b["open"])
    low_close, low_open = np.log(b["low"] / b["close"]), np.log(b["low"] / b["open"])
    return float(np.sqrt(np.mean(high_close * high_open + low_close * low_open)))


def yang_zhang(b: Window) -> float:
    n = len(b["close"])
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    overnight = np.var(np.log(b["open"] / b["before"]), ddof=1)
    body = np.var(np.log(b["close"] / b["open"]), ddof=1)
    return float(np.sqrt(overnight + k * body + (1.0 - k) * rogers_satchell(b) ** 2))


ESTIMATORS: list[tuple[Formula, Callable[[Window], float]]] = [
    (LogRealised(W), realised),
    (LogParkinson(W), parkinson),
    (LogGarmanKlass(W), garman_klass),
    (LogRogersSatchell(W), rogers_satchell),
    (LogYangZhang(W), yang_zhang),
]


@pytest.mark.parametrize(
    ("formula", "published"), ESTIMATORS, ids=lambda x: getattr(x, "__name__", "")
)
def test_every_window_anew(
    formula: Formula, published: Callable[[Window], float], bars: Window
) -> None:
    found = np.exp(formula.open(1).advance(moves_of(bars))[:, 0])
    for row in range(W - 1, N):
        window = {name: values[row - W + 1 : row + 1] for name, values in bars.items()}
        assert found[row] == pytest.approx(published(window), rel=1e-11)


@pytest.mark.parametrize("formula", [f for f, _ in ESTIMATORS], ids=lambda f: type(f).__name__)
def test_each_measures_a_known_volatility(formula: Formula) -> None:
    """Paths of constant 20 % volatility; ranges of few steps a bar are a little too narrow."""
    steady = HestonRegime(3.0, 0.04, 0.0, 0.0, 0.0, 100.0)
    paths = simulate(HestonConfig((steady,), substeps=64), 60, 260, np.random.default_rng(1))
    arrays = {name: getattr(paths, name).T.copy() for name in ("open", "high", "low", "close")}
    before = np.concatenate([arrays["open"][:1], arrays["close"][:-1]])
    moves = Moves(
        np.log(arrays["close"] / before),
        np.log(arrays["high"] / arrays["low"]),
        np.log(arrays["close"] / arrays["open"]),
        previous_close=before,
        **arrays,
    )
    found = np.exp(formula.open(60).advance(moves)[W:])
    assert np.sqrt(252.0 * np.mean(found**2)) == pytest.approx(0.2, rel=0.08)


def test_bars_not_yet_seen_count_with_the_prior(bars: Window) -> None:
    found = LogRealised(W).open(1).advance(moves_of(bars))[:, 0]
    returns = np.log(bars["close"] / bars["before"])
    known = (returns[:5] ** 2).sum() + (W - 5) * PRIOR_VOLATILITY**2
    assert np.exp(2.0 * found[4]) == pytest.approx(known / W)


def test_the_floor_holds_where_nothing_moves() -> None:
    still = {name: np.full(60, 7.0) for name in ("open", "high", "low", "close", "before")}
    for formula, _ in ESTIMATORS:
        found = formula.open(1).advance(moves_of(still))
        assert found[-1, 0] == pytest.approx(np.log(VOLATILITY_FLOOR))


def test_exponential_volatility_of_reference() -> None:
    """Start 1e-4 and returns 1 %, -2 %, 1.5 % give a variance of 1.2442e-4."""
    returns = np.array([[0.01], [-0.02], [0.015]])
    found = LogEwmaVolatility().open(1).advance(Moves(returns, returns, returns))
    by_hand = 1e-4
    for value in returns[:, 0]:
        by_hand = 0.94 * by_hand + 0.06 * value**2
    assert np.exp(2.0 * found[-1, 0]) == pytest.approx(by_hand, rel=1e-13)
    assert np.exp(2.0 * found[-1, 0]) == pytest.approx(1.2442e-4, abs=5e-9)


def test_the_prior_of_the_exponential_volatility_can_be_fitted(bars: Window) -> None:
    schema = FeatureSchema("x", (FeatureSpec(name="v", formula="log_ewma_volatility"),))
    training = bars_of({k: v[:200] for k, v in bars.items() if k != "before"})
    constants = schema.fitted(training).constants
    closes = np.log(training.close)
    returns = np.diff(closes, prepend=closes[0])
    assert set(constants) == {"v.prior_volatility"}
    assert constants["v.prior_volatility"] == pytest.approx(np.sqrt(np.mean(returns**2)))


def test_the_regime_is_volatility_over_its_own_mean(bars: Window) -> None:
    found = VolatilityRegime(10, 50).open(1).advance(moves_of(bars))[-1, 0]
    level = np.exp(LogRealised(10).open(1).advance(moves_of(bars))[:, 0])
    assert np.exp(found) == pytest.approx(level[-1] / level[-50:].mean())


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2"):
        LogYangZhang(1)
    with pytest.raises(DataError, match="long_window"):
        VolatilityRegime(20, 10)
    for bad in (0.0, 1.0, 1.2, np.nan):
        with pytest.raises(DataError, match="between 0 and 1"):
            LogEwmaVolatility(bad)
    with pytest.raises(DataError, match="positive"):
        LogEwmaVolatility(0.9, 0.0)
