"""Forecasts that anybody can make: what a model's forecast is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.signal import lfilter

from finchaos.core.bars import Bars
from finchaos.core.provenance import digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard

_WARMUP = 60


@dataclass(frozen=True)
class ConstantLaw:
    """One state: the law of the next return is that of all training returns."""

    card: ClassVar[ModelCard] = ModelCard(name="constant law", version="1")
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    @property
    def digest(self) -> str:
        """SHA-256 of its name: there is nothing else."""
        return digest({"benchmark": "constant_law"})

    def fit(self, bars: Bars, *, seed: int) -> ConstantLaw:
        """Itself: the law is taken from the training rows where it is used."""
        return self

    def signals(self, bars: Bars) -> Signals:
        """In the market, one regime."""
        return Signals(bars.index, np.ones(len(bars)), regime=np.zeros(len(bars), dtype=np.int64))


@dataclass(frozen=True)
class SmoothedVolatility:
    """Exponentially weighted mean of squared returns.

    Parameters
    ----------
    decay : float
        Weight of the past a bar.

    References
    ----------
    J.P. Morgan, RiskMetrics technical document (1996), section 5.2, for 0.94 of daily returns.
    """

    decay: float = 0.94

    card: ClassVar[ModelCard] = ModelCard(
        name="smoothed volatility", version="1", warmup_bars=_WARMUP
    )
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    @property
    def digest(self) -> str:
        """SHA-256 of its name and decay."""
        return digest({"benchmark": "smoothed_volatility", "decay": self.decay})

    def fit(self, bars: Bars, *, seed: int) -> SmoothedVolatility:
        """Itself: nothing is estimated."""
        return self

    def signals(self, bars: Bars) -> Signals:
        """In the market after the warm-up, with volatility from returns up to each bar."""
        squares = np.concatenate([[0.0], bars.returns() ** 2])
        weighed = lfilter([1.0 - self.decay], [1.0, -self.decay], squares)
        # Divided by the weights seen so far: a start at zero must not look like calm.
        seen = 1.0 - self.decay ** np.arange(len(squares))
        variance = np.divide(weighed, seen, out=np.zeros_like(weighed), where=seen > 0.0)
        position = (np.arange(len(bars)) >= _WARMUP).astype(np.float64)
        floor = np.finfo(np.float64).tiny ** 0.25
        return Signals(
            bars.index, position, forecast_volatility=np.maximum(np.sqrt(variance), floor)
        )
