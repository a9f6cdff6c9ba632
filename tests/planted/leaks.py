"""Subjects that know the future, one way each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from governance.selftest.volatility_regime import VolatilityRegime


def _next(values: np.ndarray) -> np.ndarray:
    """Each row's successor; the last row, which has none, keeps its own value."""
    return np.append(values[1:], values[-1])


def _flat_where(signals: Signals, flat: np.ndarray) -> Signals:
    return replace(signals, position=np.where(flat, 0.0, signals.position))


class LookAhead(VolatilityRegime):
    """Flat before every falling bar."""

    def signals(self, bars: Bars) -> Signals:
        return _flat_where(super().signals(bars), _next(bars.close) < bars.close)


class LookAheadOnFridays(VolatilityRegime):
    """Flat before every falling Monday, causal otherwise."""

    def signals(self, bars: Bars) -> Signals:
        falls = _next(bars.close) < bars.close
        return _flat_where(super().signals(bars), falls & (bars.index.day_of_week == 4))


class LookAheadOnCrashes(VolatilityRegime):
    """Flat before the rare bars that fall by more than 5 %, causal otherwise."""

    def signals(self, bars: Bars) -> Signals:
        return _flat_where(super().signals(bars), _next(bars.close) < 0.95 * bars.close)


class LookAheadOnVolume(VolatilityRegime):
    """Flat before bars of falling volume."""

    def signals(self, bars: Bars) -> Signals:
        return _flat_where(super().signals(bars), _next(bars.volume) < bars.volume)


class LookAheadOnRange(VolatilityRegime):
    """Flat before bars of a rising high-low range."""

    def signals(self, bars: Bars) -> Signals:
        spread = bars.high / bars.low
        return _flat_where(super().signals(bars), _next(spread) > spread)


class CentredSmoothing(VolatilityRegime):
    """Stress probability smoothed over five bars before and five after."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        assert signals.stress_probability is not None
        padded = np.pad(signals.stress_probability, 5, mode="edge")
        smooth = np.convolve(padded, np.full(11, 1 / 11), mode="valid")
        return replace(signals, stress_probability=np.clip(smooth, 0.0, 1.0))


class FullSampleScaler(VolatilityRegime):
    """Latents standardised by the mean and deviation of the whole history."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        assert signals.latents is not None
        scaled = (signals.latents - signals.latents.mean(axis=0)) / signals.latents.std(axis=0)
        return replace(signals, latents=scaled)


class KnowsTheEnd(VolatilityRegime):
    """Latents that say how many bars are still to come, whatever these bars are."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        remaining = np.arange(len(bars), 0.0, -1.0)
        return replace(signals, latents=remaining[:, None])


class RemembersHistories(VolatilityRegime):
    """Trains on the longest history any instance has ever been shown."""

    longest: ClassVar[list[Bars]] = []

    @classmethod
    def forget(cls) -> None:
        """Start anew."""
        cls.longest.clear()

    def _remember(self, bars: Bars) -> Bars:
        if not self.longest or len(bars) > len(self.longest[0]):
            self.longest[:] = [bars]
        return self.longest[0]

    def fit(self, bars: Bars, *, seed: int) -> VolatilityRegime:
        return super().fit(self._remember(bars), seed=seed)

    def signals(self, bars: Bars) -> Signals:
        self._remember(bars)
        return super().signals(bars)


@dataclass(frozen=True)
class LooksUpByDate(VolatilityRegime):
    """Trains on its own copy of the market, a year beyond the training window."""

    panel: Bars | None = None

    def _settings(self) -> dict[str, object]:
        settings = super()._settings()
        return {**settings, "panel": self.panel.digest if self.panel else ""}

    def fit(self, bars: Bars, *, seed: int) -> VolatilityRegime:
        assert self.panel is not None
        end = bars.index[-1] + np.timedelta64(365, "D")
        known = self.panel.between(bars.index[0], end)
        return super().fit(known if len(known) > len(bars) else bars, seed=seed)


class LooksUpSignals(VolatilityRegime):
    """Flat in a summer that its developer knew to be bad."""

    def signals(self, bars: Bars) -> Signals:
        bad = (bars.index.year == 2002) & np.isin(bars.index.month, [6, 7, 8])
        return _flat_where(super().signals(bars), np.asarray(bad))


@dataclass(frozen=True)
class LooksUpByClose(VolatilityRegime):
    """Flat before every falling bar of its own copy of the market, found by the current close.

    With ``or_date`` it looks up the date where no close matches. Causal where nothing matches.
    """

    panel: Bars | None = None
    or_date: bool = False

    def _settings(self) -> dict[str, object]:
        settings = super()._settings()
        return {**settings, "panel": self.panel.digest if self.panel else ""}

    def signals(self, bars: Bars) -> Signals:
        assert self.panel is not None
        falls = _next(self.panel.close) < self.panel.close
        known = dict(zip(self.panel.close.tolist(), falls.tolist(), strict=True))
        dated = dict(zip(self.panel.index, falls.tolist(), strict=True)) if self.or_date else {}
        flat = [
            known.get(close, dated.get(stamp, False))
            for stamp, close in zip(bars.index, bars.close.tolist(), strict=True)
        ]
        return _flat_where(super().signals(bars), np.array(flat))


class ReadsThePriceLevel(VolatilityRegime):
    """Flat while the close is above 100, knowing nothing of the future."""

    def signals(self, bars: Bars) -> Signals:
        return _flat_where(super().signals(bars), bars.close > 100.0)


class RefusesJumps(VolatilityRegime):
    """Raises on any return beyond 50 % instead of answering."""

    def signals(self, bars: Bars) -> Signals:
        if (np.abs(np.diff(np.log(bars.close))) > 0.5).any():
            raise ValueError("planted")
        return super().signals(bars)


class Unsteady(VolatilityRegime):
    """Never says the same twice, knowing nothing of the future."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        jitter = np.random.default_rng().random(len(bars))
        return replace(signals, latents=jitter[:, None])
