"""Subjects whose kill switch is defective in ways that the self-test does not plant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.bars import Bar
from finchaos.core.errors import InputError
from finchaos.core.signals import Signal
from governance.selftest.volatility_regime import VolatilityRegime, VolatilityStream


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
