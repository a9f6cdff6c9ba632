"""Subjects whose decisions hang on what should not matter, one way each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.provenance import digest, random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from tests.planted.skill import CARD

Decide = Callable[[Bars, int, int], np.ndarray]
"""From bars, seed and rows of training to positions."""


def by_seed(bars: Bars, seed: int, trained_rows: int) -> np.ndarray:
    """Spells of ten bars that the seed of the training draws."""
    drawn = random_stream(seed, "planted.fragile").integers(0, 2, len(bars) // 10 + 1)
    return np.repeat(drawn, 10)[: len(bars)].astype(float)


def by_training_end(bars: Bars, seed: int, trained_rows: int) -> np.ndarray:
    """The same, drawn by how many bars it was trained on."""
    return by_seed(bars, trained_rows, 0)


def by_last_digits(bars: Bars, seed: int, trained_rows: int) -> np.ndarray:
    """In the market where the fourth digit of the close is even."""
    return (np.floor(bars.close * 100.0) % 2 == 0).astype(float)


def by_row(bars: Bars, seed: int, trained_rows: int) -> np.ndarray:
    """In the market at every other bar, counted from the first: a lost bar turns it around."""
    return (np.arange(len(bars)) % 2).astype(float)


def always(bars: Bars, seed: int, trained_rows: int) -> np.ndarray:
    return np.ones(len(bars))


@dataclass(frozen=True)
class Fragile:
    """Decides by one of the above."""

    decide: Decide = always
    seed: int = 0
    trained_rows: int = 0
    card: ModelCard = CARD
    capabilities: frozenset[Capability] = frozenset({Capability.REFIT})

    @property
    def digest(self) -> str:
        return digest([self.decide.__name__, self.seed, self.trained_rows])

    def fit(self, bars: Bars, *, seed: int) -> Fragile:
        return replace(self, seed=seed, trained_rows=len(bars))

    def signals(self, bars: Bars) -> Signals:
        return Signals(bars.index, self.decide(bars, self.seed, self.trained_rows))
