"""Interval of a Sharpe ratio by the stationary bootstrap, against the package ``arch``."""

from __future__ import annotations

import numpy as np
from arch.bootstrap import StationaryBootstrap

from benchmarks.compare import Comparison, compare
from finchaos.core.provenance import random_stream
from governance.statistics.resampling import Bootstrap

DAYS, DRAWS, BLOCK = 5_000, 1_000, 60


def daily_returns() -> np.ndarray:
    """Fat-tailed, shape (DAYS,)."""
    return random_stream(1, "benchmark/bootstrap").standard_t(4, DAYS) * 0.01 + 0.0004


def by_arch(returns: np.ndarray) -> tuple[float, float]:
    """The peer's interval."""
    low, high = StationaryBootstrap(BLOCK, returns, seed=1).conf_int(
        _sharpe, reps=DRAWS, method="percentile"
    )
    return float(low[0]), float(high[0])


def _sharpe(returns: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = returns.mean(axis=-1) / returns.std(axis=-1, ddof=1) * np.sqrt(252.0)
    return ratio


def sharpe_interval(rounds: int) -> Comparison:
    """One thousand draws over five thousand days; refuses to time answers that disagree."""
    returns = daily_returns()

    def ours() -> tuple[float, float]:
        found = Bootstrap(block=BLOCK, draws=DRAWS).intervals(
            {"sharpe": lambda columns: _sharpe(columns["r"])},
            {"r": returns},
            random_stream(1, "benchmark/draws"),
        )["sharpe"]
        if found is None:
            raise RuntimeError("the interval is undefined")
        return found.low, found.high

    def theirs() -> tuple[float, float]:
        return by_arch(returns)

    if not np.allclose(ours(), theirs(), atol=0.1):
        raise RuntimeError(f"ours {ours()} and the peer's {theirs()} disagree")
    work = f"Sharpe interval, {DAYS} days, {DRAWS} draws"
    return compare(work, "arch StationaryBootstrap", ours, theirs, rounds)
