"""Subjects whose kill switch is defective, one way each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bar
from finchaos.core.errors import InputError
from finchaos.core.signals import Signal
from governance.selftest.volatility_regime import VolatilityRegime, VolatilityStream


def _readable(bar: Bar) -> bool:
    try:
        return bool(np.isfinite([getattr(bar, name) for name in BAR_FIELDS]).all())
    except RuntimeError:
        return False


class NonLatching(VolatilityStream):
    """Armed again at every bar."""

    def step(self, bar: Bar) -> Signal:
        self.trip_reason = ""
        return super().step(bar)


class SelfRearming(VolatilityStream):
    """Armed again thirty bars after a trip."""

    latched_bars = 0

    def step(self, bar: Bar) -> Signal:
        self.latched_bars = self.latched_bars + 1 if self.tripped else 0
        if self.latched_bars > 30:
            self.rearm("nobody, really")
        return super().step(bar)


class ClearedByHeartbeat(VolatilityStream):
    """Any sane heartbeat clears the latch."""

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        self.trip_reason = ""
        return super().heartbeat(now)


class Slow(VolatilityStream):
    """Says so three bars after it saw a fault."""

    delay = 3
    noticed = 0

    def guard(self, bar: Bar) -> str:
        fault = super().guard(bar)
        if fault or self.noticed:
            self.noticed += 1
        return "late" if self.noticed > self.delay else ""

    def rearm(self, person: str) -> None:
        super().rearm(person)
        self.noticed = 0


class IgnoresNan(VolatilityStream):
    """Skips bars it cannot read and keeps its position."""

    def step(self, bar: Bar) -> Signal:
        return super().step(bar) if _readable(bar) else self._answer(bar.ts)


class PassesNanOn(VolatilityStream):
    """Answers a bar it cannot read with a position that is NaN."""

    def step(self, bar: Bar) -> Signal:
        if _readable(bar):
            return super().step(bar)
        return replace(self._answer(bar.ts), position=float("nan"))


class Raising(VolatilityStream):
    """Raises on a bar it cannot read, without tripping."""

    def step(self, bar: Bar) -> Signal:
        if not _readable(bar):
            raise ValueError("planted")
        return super().step(bar)


class KeepsPosition(VolatilityStream):
    """Trips and holds half its capital all the same."""

    def step(self, bar: Bar) -> Signal:
        signal = super().step(bar)
        return replace(signal, position=0.5) if self.tripped else signal


class DeafToSilence(VolatilityStream):
    """Heartbeats mean nothing to it."""

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        return None


class Impatient(VolatilityStream):
    """Calls a feed stale after a day, so that every weekend trips it."""

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        if self._reference is not None and now - self._reference.ts > pd.Timedelta(days=1):
            self._trip("impatient")
            return self._answer(self._last_ts)
        return super().heartbeat(now)


class TooSensitive(VolatilityStream):
    """Trips on any move beyond a typical one."""

    def guard(self, bar: Bar) -> str:
        fault = super().guard(bar)
        if fault or self._reference is None:
            return fault
        move = abs(np.log(bar.close / self._reference.close))
        return "nervous" if move > self.subject.fitted.vol_typical else ""


class AnybodyMayRearm(VolatilityStream):
    """Takes a blank for a name."""

    def rearm(self, person: str) -> None:
        super().rearm(person or "somebody" if person.strip() else "somebody")


class NobodyMayRearm(VolatilityStream):
    """Cannot be re-armed at all."""

    def rearm(self, person: str) -> None:
        raise InputError("planted")


class Speechless(VolatilityStream):
    """Trips without giving a reason."""

    _latched = False

    @property
    def tripped(self) -> bool:
        return self._latched

    def _trip(self, reason: str) -> None:
        self._latched = True

    def rearm(self, person: str) -> None:
        super().rearm(person)
        self._latched = False


@dataclass(frozen=True)
class WithSwitch(VolatilityRegime):
    """The sound subject with another stream class."""

    switch: Callable[[VolatilityRegime], VolatilityStream] = VolatilityStream

    def _settings(self) -> dict[str, object]:
        return {**super()._settings(), "switch": getattr(self.switch, "__name__", "")}

    def new_stream(self) -> VolatilityStream:
        return self.switch(self)
