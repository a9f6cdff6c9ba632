"""A paper session on disk: its store, its journal, its state, and how they stay consistent.

For each record: to the store, to the engine, its entries to the journal, the state to its file. A
process that dies in between leaves records in the store that no state knows of; they are applied
at the next start, after the journal was cut back to the state. Nothing that was stored is lost and
nothing is done twice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bars
from finchaos.core.errors import CheckpointError, FinchaosError, InputError
from finchaos.core.provenance import digest
from finchaos.core.subject import Subject
from finchaos.live.bar_store import NO_VALUES, BarStore, Kind, Record, shortened
from finchaos.live.broker import BrokerRules, Liquidation
from finchaos.live.engine import Engine, GuardRules
from finchaos.live.events import Delivered, Event, Missed, Silence
from finchaos.live.feeds import Resume
from finchaos.live.journal import Journal
from finchaos.live.state_file import load_state, same_state, save_state

STORE, JOURNAL, STATE = "bars.store", "journal.jsonl", "state.json"
_REPORTED = (Kind.BAR, Kind.SILENCE)


@dataclass(frozen=True)
class AccountReport:
    """What a circuit breaker outside the session is told after each bar, and in silence.

    Attributes
    ----------
    ts : int
        Nanoseconds since 1970 UTC.
    equity, exposure : float
        At the last close.
    tripped : bool
        Whether the session has stopped itself already.
    """

    ts: int
    equity: float
    exposure: float
    tripped: bool


class Breaker(Protocol):
    """A circuit breaker that knows nothing of the model; it may run in another process."""

    def check(self, report: AccountReport) -> str:
        """Why trading must stop; empty if it need not."""
        ...


@dataclass(frozen=True)
class Rules:
    """What must stay the same for as long as a session lives.

    Attributes
    ----------
    broker : BrokerRules
    guard : GuardRules
    """

    broker: BrokerRules = field(default_factory=BrokerRules)
    guard: GuardRules = field(default_factory=GuardRules)


@dataclass(frozen=True)
class _Options:
    breaker: Breaker | None
    liquidation: Liquidation | None
    sync: bool


class PaperSession:
    """An open session; :meth:`open` begins one or goes on with it.

    Attributes
    ----------
    repaired_bytes : int
        Bytes that the process before had written to store and journal without finishing.
    caught_up : int
        Records of the store that it had not finished with, applied now.
    """

    def __init__(
        self, subject: Subject, store: BarStore, folder: Path, rules: Rules, options: _Options
    ) -> None:
        self._subject, self._store, self._folder = subject, store, folder
        self._rules, self._options = rules, options
        self._first = store.history_records
        self._failed = ""
        self._history = store.history(self._first)
        self.engine = Engine(subject, self._history, rules.broker, rules.guard, options.liquidation)
        self._counts: Counter[str] = Counter()
        self._identity = {
            "model": subject.digest,
            "rules": digest(asdict(rules)),
            "history": self._history.digest,
        }
        self._done = self._first
        self._journal = self._resume() if (folder / STATE).exists() else self._begin()
        self.repaired_bytes = store.repaired_bytes + self._journal.repaired_bytes
        waiting = store.records(self._done)
        self.caught_up = len(waiting)
        for record in waiting:
            self._apply(record)
        last = store.records(len(store) - 1)[0]
        self._now = last.ts
        if last.kind in _REPORTED:  # the process before may have died on the way to it
            self._ask_breaker(last.ts)

    @classmethod
    def open(
        cls,
        folder: Path,
        subject: Subject,
        *,
        history: Bars | None = None,
        rules: Rules | None = None,
        breaker: Breaker | None = None,
        liquidation: Liquidation | None = None,
        sync: bool = True,
    ) -> PaperSession:
        """Begin a session in a folder, or go on with the one that is there.

        Parameters
        ----------
        folder : pathlib.Path
        subject : Subject
        history : Bars, optional
            What the model warms up on; needed at the beginning, and ignored later: the store has
            it.
        rules : Rules, optional
        breaker : Breaker, optional
        liquidation : Liquidation, optional
        sync : bool
            Flush everything to the disk before going on, so that it survives a loss of power too;
            the death of the process it survives in any case.

        Raises
        ------
        InputError
            If there is no history to begin with, or another process has the session.
        CheckpointError
            If the state there is of another model, other rules, or damaged.
        IntegrityError
            If store or journal are damaged.
        StorageError
            If the disk does not take what must be kept.
        """
        path = folder / STORE
        if not path.exists() and history is None:
            raise InputError(
                f"there is no session in {folder}", remedy="give a history to begin with"
            )
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() or history is None:
            store = BarStore(path, sync=sync)
        else:
            store = BarStore.create(path, history, sync=sync)
        try:
            options = _Options(breaker, liquidation, sync)
            return cls(subject, store, folder, rules or Rules(), options)
        except BaseException:
            store.close()
            raise

    @property
    def symbol(self) -> str:
        """The instrument."""
        return self._store.symbol

    @property
    def position_in_feed(self) -> Resume:
        """Where it stands in its feed."""
        delivered = [r for r in self._store.records(self._first) if r.kind is Kind.BAR]
        last = max([r.ts for r in delivered], default=0)
        return Resume(len(delivered), max(last, int(self._history.index.as_unit("ns").asi8[-1])))

    @property
    def counts(self) -> dict[str, int]:
        """Journal entries of this process by event."""
        return dict(self._counts)

    def handle(self, event: Event) -> None:
        """Take what a feed says.

        Raises
        ------
        StorageError
            If the disk does not take it. The session then takes nothing more; open it anew.
        """
        self._take(_record_of(event, self._now))

    def trip(self, reason: str) -> None:
        """Stop trading from outside: what is held goes at the next price."""
        self._take(Record(Kind.TRIP, self._now, text=reason or "stopped without a reason"))

    def rearm(self, person: str) -> None:
        """Clear the latch in the name of a person, who answers for the next bar.

        Raises
        ------
        InputError
            If the name is blank or longer than 72 bytes, or the model failed inside.
        """
        if not person.strip() or shortened(person) != person:
            raise InputError(
                "a kill switch is re-armed by a named person",
                expected="a name of at most 72 bytes",
                got=repr(person[:80]),
            )
        self._take(Record(Kind.REARM, self._now, text=person))
        if self.engine.tripped:
            raise InputError("this session cannot be re-armed", got=self.engine.reason)

    def close(self) -> None:
        """Let go of the files; everything is kept already."""
        self._journal.close()
        self._store.close()

    def __enter__(self) -> PaperSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, record: Record) -> None:
        self._now = record.ts
        if self._failed:
            raise FinchaosError("this session has stopped", got=self._failed, remedy="open it anew")
        try:
            self._store.append(record)
            self._apply(record)
        except BaseException as error:
            self._failed = f"{type(error).__name__}: {error}"
            raise
        if record.kind in _REPORTED:
            self._ask_breaker(record.ts)

    def _apply(self, record: Record) -> None:
        entries = self.engine.apply(record)
        self._journal.append(entries)
        self._done += 1
        self._save(self._journal)
        self._counts.update(entry["event"] for entry in entries)

    def _ask_breaker(self, ts: int) -> None:
        """A breaker that fails stops the session: it fails closed.

        It is told of a session that has stopped too, lest it take that for silence.
        """
        breaker, row = self._options.breaker, self.engine.last
        if breaker is None:
            return
        # Before the first bar nothing is held, at any price.
        equity = self.engine.broker.equity(1.0) if row is None else row.equity
        exposure = 0.0 if row is None else row.exposure
        try:
            reason = breaker.check(AccountReport(ts, equity, exposure, self.engine.tripped))
        except Exception as error:
            reason = f"the circuit breaker failed: {type(error).__name__}"
        if reason and not self.engine.switch.tripped:
            self._take(Record(Kind.TRIP, ts, text=reason))

    def _begin(self) -> Journal:
        if len(self._store) > self._first:
            raise CheckpointError(
                f"{self._folder} has lost its state",
                expected=f"{STATE} beside a store with bars of a session",
                remedy="restore it from a copy, or start in a new folder",
            )
        self.engine.warm_up()
        journal = Journal(self._folder / JOURNAL, sync=self._options.sync)
        self._save(journal)
        return journal

    def _resume(self) -> Journal:
        state = load_state(self._folder / STATE)
        for what, here in self._identity.items():
            if state.get(what) != here:
                raise CheckpointError(
                    f"the session in {self._folder} is of another {what}",
                    expected=str(state.get(what))[:16],
                    got=here[:16],
                    remedy="go on with what began it, or start in a new folder",
                )
        self._done = int(state["done"])
        if not self._first <= self._done <= len(self._store):
            raise CheckpointError(
                f"{STORE} is not the store of the saved state",
                expected=f"at least {self._done} records",
                got=str(len(self._store)),
            )
        if self.engine.resumable:
            self.engine.restore(state["engine"])
        else:
            self._replay(state["engine"])
        return Journal(
            self._folder / JOURNAL,
            int(state["journal_length"]),
            str(state["journal_chain"]),
            sync=self._options.sync,
        )

    def _replay(self, saved: dict[str, Any]) -> None:
        """Come to where the state was by applying the records again."""
        self.engine.warm_up()
        for record in self._store.records(self._first, self._done):
            self.engine.apply(record)
        if not same_state(self.engine.state(), saved):
            raise CheckpointError(
                "the model does not come to the saved state on the same bars",
                remedy="use a model whose sessions are deterministic, or start in a new folder",
            )

    def _save(self, journal: Journal) -> None:
        content = {
            **self._identity,
            "done": self._done,
            "journal_length": journal.length,
            "journal_chain": journal.chain,
            "engine": self.engine.state(),
        }
        save_state(self._folder / STATE, content, sync=self._options.sync)


def _record_of(event: Event, last_ts: int) -> Record:
    if isinstance(event, Delivered):
        bar = event.bar
        if not isinstance(bar.ts, pd.Timestamp) or bar.ts.tz is None:
            return Record(Kind.REFUSED, last_ts, NO_VALUES, f"bad_time: {bar.ts}")
        values = tuple(float(getattr(bar, name)) for name in BAR_FIELDS)
        return Record(Kind.BAR, int(bar.ts.as_unit("ns").value), values)
    if isinstance(event, Silence):
        return Record(Kind.SILENCE, int(event.now.as_unit("ns").value))
    if isinstance(event, Missed):
        return Record(Kind.TRIP, last_ts, NO_VALUES, f"the feed left out {event.count} frames")
    return Record(Kind.REFUSED, last_ts, NO_VALUES, event.reason)
