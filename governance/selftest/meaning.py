"""Defects of regimes whose names mean nothing, or not what they meant before a refit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Subject
from governance.selftest.planted import Behaviour, Defect, Planted

_FAMILY = "regimes"
_EARLY = 750
"""Trainings on more bars than this come after a refit."""
Spoil = Callable[[Signals, int], Signals]


@dataclass(frozen=True, eq=False)
class Renamed(Planted):
    """Answers soundly and then spoils the names of its regimes; positions stay."""

    spoil: Spoil = lambda signals, trained: signals
    trained: int = 0

    def fit(self, bars: Bars, *, seed: int) -> Renamed:
        """Train soundly, and know on how much."""
        return replace(self, base=self.base.fit(bars, seed=seed), trained=len(bars))

    def signals(self, bars: Bars) -> Signals:
        """Answer with spoilt names."""
        return self.spoil(self.base.signals(bars), self.trained)


@dataclass(frozen=True)
class Naming(Defect):
    """A defect of the names of regimes; it can be planted where there are some."""

    spoil: Spoil = lambda signals, trained: signals

    def fits(self, base: Subject) -> bool:
        """Whether the subject has what the defect spoils."""
        return Capability.REGIMES in base.capabilities

    def plant(self, base: Subject) -> Subject:
        """The subject with this defect."""
        return Renamed(base, self.name, Behaviour(), spoil=self.spoil)


def _named(signals: Signals, stressed: np.ndarray, probability: np.ndarray) -> Signals:
    return replace(signals, regime=stressed.astype(np.int64), stress_probability=probability)


def _swapped(signals: Signals, trained: int) -> Signals:
    regime, probability = signals.regime, signals.stress_probability
    assert regime is not None  # noqa: S101  (declared by the capability)
    assert probability is not None  # noqa: S101
    return _named(signals, 1 - np.minimum(regime, 1), 1.0 - probability)


def _swapped_by_refit(signals: Signals, trained: int) -> Signals:
    return _swapped(signals, trained) if trained > _EARLY else signals


def _constant(signals: Signals, trained: int) -> Signals:
    calm = np.zeros(len(signals))
    return _named(signals, calm, calm)


def _by_row(signals: Signals, trained: int) -> Signals:
    stressed = (np.arange(len(signals)) // 50) % 2
    return _named(signals, stressed, stressed.astype(float))


DEFECTS: tuple[Naming, ...] = (
    Naming("names_swapped_by_refit", _FAMILY, "After a refit the calm regime is called stressed",
           spoil=_swapped_by_refit),
    Naming("names_swapped", _FAMILY, "The calm regime is called stressed", spoil=_swapped),
    Naming("one_regime", _FAMILY, "Every bar is called calm", spoil=_constant),
    Naming("regimes_by_row", _FAMILY, "The number of the row decides the regime", spoil=_by_row),
)  # fmt: skip
