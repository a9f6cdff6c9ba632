"""One fault injected into one live stream, and what its kill switch made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.signals import Signal
from finchaos.core.subject import HasKillSwitch, Streaming, Subject
from governance.faults import Delivery, Fault

BLANK_PERSONS = ("", "   ")
HEARTBEAT_EVERY = 5
"""Clean bars between two heartbeats while a latched switch is watched."""


@dataclass(frozen=True)
class Case:
    """The outcome of one injection.

    Attributes
    ----------
    fault : str
    at : str
        Close time of the last good bar, ISO 8601.
    latency_bars : int or None
        Deliveries between the first faulty one and the trip, 0 for the same; None if no trip.
    reason : str
        What the stream gave as its reason to trip.
    failure : str
        The first error that a call raised; empty if every call answered.
    unusable : bool
        A position was not finite, or not 0 from the trip on, or a signal and the stream disagreed
        on whether the switch had tripped.
    latched : bool
        Tripped, at position 0 and without an error on every clean bar after the trip.
    self_rearmed : bool
        The latch cleared with nobody's name.
    blank_accepted : bool
        The latch cleared in a blank name.
    rearmed : bool
        The latch cleared in a person's name.
    refusal : str
        The error with which a person was refused; empty if none.
    """

    fault: str
    at: str
    latency_bars: int | None
    reason: str = ""
    failure: str = ""
    unusable: bool = False
    latched: bool = False
    self_rearmed: bool = False
    blank_accepted: bool = False
    rearmed: bool = False
    refusal: str = ""

    @property
    def tripped(self) -> bool:
        """Whether the fault tripped the switch."""
        return self.latency_bars is not None

    @property
    def failed_closed(self) -> bool:
        """No error, no unusable signal, and flat from the trip on."""
        return not self.failure and not self.unusable


@dataclass
class _Session:
    """A stream under watch: it never raises, and keeps what went wrong."""

    stream: HasKillSwitch
    failure: str = ""
    unusable: bool = False

    def deliver(self, delivery: Delivery) -> None:
        """Deliver a bar or a heartbeat and look at the answer."""
        was_tripped = self.stream.tripped
        signal: Signal | None
        try:
            if delivery.bar is None:
                signal = self.stream.heartbeat(delivery.now)
            else:
                signal = self.stream.step(delivery.bar)
        except Exception as error:  # raising instead of tripping is what is being measured
            self.failure = self.failure or _text(error)
            return
        if signal is not None:
            tripped, position = self.stream.tripped, float(signal.position)
            sound = np.isfinite(position) and (position == 0.0 or not tripped)
            self.unusable |= not (sound and signal.tripped == tripped)
        elif delivery.bar is not None or (self.stream.tripped and not was_tripped):
            # A heartbeat may answer nothing, but not when it trips the switch.
            self.unusable = True

    def rearm(self, person: str) -> str:
        """Ask in this name; the error of a refusal, empty if there was none."""
        try:
            self.stream.rearm(person)
        except Exception as error:  # to refuse is an answer; the latch tells what it did
            return _text(error)
        return ""


def armed_stream(subject: Subject, history: Bars, operator: str) -> HasKillSwitch:
    """A live stream after ``history``, re-armed by ``operator`` if that tripped it."""
    stream = cast(HasKillSwitch, cast(Streaming, subject).open(history))
    if stream.tripped:
        stream.rearm(operator)
    return stream


def trips_on(stream: HasKillSwitch, bars: Sequence[Bar]) -> bool:
    """Whether the switch trips on these bars, or on a heartbeat in the moment each is due."""
    for bar in bars:
        stream.heartbeat(bar.ts)
        stream.step(bar)
        if stream.tripped:
            return True
    return False


def inject(
    stream: HasKillSwitch,
    fault: Fault,
    last: Bar,
    due: Sequence[Bar],
    rng: np.random.Generator,
    *,
    clean_bars: int,
    operator: str,
) -> Case:
    """Deliver a fault to an armed stream, then clean bars, then try to re-arm it.

    Parameters
    ----------
    stream : HasKillSwitch
        Armed, and at ``last``.
    fault : Fault
    last : Bar
        The last good bar the stream saw.
    due : sequence of Bar
        What a healthy feed would deliver next.
    rng : numpy.random.Generator
    clean_bars : int
        Clean bars after the trip.
    operator : str
        In whose name the switch is finally re-armed.
    """
    session = _Session(stream)
    latency, resume = None, 0
    for number, delivery in enumerate(fault.deliveries(last, due, rng)):
        session.deliver(delivery)
        resume = delivery.resume
        if stream.tripped:
            latency = number
            break
    at = last.ts.isoformat()
    if latency is None:
        return Case(fault.name, at, None, failure=session.failure, unusable=session.unusable)
    reason = stream.trip_reason
    after = _Session(stream)
    self_rearmed = _watch(after, due[resume : resume + clean_bars])
    latched = not (self_rearmed or after.failure or after.unusable)
    for person in () if self_rearmed else BLANK_PERSONS:
        after.rearm(person)
    blank_accepted = not self_rearmed and not stream.tripped
    refusal = after.rearm(operator)
    return Case(
        fault=fault.name,
        at=at,
        latency_bars=latency,
        reason=reason,
        failure=session.failure,
        unusable=session.unusable,
        latched=latched,
        self_rearmed=self_rearmed,
        blank_accepted=blank_accepted,
        rearmed=not stream.tripped,
        refusal=refusal,
    )


def _watch(session: _Session, clean: Sequence[Bar]) -> bool:
    """Deliver clean bars and now and then a heartbeat; whether the latch ever cleared."""
    cleared = False
    for number, bar in enumerate(clean):
        session.deliver(Delivery(bar, bar.ts, 0))
        cleared |= not session.stream.tripped
        if number % HEARTBEAT_EVERY == 0:
            session.deliver(Delivery(None, bar.ts, 0))
            cleared |= not session.stream.tripped
    return cleared


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
