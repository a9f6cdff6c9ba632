"""Daily bars whose variance clusters, for monitors: no regimes, one law for ever."""

from __future__ import annotations

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars, Provenance


def garch_bars(seed: int, n: int, *, quiet: int = 0, factor: float = 1.0) -> Bars:
    """Bars of GARCH(1, 1) returns, 1 % a day; from row ``quiet`` on returns are scaled."""
    rng = np.random.default_rng(seed)
    shocks, moves, variance = rng.normal(size=n + 300), np.empty(n + 300), 1.0
    for t, shock in enumerate(shocks):
        moves[t] = np.sqrt(variance) * shock
        variance = 0.05 + 0.07 * moves[t] ** 2 + 0.88 * variance
    returns = 0.0003 + 0.01 * moves[300:]
    if quiet:
        returns[quiet:] *= factor
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    # Row by row from a generator of its own: the first rows do not depend on n.
    wick = np.exp(0.002 * np.abs(np.random.default_rng([seed, 1]).normal(size=(n, 2)))).T
    return Bars(
        index=pd.bdate_range("2001-01-02 21:00", periods=n, tz="UTC"),
        open=opened,
        high=np.maximum(opened, close) * wick[0],
        low=np.minimum(opened, close) / wick[1],
        close=close,
        volume=np.full(n, 1000.0),
        symbol="GARCH",
        provenance=Provenance("tests", kind="simulated", seed=seed),
    )
