"""Subjects whose decisions hang on what should not matter, one way each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.hyper_parameters import HyperParameterFields
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


TUNED_WINDOW = 20


@dataclass(frozen=True, eq=False)
class Tuned(HyperParameterFields):
    """Follows a script where its window is the one it was tuned to, and spells of chance elsewhere.

    Gain changes nothing; it must be below 2, below 1 it is refused in training, and between 1.3 and
    1.5 it breaks training.
    """

    hyper_fields: ClassVar[tuple[str, ...]] = ("window", "offset", "gain")
    script: np.ndarray = field(default_factory=lambda: np.ones(0))
    window: int = TUNED_WINDOW
    offset: float = 0.0
    gain: float = 1.0
    card: ModelCard = CARD
    capabilities: frozenset[Capability] = frozenset({Capability.REFIT, Capability.HYPER_PARAMETERS})

    def with_hyper_parameters(self, changed: Mapping[str, int | float]) -> Tuned:
        if changed.get("gain", 0.0) >= 2.0:
            raise InputError("a gain below two is needed", got=str(changed["gain"]))
        return replace(self, **changed)  # type: ignore[arg-type]

    @property
    def digest(self) -> str:
        return digest(["tuned", self.window, self.offset, self.gain])

    def fit(self, bars: Bars, *, seed: int) -> Tuned:
        if self.gain < 1.0:
            raise DataError("such a gain cannot be trained", got=str(self.gain))
        if 1.3 < self.gain < 1.5:
            raise ZeroDivisionError("a gain that breaks training")
        return self

    def signals(self, bars: Bars) -> Signals:
        if self.window == TUNED_WINDOW:
            return Signals(bars.index, self.script[: len(bars)])
        return Signals(bars.index, by_seed(bars, self.window, 0))
