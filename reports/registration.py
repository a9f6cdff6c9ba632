"""How material the model is and whether the plan was fixed before its results: page one."""

from __future__ import annotations

from datetime import datetime

from governance.record import LockChange, LockRef, Run
from reports.tables import Cell, Head, Table, short_digest, words

NOT_LOCKED = "Not locked"
SHOWN_CHANGES = 8
"""Changes after the lock that page one shows; the appendix has all."""
_LONGEST = 160
_PARTS = {
    "plan": "Plan",
    "file": "File",
    "rule": "Rule",
    "policy": "Policy",
    "scenario": "Scenario",
    "code": "Code",
}


def materiality_text(run: Run) -> str:
    """The derived tier with what it was derived from, or what the developer declares."""
    declared = words(str(run.subject.card.get("materiality") or "undeclared"))
    found = run.materiality
    if found is None:
        return f"{declared}, as declared; no exposure and purpose stated"
    amount = "" if found.exposure_usd is None else f" (USD {found.exposure_usd:,.0f})"
    return (
        f"{words(found.tier)}: {found.exposure} exposure{amount}, {found.purpose}; "
        f"declared {found.declared}"
    )


def lock_text(run: Run) -> str:
    """Whether the plan was locked, when, and how much was changed afterwards."""
    lock = run.lock
    if lock is None:
        return NOT_LOCKED
    order = "after results were known" if lock.after_results else "before any result"
    return f"Locked on {_moment(lock.at)}, {order}; {_count(lock)}"


def lock_sentence(run: Run) -> str:
    """The same as a sentence."""
    lock = run.lock
    if lock is None:
        return "The plan was not locked before its results."
    order = "after results of it were known" if lock.after_results else "before any result"
    return f"The plan and its limits were locked on {_moment(lock.at)}, {order}; {_count(lock)}."


def lock_changes(run: Run, most: int | None = None) -> Table | None:
    """What was changed after the lock; None if nothing was."""
    changes = run.lock.changes if run.lock is not None else ()
    if not changes:
        return None
    shown = changes if most is None else changes[:most]
    more = len(changes) - len(shown)
    return Table(
        "Changed after the lock",
        (Head("Part"), Head("Key"), Head("As locked"), Head("As validated")),
        tuple(_row(change) for change in shown),
        (f"{more} more {'is' if more == 1 else 'are'} listed in the appendix.",) if more else (),
    )


def _row(change: LockChange) -> tuple[Cell, ...]:
    return (
        Cell(_PARTS[change.part]),
        Cell(change.key),
        Cell(_value(change.locked)),
        Cell(_value(change.now)),
    )


def _value(text: str) -> str:
    plain = short_digest(text.strip('"'))
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def _count(lock: LockRef) -> str:
    count = len(lock.changes)
    if not count:
        return "nothing was changed after that"
    return f"{count} thing{'s were' if count > 1 else ' was'} changed after that"


def _moment(at: str) -> str:
    moment = datetime.fromisoformat(at)
    return f"{moment.day} {moment:%B %Y}, {moment:%H:%M} UTC"
