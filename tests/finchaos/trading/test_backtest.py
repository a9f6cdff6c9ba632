"""The event-loop backtest by hand, and against the validator's accounting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from finchaos.trading.backtest import run_backtest
from governance.statistics.accounting import profit_and_loss
from governance.statistics.performance import wealth


def bars_of(close: np.ndarray) -> Bars:
    index = pd.date_range("2024-01-01 21:00", periods=len(close), freq="D", tz="UTC")
    return Bars(index, close, close, close, close, np.zeros(len(close)), "T", has_range=False)


def test_golden_ledger() -> None:
    bars = bars_of(np.array([100.0, 110.0, 99.0, 118.8]))
    signals = Signals(bars.index, np.array([1.0, 0.5, 0.5, 0.0]))
    ledger = run_backtest(signals, bars, cost_bps=10, delay_bars=1, capital=1000.0)
    # Bought at 110 for 1000 at a cost of 1; 99 leaves 899; half of it is kept at a cost of
    # 0.4495; the other half gains a fifth.
    assert ledger.equity == pytest.approx([1000.0, 1000.0, 899.0, 899.0 - 0.4495 + 89.9])
    assert ledger.exposure.tolist() == [0.0, 1.0, 0.5, 0.5]
    assert ledger.costs == pytest.approx([0.0, 1.0, 0.4495, 0.0])
    assert ledger.units[1] == pytest.approx(1000 / 110)
    assert ledger.cash[1] == pytest.approx(-1.0)
    first, second = ledger.fills
    assert (first.decided, first.filled) == (bars.index[0], bars.index[1])
    assert (first.before, first.after, first.price) == (0.0, 1.0, 110.0)
    assert (second.decided, second.filled) == (bars.index[1], bars.index[2])


@given(
    arrays(np.float64, 40, elements=st.floats(-1.5, 1.5)),
    arrays(np.float64, 39, elements=st.floats(-0.15, 0.15)),
    st.integers(0, 5),
    st.floats(0, 50),
)
def test_agrees_with_the_validator(
    position: np.ndarray, returns: np.ndarray, delay: int, cost_bps: float
) -> None:
    bars = bars_of(100.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)]))
    ledger = run_backtest(Signals(bars.index, position), bars, cost_bps=cost_bps, delay_bars=delay)
    own = profit_and_loss(position, bars.returns(), cost_bps=cost_bps, delay_bars=delay)
    assert ledger.equity == pytest.approx(wealth(own.net), rel=1e-10, abs=1e-12)
    assert ledger.returns == pytest.approx(own.net, abs=1e-10)


def test_ruin_closes_the_account() -> None:
    bars = bars_of(np.array([100.0, 40.0, 80.0]))
    ledger = run_backtest(Signals(bars.index, np.full(3, 2.0)), bars, cost_bps=0, delay_bars=0)
    assert ledger.equity.tolist() == [1.0, 0.0, 0.0]
    assert ledger.returns.tolist() == [-1.0, 0.0]


def test_what_does_not_fit_is_refused() -> None:
    bars = bars_of(np.array([100.0, 101.0]))
    signals = Signals(bars.index, np.ones(2))
    for options in ({"cost_bps": -1}, {"delay_bars": -1}, {"capital": 0}):
        with pytest.raises(InputError):
            run_backtest(signals, bars, **{"cost_bps": 1, "delay_bars": 1, **options})
    with pytest.raises(InputError, match="time stamps"):
        run_backtest(signals.rows(0, 1), bars, cost_bps=1, delay_bars=1)
