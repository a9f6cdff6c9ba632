"""A small sound subject that can all but explain itself: what defects are planted in."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import deque
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bar, Bars
from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.files import write_atomic
from finchaos.core.provenance import canonical_json, digest
from finchaos.core.signals import Signal, Signals
from finchaos.core.subject import Capability, ModelCard

CARD = ModelCard(
    name="volatility-regime",
    version="1",
    purpose="Hold the market while its volatility is calm",
    owner="Test desk",
    developer="Test developer",
    limitations=("Knows nothing but volatility",),
    materiality="low",
    warmup_bars=60,
    feature_names=("log_return",),
)
CAPABILITIES = frozenset(Capability) - {
    Capability.GRADIENTS,
    Capability.MEMORY,
    Capability.RESUMABLE,
    Capability.LAYERS,
    Capability.TWO_PERSON_REARM,
    Capability.HYPER_PARAMETERS,
}
_values = attrgetter(*BAR_FIELDS)


@dataclass(frozen=True)
class Fitted:
    """What training determines. Volatilities are per bar, limits are absolute log returns."""

    vol_typical: float = 0.010
    vol_threshold: float = 0.014
    jump_limit: float = 0.25


@dataclass(frozen=True)
class VolatilityRegime:
    """Flat while exponentially weighted volatility is above a quantile of its training values.

    Parameters
    ----------
    decay : float
        Weight of the past in the squared-return average.
    threshold_quantile : float
        Quantile of training volatility above which the market is stressed.
    debounce_bars : int
        Bars in a row that must agree before the regime changes.
    continuous : bool
        Position 1 - stress probability while calm, instead of 1.
    rearm_after_bars : int or None
        How long after a trip a person is assumed to re-arm in ``signals`` and in the warm-up of a
        stream; None for never. A live stream is only ever re-armed by ``rearm``.
    """

    decay: float = 0.94
    threshold_quantile: float = 0.75
    debounce_bars: int = 3
    continuous: bool = False
    rearm_after_bars: int | None = 20
    max_gap_days: float = 10.0
    max_repeats: int = 3
    fitted: Fitted = field(default_factory=Fitted)
    card: ModelCard = CARD
    capabilities: frozenset[Capability] = CAPABILITIES

    @property
    def digest(self) -> str:
        """SHA-256 of the class, its settings and what training determined."""
        return digest({"class": type(self).__name__, **self._settings()})

    def _settings(self) -> dict[str, Any]:
        settings = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if item.name not in ("card", "capabilities", "fitted")
        }
        return {**settings, "fitted": dataclasses.asdict(self.fitted)}

    def fit(self, bars: Bars, *, seed: int) -> VolatilityRegime:
        """A subject with threshold and limits from ``bars``; nothing here is random."""
        moves = np.diff(np.log(bars.close))
        typical = float(np.sqrt(np.mean(moves**2)))
        variance, volatilities = typical**2, []
        for move in moves:
            variance = self.decay * variance + (1.0 - self.decay) * move**2
            volatilities.append(np.sqrt(variance))
        return replace(
            self,
            fitted=Fitted(
                vol_typical=typical,
                vol_threshold=float(np.quantile(volatilities, self.threshold_quantile)),
                jump_limit=max(0.25, 2.0 * float(np.abs(moves).max())),
            ),
        )

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar, by the recursion a stream runs."""
        return Signals.collect(self._replay(self.new_stream(), bars))

    def open(self, warmup: Bars | None = None) -> VolatilityStream:
        """A stream that has seen ``warmup``."""
        stream = self.new_stream()
        if warmup is not None:
            self._replay(stream, warmup)
        return stream

    def new_stream(self) -> VolatilityStream:
        """A stream that has seen nothing; defective subjects return a defective one."""
        return VolatilityStream(self)

    def _replay(self, stream: VolatilityStream, bars: Bars) -> list[Signal]:
        issued, latched_bars = [], 0
        for bar in bars:
            if self.rearm_after_bars is not None and latched_bars >= self.rearm_after_bars:
                stream.rearm("replay operator")
            issued.append(stream.step(bar))
            latched_bars = latched_bars + 1 if stream.tripped else 0
        return issued

    def save(self, folder: Path) -> None:
        """Write the settings and what training determined."""
        write_atomic(folder / "volatility_regime.json", canonical_json(self._settings()))

    @classmethod
    def load(cls, folder: Path) -> VolatilityRegime:
        """The subject that ``save`` wrote."""
        path = folder / "volatility_regime.json"
        try:
            raw = json.loads(path.read_bytes())
            return cls(**{**raw, "fitted": Fitted(**raw["fitted"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError("cannot load the subject", got=str(error)) from error


class VolatilityStream:
    """A live session: guards on each bar, then volatility, regime and position."""

    def __init__(self, subject: VolatilityRegime) -> None:
        self.subject = subject
        self.trip_reason = ""
        self._variance = subject.fitted.vol_typical**2
        self._slow_variance = self._variance
        self._surprise = 0.0
        self._regime = 0
        self._pending = 0
        self._seen = 0
        self._reference: Bar | None = None
        self._recent: deque[tuple[float, ...]] = deque(maxlen=subject.max_repeats)
        self._last_ts: pd.Timestamp = pd.NaT  # type: ignore[assignment]
        self._max_gap = pd.Timedelta(days=subject.max_gap_days)

    @property
    def tripped(self) -> bool:
        """Whether the switch is latched."""
        return bool(self.trip_reason)

    def step(self, bar: Bar) -> Signal:
        """Guard the bar, update on a good one, answer; whatever goes wrong trips the switch."""
        self._seen += 1
        try:
            fault = self.guard(bar)
            if fault:
                self._trip(fault)
            else:
                self._update(bar)
            ts = bar.ts
        except Exception as error:  # fail closed: a broken monitor must not leave a position
            self._trip(f"monitor failed: {type(error).__name__}")
            ts = self._last_ts
        self._last_ts = ts
        return self._answer(ts)

    def guard(self, bar: Bar) -> str:
        """What is wrong with a bar; empty if nothing."""
        values = tuple(map(float, _values(bar)))
        if not all(map(math.isfinite, values)):
            return "a field is not finite"
        if min(values[:4]) <= 0.0 or bar.volume < 0.0:
            return "a price is not positive or the volume negative"
        if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
            return "the range does not contain open and close"
        if pd.isna(bar.ts) or bar.ts.tzinfo is None:
            return "the time stamp is missing or has no zone"
        self._recent.append(values)
        if len(self._recent) == self._recent.maxlen and len(set(self._recent)) == 1:
            return f"{len(self._recent)} identical bars in a row"
        return self._guard_against(self._reference, bar)

    def _guard_against(self, before: Bar | None, bar: Bar) -> str:
        limit = self.subject.fitted.jump_limit
        if math.log(bar.high / bar.low) > limit:
            return "the range of the bar is beyond its limit"
        if before is None:
            return ""
        if bar.ts <= before.ts:
            return "time did not advance"
        if bar.ts - before.ts > self._max_gap:
            return "a gap in time"
        # Open and close lie within the range.
        if max(abs(math.log(price / before.close)) for price in (bar.high, bar.low)) > limit:
            return "a price moved beyond its limit"
        return ""

    def _update(self, bar: Bar) -> None:
        if self._reference is not None:
            move = float(np.log(bar.close / self._reference.close))
            self._surprise = move / math.sqrt(self._variance)
            decay, slow = self.subject.decay, 0.99
            self._variance = decay * self._variance + (1.0 - decay) * move**2
            self._slow_variance = slow * self._slow_variance + (1.0 - slow) * move**2
        self._reference = bar
        wanted = int(self._stress_probability() > 0.5)
        self._pending = self._pending + 1 if wanted != self._regime else 0
        if self._pending >= self.subject.debounce_bars:
            self._regime, self._pending = wanted, 0

    def _stress_probability(self) -> float:
        excess = 0.5 * np.log(self._variance) - np.log(self.subject.fitted.vol_threshold)
        return float(1.0 / (1.0 + np.exp(-8.0 * excess)))

    def _answer(self, ts: pd.Timestamp) -> Signal:
        probability = self._stress_probability()
        held = 1.0 - probability if self.subject.continuous else 1.0
        warm = self._seen > self.subject.card.warmup_bars
        return Signal(
            ts=ts,
            position=held if warm and not self.tripped and self._regime == 0 else 0.0,
            stress_probability=probability,
            regime=self._regime,
            tripped=self.tripped,
            latents=np.array(
                [0.5 * np.log(self._variance), 0.5 * np.log(self._slow_variance), self._surprise]
            ),
        )

    def _trip(self, reason: str) -> None:
        self.trip_reason = self.trip_reason or reason

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        """Trip if the last good bar is too old or lies in the future."""
        if self._reference is None:
            return None
        try:
            age = now - self._reference.ts
            stale = not pd.Timedelta(0) <= age <= self._max_gap
        except Exception as error:  # fail closed
            self._trip(f"heartbeat failed: {type(error).__name__}")
            return self._answer(self._last_ts)
        if not stale:
            return None
        self._trip("stale feed or skewed clock")
        return self._answer(self._last_ts)

    def rearm(self, person: str) -> None:
        """Clear the latch; the next bar becomes the reference for jumps and gaps."""
        if not person.strip():
            raise InputError("a kill switch is re-armed by a named person", got=repr(person))
        self.trip_reason = ""
        self._reference = None
        self._recent.clear()
