"""Defects of kill switches: streams whose latch, guard or heartbeat is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bar, Bars
from finchaos.core.signals import Signal
from finchaos.core.subject import Capability, Subject
from governance.selftest.planted import Behaviour, Defect
from governance.selftest.serving import Served

_FAMILY = "kill switch"


class Wrapped:
    """A sound stream with a switch, step by step; defects override what they spoil."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def tripped(self) -> bool:
        """Whether the latch is set."""
        return bool(self.inner.tripped)

    @property
    def trip_reason(self) -> str:
        """Why."""
        return str(self.inner.trip_reason)

    def step(self, bar: Bar) -> Signal:
        """Take the next bar."""
        signal: Signal = self.inner.step(bar)
        return signal

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        """Take the time."""
        signal: Signal | None = self.inner.heartbeat(now)
        return signal

    def rearm(self, person: str) -> None:
        """Clear the latch."""
        self.inner.rearm(person)


class NonLatching(Wrapped):
    """Armed again at every bar."""

    def step(self, bar: Bar) -> Signal:
        if self.inner.tripped:
            self.inner.rearm("nobody, really")
        return super().step(bar)


class SelfRearming(Wrapped):
    """Armed again thirty bars after a trip."""

    latched_bars = 0

    def step(self, bar: Bar) -> Signal:
        self.latched_bars = self.latched_bars + 1 if self.tripped else 0
        if self.latched_bars > 30:
            self.inner.rearm("nobody, really")
        return super().step(bar)


class ClearedByHeartbeat(Wrapped):
    """Any heartbeat clears the latch."""

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        if self.inner.tripped:
            self.inner.rearm("nobody, really")
        return super().heartbeat(now)


class SkipsUnreadable(Wrapped):
    """Skips bars it cannot read and keeps its position."""

    held: float = 0.0

    def step(self, bar: Bar) -> Signal:
        if not _readable(bar):
            return Signal(bar.ts, self.held, tripped=self.tripped)
        signal = super().step(bar)
        self.held = signal.position
        return signal


class PassesNanOn(Wrapped):
    """Answers a bar it cannot read with a position that is no number."""

    def step(self, bar: Bar) -> Signal:
        signal = super().step(bar)
        return signal if _readable(bar) else replace(signal, position=float("nan"))


class Raising(Wrapped):
    """Raises on a bar it cannot read, without tripping."""

    def step(self, bar: Bar) -> Signal:
        if not _readable(bar):
            raise ValueError("planted")
        return super().step(bar)


class KeepsPosition(Wrapped):
    """Trips and holds half of its capital all the same."""

    def step(self, bar: Bar) -> Signal:
        signal = super().step(bar)
        return replace(signal, position=0.5) if self.tripped else signal


class DeafToSilence(Wrapped):
    """Heartbeats mean nothing to it."""

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        return None


class Late(Wrapped):
    """Says so, and goes flat, three bars after it saw a fault."""

    since = 0
    held: float = 0.0

    @property
    def tripped(self) -> bool:
        return bool(self.inner.tripped) and self.since > 3

    @property
    def trip_reason(self) -> str:
        return str(self.inner.trip_reason) if self.tripped else ""

    def step(self, bar: Bar) -> Signal:
        signal = super().step(bar)
        self.since = self.since + 1 if self.inner.tripped else 0
        if not self.inner.tripped:
            self.held = signal.position
        if self.inner.tripped and not self.tripped:
            return replace(signal, position=self.held, tripped=False)
        return replace(signal, tripped=self.tripped)


class Dead(Wrapped):
    """Never trips: the guard is there and its word goes nowhere."""

    held: float = 0.0

    @property
    def tripped(self) -> bool:
        return False

    @property
    def trip_reason(self) -> str:
        return ""

    def step(self, bar: Bar) -> Signal:
        signal = super().step(bar)
        self.held = self.held if self.inner.tripped else signal.position
        return replace(signal, position=self.held, tripped=False)

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        return None


class Inverted(Wrapped):
    """Says armed when it is latched, and latched when it is armed."""

    @property
    def tripped(self) -> bool:
        return not self.inner.tripped

    def step(self, bar: Bar) -> Signal:
        return replace(super().step(bar), tripped=self.tripped)


class AnybodyMayRearm(Wrapped):
    """Takes a blank for a name."""

    def rearm(self, person: str) -> None:
        super().rearm(person if person.strip() else "somebody")


@dataclass(frozen=True)
class SwitchDefect(Defect):
    """A defect of live streams; it can be planted where there is a switch."""

    wrap: Callable[[Any], Wrapped] = Wrapped

    def fits(self, base: Subject) -> bool:
        """Whether the subject has what the defect spoils."""
        return Capability.KILL_SWITCH in base.capabilities

    def plant(self, base: Subject) -> Any:
        """The subject with this defect in its streams."""

        def opening(sound: Any, warmup: Bars | None) -> Wrapped:
            return self.wrap(sound.open(warmup))

        return Served(base, self.name, Behaviour(), opening=opening)


def _readable(bar: Bar) -> bool:
    try:
        return bool(np.isfinite([getattr(bar, name) for name in BAR_FIELDS]).all())
    except RuntimeError:
        return False


def _defect(name: str, kind: type[Wrapped]) -> SwitchDefect:
    about = str(kind.__doc__).partition("\n")[0].rstrip(".")
    return SwitchDefect(name, _FAMILY, about, wrap=kind)


DEFECTS: tuple[SwitchDefect, ...] = (
    _defect("non_latching", NonLatching),
    _defect("self_rearming", SelfRearming),
    _defect("cleared_by_heartbeat", ClearedByHeartbeat),
    _defect("skips_unreadable", SkipsUnreadable),
    _defect("passes_nan_on", PassesNanOn),
    _defect("raising", Raising),
    _defect("keeps_position", KeepsPosition),
    _defect("deaf_to_silence", DeafToSilence),
    _defect("late", Late),
    _defect("dead", Dead),
    _defect("inverted", Inverted),
    _defect("anybody_may_rearm", AnybodyMayRearm),
)
