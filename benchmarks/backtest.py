"""A backtest of a million bars against vectorbt and plain pandas."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pandas as pd

from benchmarks.compare import Comparison, compare
from benchmarks.comparisons import table
from benchmarks.report import Options, Report, Table
from finchaos.core.provenance import random_stream
from finchaos.trading.figures import Figures, backtest_figures

BARS, SPELL = 1_000_000, 50
COST_BPS = 10.0
WORK = f"wealth, drawdown and Sharpe ratio of {BARS} bars"
ABSENT = (
    "vectorbt is not installed, and no dependency of finchaos: its licence (Apache-2.0 with the "
    "Commons Clause) is not an open one. pip install vectorbt measures it."
)
Triple = tuple[float, float, float]


def run(options: Options) -> Report:
    """In or out of the market for spells of fifty bars, filled one bar late, at 10 basis points."""
    target, close = _market()

    def ours() -> Figures:
        return backtest_figures(target, close, cost_bps=COST_BPS, delay_bars=1, bars_per_year=252.0)

    peers: dict[str, Callable[[], Triple]] = {"pandas": lambda: _pandas(target, close)}
    notes = ["Costs are 10 basis points a change, orders are filled one bar late."]
    if find_spec("vectorbt") is None:
        notes.append(ABSENT)
    else:
        peers["vectorbt, from_orders and three figures"] = lambda: _vectorbt(target, close)
    found = [_compared(name, ours, peer, options.protocol.rounds) for name, peer in peers.items()]
    rows = table("Backtest", found)
    return Report("backtest", (Table(rows.title, rows.columns, rows.rows, tuple(notes)),))


def _compared(
    name: str, ours: Callable[[], Figures], peer: Callable[[], Triple], rounds: int
) -> Comparison:
    """Timed only if the figures agree: a peer may charge the second order of the costs."""
    own, other = ours(), peer()
    second_order = own.changes * (COST_BPS / 1e4) ** 2
    for ours_is, theirs_is in zip(
        (own.final_wealth, 1.0 + own.max_drawdown, own.sharpe), other, strict=True
    ):
        if not np.isclose(ours_is, theirs_is, rtol=1e-6 + 2.0 * second_order):
            raise RuntimeError(f"{name} gives {other}, ours {own}")
    return compare(WORK, name, ours, peer, rounds)


def _market() -> tuple[np.ndarray, np.ndarray]:
    rng = random_stream(1, "benchmark/backtest")
    close = 100.0 * np.exp(np.cumsum(1e-3 * rng.standard_normal(BARS)))
    return np.repeat(rng.random(BARS // SPELL) < 0.6, SPELL).astype(np.float64), close


def _pandas(target: np.ndarray, close: np.ndarray) -> Triple:
    held = pd.Series(target).shift(1, fill_value=0.0)
    net = held.shift(1, fill_value=0.0) * pd.Series(close).pct_change().fillna(0.0)
    net -= held.diff().fillna(0.0).abs().shift(1, fill_value=0.0) * (COST_BPS / 1e4)
    value = (1.0 + net).cumprod()
    fall = value / value.cummax() - 1.0
    net = net.iloc[1:]
    return (
        float(value.iloc[-1]),
        float(1.0 + fall.min()),
        float(net.mean() / net.std() * np.sqrt(252.0)),
    )


def _vectorbt(target: np.ndarray, close: np.ndarray) -> Triple:
    import vectorbt

    held = np.concatenate([[0.0], target[:-1]])
    order = np.where(np.diff(held, prepend=0.0) != 0.0, held, np.nan)
    account = vectorbt.Portfolio.from_orders(
        close, order, size_type="targetpercent", fees=COST_BPS / 1e4, freq="1D"
    )
    # Days make a year of 365 there.
    return (
        1.0 + float(account.total_return()),
        1.0 + float(account.max_drawdown()),
        float(account.sharpe_ratio()) * float(np.sqrt(252.0 / 365.0)),
    )
