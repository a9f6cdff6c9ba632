"""What a session does with each record of its store: no clock, no file, no network.

The engine is a function of the records alone, so that applying the same ones again gives the same
decisions, fills and account, bit for bit.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bar, Bars
from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.signals import Signal
from finchaos.core.snapshot import put, take
from finchaos.core.subject import Capability, Subject
from finchaos.live.bar_store import Kind, Record
from finchaos.live.broker import AccountRow, BrokerRules, Liquidation, PaperBroker, PaperFill
from finchaos.trading.feed_guard import FeedGuard, FeedLimits
from finchaos.trading.kill_switch import KillSwitch

Entry = dict[str, Any]
REMEMBERED_BARS = 64
"""How far back a bar that comes again is known for a repetition."""
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class GuardRules:
    """What a feed may do before the session stops itself, from the history it warmed up on.

    Attributes
    ----------
    move_multiple, least_log_move, shock_multiple, gap_multiple : float
        As :meth:`finchaos.trading.feed_guard.FeedLimits.learn` has them.
    refused_in_a_row : int
        Frames refused one after the other that trip the kill switch.
    """

    move_multiple: float = 3.0
    least_log_move: float = 0.25
    shock_multiple: float = 1.5
    gap_multiple: float = 1.5
    refused_in_a_row: int = 3

    def __post_init__(self) -> None:
        if not all(0 < value < math.inf for value in asdict(self).values()):
            raise InputError(
                "impossible rules for a feed", expected="positive numbers", got=repr(self)
            )

    def limits(self, history: Bars) -> FeedLimits:
        """Limits learnt from a history."""
        return FeedLimits.learn(
            history,
            move_multiple=self.move_multiple,
            least_log_move=self.least_log_move,
            shock_multiple=self.shock_multiple,
            gap_multiple=self.gap_multiple,
        )


class Engine:
    """Guard, model, kill switch and paper account, with all their memory.

    Parameters
    ----------
    subject : Subject
        With the capability ``streaming``.
    history : Bars
        What the model warms up on before it may trade.
    broker : BrokerRules
    guard : GuardRules
    liquidation : Liquidation, optional

    Raises
    ------
    InputError
        If the subject has no live session, or two persons re-arm it.
    """

    def __init__(
        self,
        subject: Subject,
        history: Bars,
        broker: BrokerRules,
        guard: GuardRules,
        liquidation: Liquidation | None = None,
    ) -> None:
        if Capability.STREAMING not in subject.capabilities:
            raise InputError(
                f"{subject.card.name} has no live session", expected="the capability streaming"
            )
        if Capability.TWO_PERSON_REARM in subject.capabilities:
            # Its journal has one name a re-arm: it could never be armed again.
            raise InputError(
                "a session is re-armed by one person",
                expected="a subject without two-person re-arm",
                got=subject.card.name,
                remedy="give the session a circuit breaker whose limits have confirm_seconds",
            )
        if len(history) < max(2, subject.card.warmup_bars):
            raise InputError(
                f"too short a history to warm up {subject.card.name}",
                expected=f"at least {max(2, subject.card.warmup_bars)} bars",
                got=str(len(history)),
            )
        self._card, self._rules = subject.card, guard
        self._switched = Capability.KILL_SWITCH in subject.capabilities
        self.resumable = Capability.RESUMABLE in subject.capabilities
        self._subject: Any = subject
        self._history = history
        self._stream: Any = None
        self.guard = FeedGuard(guard.limits(history))
        # No distance is measured here: that is the model's own switch.
        self.switch = KillSwitch(limit=sys.float_info.max)
        self.broker = PaperBroker(broker, liquidation)
        self.last: AccountRow | None = None
        self._recent: deque[tuple[int, tuple[float, ...]]] = deque(maxlen=REMEMBERED_BARS)
        self._refused, self._broken = 0, ""
        self._prime()

    @property
    def tripped(self) -> bool:
        """Whether the session's latch is set, or the model's."""
        return self.switch.tripped or bool(self._switched and self._stream.tripped)

    @property
    def reason(self) -> str:
        """Why; empty while armed."""
        return self.switch.reason or (self._stream.trip_reason if self._switched else "")

    def warm_up(self) -> None:
        """Replay the history through a new session of the model."""
        self._stream = self._subject.open(self._history)

    def apply(self, record: Record) -> list[Entry]:
        """Take the next record; what the journal says of it."""
        before = self.tripped
        handlers = {
            Kind.BAR: self._bar,
            Kind.SILENCE: self._silence,
            Kind.REFUSED: self._refuse,
            Kind.TRIP: self._stop,
            Kind.REARM: self._rearm,
        }
        entries = handlers[record.kind](record)
        if self.tripped and not before:
            entries.append({"event": "trip", "ts": _iso(record.ts), "reason": self.reason})
        return entries

    def state(self) -> dict[str, Any]:
        """What it remembers; the model's session only where that is resumable."""
        return {
            "guard": take(self.guard),
            "switch": take(self.switch),
            "broker": self.broker.state(),
            "last": None if self.last is None else dict(vars(self.last)),
            "recent_ts": np.array([ts for ts, _ in self._recent], dtype=np.int64),
            "recent_numbers": np.array([numbers for _, numbers in self._recent]),
            "refused": self._refused,
            "broken": self._broken,
            "stream": self._stream.state() if self.resumable else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Remember this and nothing else, the model's session included.

        Raises
        ------
        CheckpointError
            If it is not a state of such an engine.
        """
        try:
            put(self.guard, state["guard"])
            put(self.switch, state["switch"])
            self.broker.restore(state["broker"])
            self.last = None if state["last"] is None else AccountRow(**state["last"])
            self._recent.clear()
            recent = zip(state["recent_ts"].tolist(), state["recent_numbers"].tolist(), strict=True)
            self._recent.extend((ts, tuple(numbers)) for ts, numbers in recent)
            self._refused, self._broken = int(state["refused"]), str(state["broken"])
            self._stream = self._subject.open()
            self._stream.restore(state["stream"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError("a saved session is damaged", got=repr(error)) from error

    def _prime(self) -> None:
        """Let the guard know the last bars of the history."""
        tail = self._history.rows(max(0, len(self._history) - REMEMBERED_BARS))
        for row, ts in enumerate(tail.index.as_unit("ns").asi8.tolist()):
            values = tuple(float(getattr(tail, name)[row]) for name in BAR_FIELDS)
            self.guard.inspect(ts, values)
            self._recent.append((ts, values))

    def _bar(self, record: Record) -> list[Entry]:
        ts, values = record.ts, record.numbers
        if (ts, values) in self._recent:
            return [{"event": "duplicate", "ts": _iso(ts)}]
        self._refused = 0
        urgent = self.tripped
        fault = self.guard.inspect(ts, values)
        if fault is not None:
            self.switch.trip(fault.reason)
        if fault is not None and not fault.usable:
            # It reaches neither the model nor the account; what is held goes at the next price.
            self.broker.request(ts, 0.0)
            return [{"event": "unusable", "ts": _iso(ts), "reason": fault.reason}]
        self._recent.append((ts, values))
        opening, _, _, close, volume = values
        fills = self.broker.open_bar(ts, opening, volume, urgent=urgent)
        signal = self._step(Bar(pd.Timestamp(ts, unit="ns", tz="UTC"), *values))
        target = self._target(signal)
        more, self.last = self.broker.close_bar(ts, close, volume, target, urgent=self.tripped)
        return [
            *map(_fill_entry, [*fills, *more]),
            self._decision(ts, target, signal),
            {"event": "account", "ts": _iso(ts), **vars(self.last)},
        ]

    def _step(self, bar: Bar) -> Signal | None:
        """What the model says; None once it cannot be trusted."""
        if self._broken:
            return None
        try:
            signal: Signal = self._stream.step(bar)
        except Exception as error:  # half of it may have moved: it is never asked again
            self._broken = f"the model failed: {type(error).__name__}: {error}"[:200]
            self.switch.trip(self._broken)
            return None
        return signal

    def _target(self, signal: Signal | None) -> float:
        """The position asked for if it may be held, else 0."""
        if signal is None:
            return 0.0
        position, card = float(signal.position), self._card
        if not card.min_position - _TOLERANCE <= position <= card.max_position + _TOLERANCE:
            self.switch.trip(
                f"the model asks for {position}, limits {card.min_position} to {card.max_position}"
            )
        return 0.0 if self.tripped else position

    def _decision(self, ts: int, target: float, signal: Signal | None) -> Entry:
        stress = None if signal is None else signal.stress_probability
        return {
            "event": "decision",
            "ts": _iso(ts),
            "position": target,
            "stress": stress if stress is not None and math.isfinite(stress) else None,
            "regime": None if signal is None else signal.regime,
            "tripped": self.tripped,
            "reason": self.reason,
        }

    def _silence(self, record: Record) -> list[Entry]:
        stale = self.guard.stale(record.ts)
        if stale:
            self.switch.trip(stale)
        if self._switched and not self._broken:
            self._stream.heartbeat(pd.Timestamp(record.ts, unit="ns", tz="UTC"))
        self._go_flat_if_tripped(record.ts)
        return [{"event": "silence", "ts": _iso(record.ts), "reason": stale}]

    def _refuse(self, record: Record) -> list[Entry]:
        self._refused += 1
        if self._refused >= self._rules.refused_in_a_row:
            self.switch.trip(f"{self._refused} frames refused in a row, last {record.text}")
        self._go_flat_if_tripped(record.ts)
        return [{"event": "refused", "ts": _iso(record.ts), "reason": record.text}]

    def _stop(self, record: Record) -> list[Entry]:
        self.switch.trip(record.text)
        self._go_flat_if_tripped(record.ts)
        return [{"event": "stopped", "ts": _iso(record.ts), "reason": record.text}]

    def _rearm(self, record: Record) -> list[Entry]:
        said = {"event": "rearmed", "ts": _iso(record.ts), "person": record.text}
        try:
            if self._broken:
                raise InputError("a model that failed cannot be re-armed", got=self._broken)
            if self._switched:
                self._stream.rearm(record.text)
            self.switch.rearm(record.text)
        except InputError as error:
            return [{**said, "event": "rearm_refused", "reason": str(error)}]
        self.guard.vouch()
        self._refused = 0
        return [said]

    def _go_flat_if_tripped(self, ts: int) -> None:
        if self.tripped:
            self.broker.request(ts, 0.0)


def _fill_entry(fill: PaperFill) -> Entry:
    return {
        "event": "fill",
        "decided": _iso(fill.decided),
        "filled": _iso(fill.filled),
        "price": fill.price,
        "units": fill.units,
        "cost": fill.cost,
        "left": fill.left,
    }


def _iso(ts: int) -> str:
    return pd.Timestamp(ts, unit="ns", tz="UTC").isoformat()
