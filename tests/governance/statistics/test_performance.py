"""Ratios against hand-worked numbers, published figures and independent code."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finchaos.core.errors import InputError
from governance.statistics import performance

RETURNS = arrays(np.float64, st.integers(2, 60), elements=st.floats(-0.25, 0.25, width=32))


@pytest.fixture(scope="module")
def sp500() -> np.ndarray:
    """Daily returns of the S&P 500 price index dated 2000-01-03 to 2022-12-28."""
    datasets = pytest.importorskip("skfolio.datasets")
    closes = datasets.load_sp500_index()["SP500"]
    returns: np.ndarray = closes.pct_change().loc["2000-01-03":"2022-12-28"].to_numpy()
    return returns


@pytest.mark.parametrize(
    ("ratio", "published"),
    [
        (partial(performance.sharpe, bars_per_year=252), 0.3070),
        (partial(performance.sortino, bars_per_year=252), 0.4301),
        (performance.max_drawdown, -0.5678),
        (partial(performance.calmar, bars_per_year=252), 0.0741),
    ],
)
def test_figures_that_quantstats_and_empyrical_agree_on(
    sp500: np.ndarray, ratio: Callable[[np.ndarray], np.ndarray], published: float
) -> None:
    assert len(sp500) == 5785
    assert round(float(ratio(sp500)), 4) == published


def test_hand_worked() -> None:
    returns = np.array([0.10, -0.05, 0.20, -0.10])
    # Wealth 1.1, 1.045, 1.254, 1.1286; mean 0.0375.
    assert performance.wealth(returns) == pytest.approx([1.0, 1.1, 1.045, 1.254, 1.1286])
    assert performance.drawdown(returns) == pytest.approx([0.0, 0.0, -0.05, 0.0, -0.1])
    assert performance.max_drawdown(returns) == pytest.approx(-0.1)
    assert performance.annual_return(returns, 4) == pytest.approx(0.1286)
    assert performance.annual_return(returns, 2) == pytest.approx(1.1286**0.5 - 1)
    assert performance.calmar(returns, 4) == pytest.approx(1.286)
    deviation = statistics.stdev(returns.tolist())
    assert performance.annual_volatility(returns, 4) == pytest.approx(2 * deviation)
    assert performance.sharpe(returns, 4) == pytest.approx(2 * 0.0375 / deviation)
    downside = ((0.05**2 + 0.10**2) / 4) ** 0.5
    assert performance.sortino(returns, 4) == pytest.approx(2 * 0.0375 / downside)
    chosen = np.array([True, True, False, False])
    assert performance.sortino_where(returns, chosen, 4) == pytest.approx(
        2 * 0.025 / (0.05**2 / 2) ** 0.5
    )


def test_cash_is_a_rate_a_year() -> None:
    returns = np.array([0.01, -0.005, 0.02, 0.0])
    excess = returns - 0.02 / 252
    wanted = performance.sharpe(excess, 252)
    assert performance.sharpe(returns, 252, cash_annual=0.02) == pytest.approx(wanted)
    with pytest.raises(InputError, match="fraction a year"):
        performance.sharpe(returns, 252, cash_annual=2.0)  # two per cent written as 2


def test_expected_shortfall_splits_the_edge_of_the_tail() -> None:
    returns = np.array([-0.10, 0.05, -0.06, 0.01])
    assert performance.expected_shortfall(returns, 0.25) == pytest.approx(-0.10)
    # 1.5 observations: the worst in full and half of the next.
    assert performance.expected_shortfall(returns, 0.375) == pytest.approx((-0.10 - 0.03) / 1.5)
    assert performance.expected_shortfall(returns, 1.0) == pytest.approx(returns.mean())
    with pytest.raises(InputError):
        performance.expected_shortfall(returns, 0.0)


def test_turnover_counts_a_round_trip_once() -> None:
    assert performance.turnover_per_year(np.array([1.0, 0.0, 1.0, 0.0]), 4) == 1.0


def test_total_loss_is_final() -> None:
    returns = np.array([0.5, -1.5, 3.0])
    assert performance.wealth(returns).tolist() == [1.0, 1.5, 0.0, 0.0]
    assert performance.max_drawdown(returns) == -1.0
    assert performance.annual_return(returns, 252) == -1.0


@pytest.mark.parametrize("value", [0.0, 0.001])
def test_ratio_without_risk_is_not_defined(value: float) -> None:
    flat = np.full(500, value)
    assert np.isnan(performance.sharpe(flat, 252))
    assert np.isnan(performance.sortino(flat, 252))
    assert np.isnan(performance.calmar(flat, 252))
    assert np.isnan(performance.sortino_where(flat, flat < -1, 252))


@pytest.mark.parametrize("bars_per_year", [0.0, -252.0, float("nan"), float("inf")])
def test_impossible_annualisation_is_refused(bars_per_year: float) -> None:
    for ratio in (performance.sharpe, performance.annual_return, performance.turnover_per_year):
        with pytest.raises(InputError, match="bars_per_year"):
            ratio(np.array([0.01, -0.01]), bars_per_year)


def test_empty_series_is_refused() -> None:
    with pytest.raises(InputError):
        performance.max_drawdown(np.empty(0))
    with pytest.raises(InputError, match="two returns"):
        performance.sharpe(np.array([0.1]), 252)


@given(RETURNS)
def test_annualisation_scales_by_the_root_of_time(returns: np.ndarray) -> None:
    daily, yearly = performance.sharpe(returns, 1), performance.sharpe(returns, 256)
    assert yearly == pytest.approx(16 * float(daily), nan_ok=True)


@given(RETURNS, st.floats(0.1, 0.9))
def test_bounds(returns: np.ndarray, share: float) -> None:
    deepest = float(performance.max_drawdown(returns))
    assert -1.0 <= deepest <= 0.0
    assert float(performance.annual_return(returns, len(returns))) >= deepest - 1e-12
    tail = float(performance.expected_shortfall(returns, share))
    assert returns.min() - 1e-12 <= tail <= returns.mean() + 1e-12


@given(arrays(np.float64, (3, 20), elements=st.floats(-0.25, 0.25, width=32)))
def test_a_stack_gives_what_its_rows_give(stack: np.ndarray) -> None:
    for ratio in (
        partial(performance.sharpe, bars_per_year=252),
        partial(performance.sortino, bars_per_year=252),
        partial(performance.calmar, bars_per_year=252),
        partial(performance.annual_return, bars_per_year=252),
        performance.max_drawdown,
        performance.expected_shortfall,
    ):
        rows = [float(ratio(row)) for row in stack]
        assert ratio(stack) == pytest.approx(rows, nan_ok=True)
