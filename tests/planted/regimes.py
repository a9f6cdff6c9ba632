"""Regimes that lose their meaning, one way each, in a sound volatility threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.provenance import digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from governance.challengers.volatility_threshold import VolatilityThreshold

Spoil = Callable[[Signals, int], Signals]


def _with(signals: Signals, regime: np.ndarray) -> Signals:
    return replace(signals, regime=regime, stress_probability=regime.astype(float))


def sound(signals: Signals, trained_rows: int) -> Signals:
    return signals


def swapped_after_refits(signals: Signals, trained_rows: int) -> Signals:
    """Models trained on more than a thousand bars call the calm regime stressed."""
    assert signals.regime is not None
    return _with(signals, 1 - signals.regime) if trained_rows > 1000 else signals


def always_swapped(signals: Signals, trained_rows: int) -> Signals:
    assert signals.regime is not None
    return _with(signals, 1 - signals.regime)


def flickering(signals: Signals, trained_rows: int) -> Signals:
    """Every other bar of stress is called calm."""
    assert signals.regime is not None
    return _with(signals, signals.regime * (np.arange(len(signals)) % 2))


def constant(signals: Signals, trained_rows: int) -> Signals:
    assert signals.regime is not None
    return _with(signals, np.zeros(len(signals), dtype=np.int64))


def unrelated(signals: Signals, trained_rows: int) -> Signals:
    """Spells of fifty bars whose order each training draws anew."""
    rng = np.random.default_rng(trained_rows)
    drawn = np.repeat(rng.integers(0, 2, len(signals) // 50 + 1), 50)[: len(signals)]
    return _with(signals, drawn)


@dataclass(frozen=True)
class Spoilt:
    """A volatility threshold whose labels are spoilt; positions stay."""

    spoil: Spoil = sound
    base: VolatilityThreshold = field(default_factory=VolatilityThreshold)
    trained_rows: int = 0
    capabilities: frozenset[Capability] = frozenset({Capability.REFIT, Capability.REGIMES})

    @property
    def card(self) -> ModelCard:
        return self.base.card

    @property
    def digest(self) -> str:
        return digest([self.base.digest, self.spoil.__name__, self.trained_rows])

    def fit(self, bars: Bars, *, seed: int) -> Spoilt:
        return replace(self, base=self.base.fit(bars, seed=seed), trained_rows=len(bars))

    def signals(self, bars: Bars) -> Signals:
        return self.spoil(self.base.signals(bars), self.trained_rows)
