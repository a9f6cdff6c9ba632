"""Challenger: hold the market all the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.provenance import digest
from finchaos.core.signals import Signal, Signals
from finchaos.core.subject import Capability, ModelCard


@dataclass(frozen=True)
class BuyAndHold:
    """Position 1 at every bar: what not having a model earns.

    Examples
    --------
    >>> sorted(BuyAndHold().capabilities)
    [<Capability.STREAMING: 'streaming'>]
    """

    card: ClassVar[ModelCard] = ModelCard(
        name="buy and hold",
        version="1",
        purpose="Challenger: the market itself",
        intended_use="Comparison in validations",
        owner="finchaos",
        developer="finchaos",
        limitations=("Takes every fall of the market in full",),
        materiality="low",
    )
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.STREAMING})

    @property
    def digest(self) -> str:
        """SHA-256 of its name and version: there is nothing else to it."""
        return digest({"challenger": "buy_and_hold", "version": self.card.version})

    def fit(self, bars: Bars, *, seed: int) -> BuyAndHold:
        """Itself: there is nothing to train."""
        return self

    def signals(self, bars: Bars) -> Signals:
        """Position 1 at every bar."""
        return Signals(bars.index, np.ones(len(bars)))

    def open(self, warmup: Bars | None = None) -> _Holding:
        """A session; the past does not matter to it."""
        return _Holding()


class _Holding:
    def step(self, bar: Bar) -> Signal:
        """Hold."""
        return Signal(bar.ts, 1.0)
