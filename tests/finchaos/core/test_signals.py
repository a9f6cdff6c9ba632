"""Forecasts in signals: carried everywhere, and absent without a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import SubjectFault
from finchaos.core.signals import Signals

INDEX = pd.date_range("2024-01-01", periods=4, tz="UTC")
PLAIN = Signals(INDEX, np.array([0.0, 1.0, 0.5, 1.0]), regime=np.array([0, 1, 0, 1]))
FORECAST = replace(
    PLAIN,
    forecast_mean=np.array([0.0, 0.1, -0.1, 0.2]),
    forecast_volatility=np.array([0.01, 0.02, 0.03, 0.04]),
)


def test_signals_without_forecasts_keep_the_digest_they_had() -> None:
    known = "6a8abd0d68cb32f46be6261d1c8c682a53ffcc0f1d2ec45e52e44861a9939394"
    assert set(PLAIN.arrays()) == {"position", "regime"}
    assert PLAIN.digest == known
    assert FORECAST.digest != known


def test_rows_streams_and_cuts_carry_them() -> None:
    again = Signals.collect([FORECAST[row] for row in range(4)])
    assert again.digest == FORECAST.digest
    assert FORECAST[2].forecast_volatility == 0.03
    assert PLAIN[2].forecast_mean is None
    assert FORECAST.rows(1, 3).forecast_mean.tolist() == [0.1, -0.1]  # type: ignore[union-attr]


def test_a_forecast_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(SubjectFault, match="forecast_volatility"):
        replace(PLAIN, forecast_volatility=np.ones(3))
