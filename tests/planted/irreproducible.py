"""Subjects that do not say the same again, one way each, and that can be stored and streamed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.files import write_atomic
from finchaos.core.signals import Signals
from governance.selftest.volatility_regime import Fitted, VolatilityRegime, VolatilityStream


class UnseededFit(VolatilityRegime):
    """Training adds noise that no seed controls."""

    def fit(self, bars: Bars, *, seed: int) -> VolatilityRegime:
        fitted = super().fit(bars, seed=seed)
        factor = 1.0 + 0.1 * np.random.default_rng().random()
        threshold = fitted.fitted.vol_threshold * factor
        return replace(fitted, fitted=replace(fitted.fitted, vol_threshold=threshold))


class RestlessSignals(VolatilityRegime):
    """The first position after the warm-up is drawn anew at each call."""

    def signals(self, bars: Bars) -> Signals:
        signals = super().signals(bars)
        position = signals.position.copy()
        position[self.card.warmup_bars] = np.random.default_rng().random()
        return replace(signals, position=position)


class StreamsDifferently(VolatilityRegime):
    """Streams forget faster than the batch does."""

    def open(self, warmup: Bars | None = None) -> VolatilityStream:
        return super(StreamsDifferently, replace(self, decay=0.9)).open(warmup)


class LosesTraining(VolatilityRegime):
    """What training determined is lost on loading."""

    @classmethod
    def load(cls, folder: Path) -> VolatilityRegime:
        return replace(super().load(folder), fitted=Fitted())


class PointsBack(VolatilityRegime):
    """The saved folder only points at where it was saved."""

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_atomic(folder / "where.txt", str(folder).encode())

    @classmethod
    def load(cls, folder: Path) -> Any:
        return super().load(Path((folder / "where.txt").read_text()))
