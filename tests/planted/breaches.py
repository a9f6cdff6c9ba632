"""Subjects that break the contract of signals in ways that the self-test does not plant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from governance.selftest.volatility_regime import VolatilityRegime


def _altered(signals: Signals, row: int, **values: Any) -> Signals:
    """Signals with one row of some fields replaced."""
    fields = {name: getattr(signals, name).copy() for name in values}
    for name, value in values.items():
        fields[name][row] = value
    return replace(signals, **fields)


class NanProbability(VolatilityRegime):
    """One stress probability is NaN."""

    def signals(self, bars: Bars) -> Signals:
        return _altered(super().signals(bars), 71, stress_probability=np.nan)


class ImpossibleForecast(VolatilityRegime):
    """One forecast volatility is zero and one mean NaN; in the warm-up there is none."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        mean, volatility = np.zeros(len(bars)), np.full(len(bars), 0.01)
        volatility[:50] = np.nan
        volatility[70], mean[71] = 0.0, np.nan
        return replace(signals, forecast_mean=mean, forecast_volatility=volatility)


class NegativeRegime(VolatilityRegime):
    """One regime label is -1."""

    def signals(self, bars: Bars) -> Signals:
        return _altered(super().signals(bars), 80, regime=-1)


class NanLatents(VolatilityRegime):
    """One row of latents is not finite."""

    def signals(self, bars: Bars) -> Signals:
        return _altered(super().signals(bars), 81, latents=np.inf)


class NoLatents(VolatilityRegime):
    """Declares latents and gives none."""

    def signals(self, bars: Bars) -> Signals:
        return replace(super().signals(bars), latents=None)


class LatentsSometimes(VolatilityRegime):
    """Gives latents for histories with an even number of bars only."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        return signals if len(bars) % 2 == 0 else replace(signals, latents=None)


class BreaksBars(VolatilityRegime):
    """Leaves the bars it was given in a state that is not valid."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        bars.close.flags.writeable = True
        bars.close[0] = -1.0
        return signals


class ChangesItself(VolatilityRegime):
    """Forgets faster with every call."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        object.__setattr__(self, "decay", self.decay * 0.99)
        return signals


class Raises(VolatilityRegime):
    """Fails on every history."""

    def signals(self, bars: Bars) -> Signals:
        raise ZeroDivisionError("planted")


class FailsToFit(VolatilityRegime):
    """Cannot be trained."""

    def fit(self, bars: Bars, *, seed: int) -> VolatilityRegime:
        raise ValueError("planted")
