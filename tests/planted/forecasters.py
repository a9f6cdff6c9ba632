"""Subjects that forecast the next return, rightly or wrongly as planted."""

from __future__ import annotations

import numpy as np

from benchmarks.nulls import Prepared as Forecaster
from benchmarks.nulls import Process
from benchmarks.nulls import knowing as true_forecaster

__all__ = ["Forecaster", "constant_forecaster", "true_forecaster"]


def constant_forecaster(path: Process, volatility: float = 0.01) -> Forecaster:
    """Forecasts the same every day."""
    n = len(path.returns) + 1
    return Forecaster(
        {
            "position": np.ones(n),
            "forecast_mean": np.zeros(n),
            "forecast_volatility": np.full(n, volatility),
        }
    )
