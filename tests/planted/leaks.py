"""Subjects that know the future from a copy of the market of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from governance.selftest.volatility_regime import VolatilityRegime


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
        falls = np.append(np.diff(self.panel.close) < 0.0, False)
        known = dict(zip(self.panel.close.tolist(), falls.tolist(), strict=True))
        dated = dict(zip(self.panel.index, falls.tolist(), strict=True)) if self.or_date else {}
        flat = [
            known.get(close, dated.get(stamp, False))
            for stamp, close in zip(bars.index, bars.close.tolist(), strict=True)
        ]
        signals = super().signals(bars)
        return replace(signals, position=np.where(flat, 0.0, signals.position))
