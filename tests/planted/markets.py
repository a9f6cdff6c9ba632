"""Simulated markets whose volatility regime is known at every bar."""

from __future__ import annotations

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars, Provenance
from finchaos.core.provenance import random_stream

BARS_PER_YEAR = 252
CALM, STRESSED = 0, 1
VOL_ANNUAL = (0.10, 0.35)
DRIFT_ANNUAL = (0.12, -0.25)
MEAN_DURATION_BARS = (220.0, 60.0)


def labels(seed: int, n: int = 1500) -> np.ndarray:
    """True regime at each bar of :func:`regime_switching_bars`, shape (n,): 0 calm, 1 stressed."""
    rng = random_stream(seed, "planted.markets.labels")
    path = np.empty(n, dtype=np.int64)
    state, row = CALM, 0
    while row < n:
        stay = int(rng.geometric(1.0 / MEAN_DURATION_BARS[state]))
        path[row : row + stay] = state
        state, row = 1 - state, row + stay
    return path


def regime_switching_bars(seed: int, n: int = 1500) -> Bars:
    """Daily bars of a two-regime log-normal market, closes at 21:00 UTC on weekdays.

    Parameters
    ----------
    seed : int
        The same seed gives the same bars.
    n : int
        Number of bars; the first rows do not depend on it.

    Returns
    -------
    Bars
        Lows and highs are drawn from the exact law of the extremes of a Brownian bridge between
        open and close; volume rises with volatility.
    """
    regime = labels(seed, n)
    # One column each: overnight gap, day's move, two bridge extremes, volume.
    noise = random_stream(seed, "planted.markets.noise").random((n, 5))
    normal = _normal(noise[:, [0, 1, 4]])
    sigma = np.take(VOL_ANNUAL, regime) / np.sqrt(BARS_PER_YEAR)
    gap = 0.2 * sigma * normal[:, 0]
    move = np.take(DRIFT_ANNUAL, regime) / BARS_PER_YEAR + sigma * normal[:, 1]
    log_close = np.log(100.0) + np.cumsum(gap + move)
    log_open = log_close - move
    high = _bridge_maximum(log_open, log_close, sigma, noise[:, 2])
    low = -_bridge_maximum(-log_open, -log_close, sigma, noise[:, 3])
    prices = np.exp(np.stack([log_open, high, low, log_close]))
    volume = np.round(1e6 * np.exp(0.3 * normal[:, 2]) * np.sqrt(sigma / sigma.min()))
    return Bars(
        index=pd.bdate_range("2001-01-02 21:00", periods=n, tz="UTC", normalize=False),
        open=prices[0],
        high=np.maximum(prices[1], np.maximum(prices[0], prices[3])),
        low=np.minimum(prices[2], np.minimum(prices[0], prices[3])),
        close=prices[3],
        volume=volume,
        symbol="PLANTED",
        bars_per_year=float(BARS_PER_YEAR),
        provenance=Provenance("two-regime log-normal simulator", kind="simulated", seed=seed),
    )


def _normal(uniform: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri

    return ndtri(np.clip(uniform, 1e-12, 1 - 1e-12))


def _bridge_maximum(
    start: np.ndarray, end: np.ndarray, sigma: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """Maximum of a Brownian bridge, by inversion of its distribution."""
    spread = np.sqrt((end - start) ** 2 - 2.0 * sigma**2 * np.log1p(-uniform))
    return 0.5 * (start + end + spread)
