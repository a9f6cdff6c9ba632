"""Where faults are injected: rows at which a live stream stays armed without one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.signals import Signal
from finchaos.core.subject import Capability, HasKillSwitch, Resumable, Streaming, Subject
from governance.faults import BARS_NEEDED
from governance.injection import Persons, armed_stream, clean_signals

TRIES_PER_START = 4


@dataclass(frozen=True, eq=False)
class Start:
    """A row before which a stream stands, armed.

    Attributes
    ----------
    row : int
        Of the first bar that is due.
    last : Bar
        The last good bar.
    due : list of Bar
        What a healthy feed delivers from ``row`` on.
    history : Bars
        What a stream replays, ``last`` included.
    snapshot : dict or None
        The state of an armed stream after it, where the subject is resumable.
    """

    row: int
    last: Bar
    due: list[Bar] = field(repr=False)
    history: Bars = field(repr=False)
    snapshot: dict[str, Any] | None = field(default=None, repr=False)

    def stream(self, subject: Subject, persons: Persons) -> HasKillSwitch:
        """An armed stream at this start: resumed where there is a snapshot, else replayed."""
        if self.snapshot is None:
            return armed_stream(subject, self.history, persons)
        stream = cast(Streaming, subject).open()
        # A copy: a stream may go on writing into what it was given.
        cast(Resumable, stream).restore(copy.deepcopy(self.snapshot))
        return cast(HasKillSwitch, stream)


@dataclass
class Starts:
    """Quiet starts, and what streams did at all that were tried.

    Attributes
    ----------
    quiet : list of Start
        A stream came through all due bars without a trip.
    tried, disturbed : int
        Rows tried, and those among them where the switch tripped without a fault.
    bars : int
        Bars without a fault over which the switches were watched.
    resumed_bars, resume_differences : int
        Bars that a resumed stream answered too, and those that it answered otherwise.
    """

    quiet: list[Start] = field(default_factory=list)
    tried: int = 0
    disturbed: int = 0
    bars: int = 0
    resumed_bars: int = 0
    resume_differences: int = 0


def find_starts(
    candidate: Subject,
    bars: Bars,
    rng: np.random.Generator,
    *,
    first_row: int,
    starts: int,
    history_bars: int,
    clean_bars: int,
    persons: Persons,
) -> Starts:
    """Rows drawn at random until enough of them are quiet.

    Parameters
    ----------
    candidate : Subject
    bars : Bars
    rng : numpy.random.Generator
    first_row : int
        The earliest.
    starts : int
        Quiet ones wanted.
    history_bars : int
        Replayed before, beyond the model's warm-up.
    clean_bars : int
        Due beyond what the longest fault spoils.
    persons : Persons
    """
    due_bars = BARS_NEEDED + clean_bars
    replayed = candidate.card.warmup_bars + history_bars
    first = max(first_row, candidate.card.warmup_bars + 2)
    last = max(len(bars) - due_bars, first)
    found = Starts()
    for row in rng.permutation(np.arange(first, last))[: TRIES_PER_START * starts].tolist():
        if len(found.quiet) == starts:
            break
        start = Start(
            row=row,
            last=bars[row - 1],
            due=[bars[number] for number in range(row, row + due_bars)],
            history=bars.rows(max(row - replayed, 0), row),
        )
        _try(candidate, start, persons, found)
    return found


def _try(candidate: Subject, start: Start, persons: Persons, found: Starts) -> None:
    """Run a stream over what is due without a fault, and keep the start if that trips nothing."""
    stream = armed_stream(candidate, start.history, persons)
    snapshot = None
    if Capability.RESUMABLE in candidate.capabilities:
        snapshot = copy.deepcopy(cast(Resumable, stream).state())
    answers = clean_signals(stream, start.due)
    found.tried += 1
    found.bars += max(len(answers), 1)
    if stream.tripped:
        found.disturbed += 1
        return
    kept = Start(start.row, start.last, start.due, start.history, snapshot)
    if snapshot is not None:
        again = clean_signals(kept.stream(candidate, persons), start.due)
        found.resumed_bars += len(answers)
        found.resume_differences += sum(_differences(answers, again))
    found.quiet.append(kept)


def _differences(answers: list[Signal], again: list[Signal]) -> Iterator[bool]:
    """For each bar whether the resumed stream answered otherwise, or not at all."""
    for number, answer in enumerate(answers):
        other = again[number] if number < len(again) else None
        yield other is None or (answer.position, answer.tripped) != (other.position, other.tripped)
