"""One fault injected into one live stream, and what its kill switch made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.signals import Signal
from finchaos.core.subject import (
    Capability,
    HasKillSwitch,
    HasTwoPersonRearm,
    Streaming,
    Subject,
)
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
        The latch cleared in a person's name, or in those of two where the subject asks for two.
    refusal : str
        The error with which they were refused; empty if none.
    severity : float
    single_accepted : bool or None
        The latch cleared in one name where two are needed; None where one is enough.
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
    severity: float = 1.0
    single_accepted: bool | None = None

    @property
    def tripped(self) -> bool:
        """Whether the fault tripped the switch."""
        return self.latency_bars is not None

    @property
    def failed_closed(self) -> bool:
        """No error, no unusable signal, and flat from the trip on."""
        return not self.failure and not self.unusable


@dataclass(frozen=True)
class Persons:
    """In whose names a switch is re-armed.

    Attributes
    ----------
    first : str
    second : str
        Empty where one person is enough.
    """

    first: str
    second: str = ""

    @classmethod
    def of(cls, subject: Subject, first: str) -> Persons:
        """One person, or two where the subject declares that it takes two."""
        two = Capability.TWO_PERSON_REARM in subject.capabilities
        return cls(first, f"second {first}" if two else "")

    def rearm(self, stream: HasKillSwitch) -> None:
        """Re-arm as the subject declares it is done."""
        if self.second:
            cast(HasTwoPersonRearm, stream).request_rearm(self.first)
        stream.rearm(self.second or self.first)


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
        return self._asked(lambda: self.stream.rearm(person))

    def request(self, person: str) -> str:
        """Ask for a second person in this name; the error of a refusal."""
        return self._asked(lambda: cast(HasTwoPersonRearm, self.stream).request_rearm(person))

    def _asked(self, ask: Callable[[], None]) -> str:
        try:
            ask()
        except Exception as error:  # to refuse is an answer; the latch tells what it did
            return _text(error)
        return ""


def armed_stream(subject: Subject, history: Bars, persons: Persons) -> HasKillSwitch:
    """A live stream after ``history``, re-armed if that tripped it.

    The last bar of ``history`` comes live and after that, so that it is what the next is compared
    with: a person who re-arms answers for the bar that follows.
    """
    stream = cast(HasKillSwitch, cast(Streaming, subject).open(history.rows(0, len(history) - 1)))
    if stream.tripped:
        persons.rearm(stream)
    stream.step(history[len(history) - 1])
    return stream


def clean_signals(stream: HasKillSwitch, bars: Sequence[Bar]) -> list[Signal]:
    """Answers to bars without a fault, each after a heartbeat in its moment, up to a trip."""
    answers = []
    for bar in () if stream.tripped else bars:
        stream.heartbeat(bar.ts)
        answers.append(stream.step(bar))
        if stream.tripped:
            break
    return answers


def inject(
    stream: HasKillSwitch,
    fault: Fault,
    last: Bar,
    due: Sequence[Bar],
    rng: np.random.Generator,
    *,
    clean_bars: int,
    persons: Persons,
    severity: float = 1.0,
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
    persons : Persons
        In whose names the switch is finally re-armed.
    severity : float
    """
    session = _Session(stream)
    latency, resume = None, 0
    for number, delivery in enumerate(fault.deliveries(last, due, rng, severity)):
        session.deliver(delivery)
        resume = delivery.resume
        if stream.tripped:
            latency = number
            break
    case = Case(
        fault=fault.name,
        at=last.ts.isoformat(),
        latency_bars=latency,
        failure=session.failure,
        unusable=session.unusable,
        severity=severity,
    )
    if latency is None:
        return case
    return _after_trip(case, stream, due[resume : resume + clean_bars], persons)


def _after_trip(case: Case, stream: HasKillSwitch, clean: Sequence[Bar], persons: Persons) -> Case:
    """What clean bars, nobody, one person and enough persons do to a latch that is set."""
    reason = stream.trip_reason
    after = _Session(stream)
    self_rearmed = _watch(after, clean)
    latched = not (self_rearmed or after.failure or after.unusable)
    for person in () if self_rearmed else BLANK_PERSONS:
        after.rearm(person)
    blank_accepted = not self_rearmed and not stream.tripped
    single: bool | None = None
    if persons.second and not self_rearmed:
        single = blank_accepted or _alone(after, persons.first)
    refusal = ""
    if not single:
        if persons.second:
            after.request(persons.first)
        refusal = after.rearm(persons.second or persons.first)
    return replace(
        case,
        reason=reason,
        latched=latched,
        self_rearmed=self_rearmed,
        blank_accepted=blank_accepted,
        single_accepted=single,
        rearmed=not stream.tripped,
        refusal=refusal,
    )


def _alone(session: _Session, person: str) -> bool:
    """Whether one person clears the latch: without asking, after asking, or with a blank."""
    session.rearm(person)
    session.request(person)
    for name in (person, person.upper(), *BLANK_PERSONS):
        session.rearm(name)
    return not session.stream.tripped


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
