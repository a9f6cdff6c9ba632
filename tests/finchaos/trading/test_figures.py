"""Figures of one pass against the ledger, and against the validator's ratios."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from finchaos.trading.backtest import run_backtest
from finchaos.trading.figures import backtest_figures
from governance.statistics import performance
from governance.statistics.accounting import profit_and_loss

YEAR = 252.0


def walk(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.standard_normal(n) * 0.01 + 2e-4))
    return np.repeat(rng.uniform(-1.0, 1.5, n // 5 + 1), 5)[:n], close


@given(
    arrays(np.float64, 30, elements=st.floats(-1.5, 1.5)),
    arrays(np.float64, 29, elements=st.floats(-0.6, 0.6)),
    st.integers(0, 40),
    st.floats(0, 50),
)
@example(np.full(30, 2.0), np.full(29, -0.6), 0, 0.0)
def test_agrees_with_the_ledger(
    position: np.ndarray, returns: np.ndarray, delay: int, cost_bps: float
) -> None:
    close = 100.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    index = pd.date_range("2024-01-01 21:00", periods=30, freq="D", tz="UTC")
    bars = Bars(index, close, close, close, close, np.zeros(30), "T", has_range=False)
    ledger = run_backtest(Signals(index, position), bars, cost_bps=cost_bps, delay_bars=delay)
    found = backtest_figures(
        position, close, cost_bps=cost_bps, delay_bars=delay, bars_per_year=YEAR
    )
    assert found.final_wealth == pytest.approx(ledger.equity[-1], rel=1e-9, abs=1e-12)
    peak = np.maximum.accumulate(ledger.equity)
    assert found.max_drawdown == pytest.approx((ledger.equity / peak - 1.0).min(), abs=1e-9)
    fills = [fill for fill in ledger.fills if fill.filled < index[-1]]
    assert found.changes == len(fills)
    assert found.exposure == pytest.approx(ledger.exposure[:-1].mean(), abs=1e-12)


@pytest.mark.parametrize("delay", [0, 1, 7])
def test_agrees_with_the_validators_ratios(delay: int) -> None:
    position, close = walk(20_000)
    returns = close[1:] / close[:-1] - 1.0
    own = profit_and_loss(position, returns, cost_bps=10.0, delay_bars=delay)
    found = backtest_figures(position, close, cost_bps=10.0, delay_bars=delay, bars_per_year=YEAR)
    assert found.bars == len(returns)
    assert found.sharpe == pytest.approx(performance.sharpe(own.net, YEAR), rel=1e-10)
    assert found.volatility == pytest.approx(
        performance.annual_volatility(own.net, YEAR), rel=1e-10
    )
    assert found.max_drawdown == pytest.approx(performance.max_drawdown(own.net), rel=1e-10)
    assert found.turnover == pytest.approx(
        performance.turnover_per_year(own.traded, YEAR), rel=1e-10
    )
    assert found.cost == pytest.approx(own.cost.sum(), rel=1e-10)


def test_a_small_mean_does_not_cancel_over_a_million_bars() -> None:
    rng = np.random.default_rng(3)
    returns = 1e-9 + 1e-7 * rng.standard_normal(1_000_000)
    close = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    exact = close[1:] / close[:-1] - 1.0
    found = backtest_figures(
        np.ones(len(close)), close, cost_bps=0.0, delay_bars=0, bars_per_year=YEAR
    )
    assert found.sharpe == pytest.approx(performance.sharpe(exact, YEAR), rel=1e-9)


def test_returns_that_never_vary_have_no_sharpe_ratio() -> None:
    close = np.array([100.0, 101.0, 102.0])
    found = backtest_figures(np.zeros(3), close, cost_bps=5.0, delay_bars=0, bars_per_year=YEAR)
    assert np.isnan(found.sharpe)
    assert (found.final_wealth, found.max_drawdown, found.changes) == (1.0, 0.0, 0)


@pytest.mark.parametrize("row", [0, 7, 19])
@pytest.mark.parametrize(
    ("field", "value"), [("close", 0.0), ("close", np.nan), ("close", np.inf), ("target", np.nan)]
)
def test_a_row_that_cannot_be_traded_on_is_named(field: str, value: float, row: int) -> None:
    position, close = walk(20)
    (close if field == "close" else position)[row] = value
    with pytest.raises(InputError, match=f"row {row} "):
        backtest_figures(position, close, cost_bps=1.0, delay_bars=1, bars_per_year=YEAR)


@pytest.mark.parametrize(
    "change",
    [
        {"cost_bps": -1.0},
        {"cost_bps": np.nan},
        {"delay_bars": -1},
        {"bars_per_year": 0.0},
        {"position": np.ones(3)},
        {"position": np.ones((2, 2))},
        {"position": np.ones(1), "close": np.ones(1)},
    ],
)
def test_bad_input_is_refused(change: dict[str, object]) -> None:
    given = {"position": np.ones(4), "close": np.ones(4), "cost_bps": 1.0, "delay_bars": 0}
    with pytest.raises(InputError):
        backtest_figures(**{**given, "bars_per_year": YEAR, **change})  # type: ignore[arg-type]
