"""Subjects that break the contract of signals, one way each."""

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


class NanPosition(VolatilityRegime):
    """One position is NaN."""

    def signals(self, bars: Bars) -> Signals:
        return _altered(super().signals(bars), 100, position=np.nan)


class RowsMissing(VolatilityRegime):
    """The last two bars get no answer."""

    def signals(self, bars: Bars) -> Signals:
        return super().signals(bars).rows(0, len(bars) - 2)


class ShiftedStamps(VolatilityRegime):
    """Every signal is stamped a day late."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        return replace(signals, index=signals.index.shift(1, freq="D"))


class Leveraged(VolatilityRegime):
    """One position is twice the declared limit."""

    def signals(self, bars: Bars) -> Signals:
        return _altered(super().signals(bars), 101, position=2.0)


class EarlyPosition(VolatilityRegime):
    """One position is held during the warm-up."""

    def signals(self, bars: Bars) -> Signals:
        return _altered(super().signals(bars), 10, position=0.5)


class ImpossibleProbability(VolatilityRegime):
    """One stress probability is 1.2 and one NaN."""

    def signals(self, bars: Bars) -> Signals:
        once = _altered(super().signals(bars), 70, stress_probability=1.2)
        return _altered(once, 71, stress_probability=np.nan)


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


class PositionWhileTripped(VolatilityRegime):
    """Two rows claim a latched switch and hold a position."""

    def signals(self, bars: Bars) -> Signals:
        once = _altered(super().signals(bars), 90, position=0.7, tripped=True)
        return _altered(once, 91, position=0.7, tripped=True)


class NoLatents(VolatilityRegime):
    """Declares latents and gives none."""

    def signals(self, bars: Bars) -> Signals:
        return replace(super().signals(bars), latents=None)


class LatentsSometimes(VolatilityRegime):
    """Gives latents for histories with an even number of bars only."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        return signals if len(bars) % 2 == 0 else replace(signals, latents=None)


class ChangesBars(VolatilityRegime):
    """Writes to the closes it was given."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        bars.close.flags.writeable = True
        bars.close[0] *= 1.0001
        return signals


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


class RaisesOnLongHistories(VolatilityRegime):
    """Fails beyond 650 bars."""

    def signals(self, bars: Bars) -> Signals:
        if len(bars) > 650:
            raise MemoryError("planted")
        return super().signals(bars)


class FailsToFit(VolatilityRegime):
    """Cannot be trained."""

    def fit(self, bars: Bars, *, seed: int) -> VolatilityRegime:
        raise ValueError("planted")


class ReturnsArray(VolatilityRegime):
    """Answers with a bare array."""

    def signals(self, bars: Bars) -> Any:
        return super().signals(bars).position
