"""Defects of the state that a model carries: shared, kept, cut into chunks, or without bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Subject
from governance.selftest.planted import Defect, stateless
from governance.selftest.serving import Opening, Served

_FAMILY = "state"
_CHUNK = 300


@dataclass(frozen=True)
class Carrying(Defect):
    """A defect of states; it can be planted where there are streams and latents."""

    opening: Callable[[], Opening] = field(default=lambda: lambda sound, warmup: sound.open(warmup))

    def fits(self, base: Subject) -> bool:
        """Whether the subject has what the defect spoils."""
        return {Capability.STREAMING, Capability.LATENTS} <= base.capabilities

    def plant(self, base: Subject) -> Any:
        """The subject with this defect."""
        return Served(base, self.name, self.make(), opening=self.opening())


def _shared() -> Opening:
    """Whoever opens a stream gets the one that is there."""
    opened: dict[int, Any] = {}

    def opening(sound: Any, warmup: Bars | None) -> Any:
        if id(sound) not in opened:
            opened[id(sound)] = sound.open(warmup)
        return opened[id(sound)]

    return opening


def _kept() -> Opening:
    """A stream is not told its warm-up once another has been opened before it."""
    opened: list[int] = []

    def opening(sound: Any, warmup: Bars | None) -> Any:
        opened.append(1)
        return sound.open(warmup if len(opened) == 1 else None)

    return opening


def _in_chunks(base: Subject, bars: Bars) -> Signals:
    parts = [
        base.signals(bars.rows(first, first + _CHUNK)) for first in range(0, len(bars), _CHUNK)
    ]
    arrays = {
        name: np.concatenate([part.arrays()[name] for part in parts]) for name in parts[0].arrays()
    }
    return Signals(bars.index, **arrays)


def _growing(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    growth = np.exp(0.05 * np.arange(len(bars)))[:, None]
    return replace(signals, latents=_latents(signals) * np.minimum(growth, 1e290))


def _overflowing(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    with np.errstate(over="ignore"):
        half = (3e4 * np.cumsum(_latents(signals), axis=0)).astype(np.float16)
    return replace(signals, latents=half.astype(float))


def _latents(signals: Signals) -> np.ndarray:
    assert signals.latents is not None  # noqa: S101  (declared by the capability)
    return signals.latents


DEFECTS: tuple[Carrying, ...] = (
    Carrying("shared_state", _FAMILY, "All streams are one", opening=_shared),
    Carrying("state_of_the_first", _FAMILY, "Only the first stream is warmed up", opening=_kept),
    Carrying("cut_into_chunks", _FAMILY, "The state is lost every 300 bars",
             make=stateless(_in_chunks)),
    Carrying("unstable", _FAMILY, "Latents grow without bound", make=stateless(_growing)),
    Carrying("half_overflow", _FAMILY, "Latents overflow half precision",
             make=stateless(_overflowing)),
)  # fmt: skip
