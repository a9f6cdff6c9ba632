"""Pre-registration: a plan and its thresholds, locked in the audit chain before there are results.

What a lock shows is order within one store: the chain says that the lock came before anything was
measured there. It cannot show what was looked at elsewhere, nor, by itself, the true time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.provenance import digest
from governance.plan import Plan
from governance.record import SCHEMA_VERSION, LockRef, Record, Run
from governance.signoff.audit import Chain, Entry, locked_chain, read_chain
from governance.signoff.plan_content import Content, changes
from governance.store import Store

ACTION = "plan locked"


class PlanLock(Record):
    """The body of an entry of the audit chain."""

    schema_version: Literal[1] = SCHEMA_VERSION
    content: Content
    at: str
    """When, ISO 8601 UTC."""
    after_results: bool
    """Results of the plan were there already."""
    results: tuple[str, ...] = ()
    """Which, in words."""
    person: str

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what earlier locks did not have, so that theirs keep their digest."""
        said: dict[str, Any] = handler(self)
        return {key: value for key, value in said.items() if value or key != "results"}


@dataclass(frozen=True)
class Locked:
    """A lock and its entry in the chain."""

    lock: PlanLock
    entry: Entry


def lock_plan(
    store: Store, plan: Plan, content: Content, *, person: str, at: str, after_results: bool
) -> tuple[Locked, bool]:
    """Lock a plan; the lock in force and False if it says the same already.

    Parameters
    ----------
    store : Store
    plan : Plan
    content : Content
        From :func:`content_of`.
    person : str
        Who locks it; empty if nobody says.
    at : str
        ISO 8601 UTC.
    after_results : bool
        Lock although there are results, and record that.

    Raises
    ------
    InputError
        If there are results of the plan and ``after_results`` is not set.
    IntegrityError
        If the audit chain does not hold together.
    """
    with locked_chain(store.root) as chain:
        current = in_force(chain.chain, plan.name)
        if current is not None and current.lock.content == content:
            return current, False
        known = results_of(store, plan, content)
        if known and not after_results:
            raise InputError(
                f"there are results of the plan {plan.name!r} already",
                expected="a lock before anything of the plan, or of its model on its data, "
                "was measured in this store",
                got="; ".join(known),
                remedy="lock it with --after-results, which every report will say",
            )
        lock = PlanLock(
            content=content, at=at, after_results=after_results, results=known, person=person
        )
        body = lock.model_dump(mode="json")
        entry = chain.append(ACTION, person or "finchaos", body, at)
    return Locked(lock, entry), True


def results_of(store: Store, plan: Plan, content: Content) -> tuple[str, ...]:
    """What shows that the plan, or its model on its data, was measured in a store.

    A validation that began leaves a mark of its model and data by content, so that another name
    of the plan, or another spelling of its paths, hides nothing.
    """
    found = {
        f"run {run_digest[:12]}"
        for run_digest in store.digests()
        if _is_about(_sealed(store, run_digest).plan, plan)
    }
    same = {plan.identity, content.identity}
    begun = any(item.plan == plan.name or item.identity in same for item in store.begun())
    if begun and not found:
        found.add("a validation that began to measure")
    return tuple(sorted(found))


def _sealed(store: Store, run_digest: str) -> Run:
    return Run.from_json((store.folder(run_digest) / "run.json").read_bytes())


def _is_about(sealed: Mapping[str, Any], plan: Plan) -> bool:
    same = digest({"subject": sealed.get("subject"), "data": sealed.get("data")}) == plan.identity
    return same or sealed.get("name") == plan.name


def in_force(chain: Chain, plan_name: str) -> Locked | None:
    """The lock a plan is held to: the last made before results, else the last; None if none."""
    locks = [locked for locked in _locks(chain) if locked.lock.content.plan["name"] == plan_name]
    before = [locked for locked in locks if not locked.lock.after_results]
    return next(reversed(before or locks), None)


def _locks(chain: Chain) -> list[Locked]:
    return [
        Locked(PlanLock.from_json(entry.body), entry)
        for entry in chain.entries
        if entry.action == ACTION
    ]


def compare_with_lock(store: Store, content: Content) -> LockRef | None:
    """How what is about to be validated compares with the lock of its plan; None without one.

    Raises
    ------
    IntegrityError
        If the audit chain, which holds the lock, was tampered with.
    """
    found = in_force(read_chain(store.root), str(content.plan["name"]))
    return None if found is None else reference(found, content)


def reference(found: Locked, content: Content) -> LockRef:
    """What a Run records of a lock."""
    return LockRef(
        digest=found.lock.digest,
        entry=found.entry.hash,
        at=found.lock.at,
        after_results=found.lock.after_results,
        results=found.lock.results,
        changes=tuple(changes(found.lock.content, content)),
    )


def require_lock(run: Run, chain: Chain) -> str:
    """Check that the lock a Run names is in the chain as the Run says; says when it was made.

    Raises
    ------
    IntegrityError
        If it is not.
    """
    lock = run.lock
    if lock is None:
        return "none"
    for found in _locks(chain):
        if found.entry.hash == lock.entry:
            said = (found.lock.digest, found.lock.at, found.lock.after_results)
            if said != (lock.digest, lock.at, lock.after_results):
                raise IntegrityError("the lock in the audit chain is not the one the run names")
            return f"made {lock.at}, {'after results' if lock.after_results else 'before results'}"
    raise IntegrityError(
        "the audit chain does not hold the lock that the run names",
        expected=f"an entry {lock.entry[:12]}",
        remedy="its tail was cut off, or this is another store's chain",
    )
