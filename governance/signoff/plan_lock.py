"""Pre-registration: a plan and its thresholds, locked in the audit chain before there are results.

What a lock shows is order within one store: the chain says that the lock came before anything was
measured there. It cannot show what was looked at elsewhere, nor, by itself, the true time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.provenance import canonical_json, digest
from governance.plan import Plan
from governance.policy import Policy
from governance.record import SCHEMA_VERSION, Digest, LockChange, LockRef, PolicyRef, Record, Run
from governance.scenario import Scenario
from governance.signoff.audit import Chain, Entry, locked_chain, read_chain
from governance.store import Store

ACTION = "plan locked"
ABSENT = "absent"
Part = Literal["plan", "rule", "policy", "scenario", "code"]
PARTS: tuple[Part, ...] = get_args(Part)


class Content(Record):
    """What is locked: all that decides what will be measured and how it will be judged."""

    plan: dict[str, Any]
    """Every default written out."""
    policy: PolicyRef
    closed_by: tuple[str, ...]
    tiers: dict[str, Any] | None
    rules: dict[str, dict[str, Any]]
    """Every rule with its threshold, those of extended packs among them."""
    scenarios: dict[str, Digest]
    code: Digest | None = None
    """SHA-256 over the toolkit's own files; None if it was not to be locked."""


class PlanLock(Record):
    """The body of an entry of the audit chain."""

    schema_version: Literal[1] = SCHEMA_VERSION
    content: Content
    at: str
    """When, ISO 8601 UTC."""
    after_results: bool
    """Results of the plan were there already."""
    person: str


@dataclass(frozen=True)
class Locked:
    """A lock and its entry in the chain."""

    lock: PlanLock
    entry: Entry


def content_of(
    plan: Plan, policy: Policy, scenarios: Iterable[Scenario], code: Digest | None = None
) -> Content:
    """What a lock of this plan would hold now."""
    tiers = policy.document.tiers
    return Content(
        plan=plan.model_dump(mode="json"),
        policy=policy.reference,
        closed_by=policy.closed_by,
        tiers=None if tiers is None else tiers.model_dump(mode="json"),
        rules={key: rule.model_dump(mode="json") for key, rule in policy.rules.items()},
        scenarios={item.name: item.digest for item in scenarios},
        code=code,
    )


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
        known = results_of(store, plan)
        if known and not after_results:
            raise InputError(
                f"there are results of the plan {plan.name!r} already",
                expected="a lock before anything of the plan, or of its model on its data, "
                "was measured in this store",
                got="; ".join(known),
                remedy="lock it with --after-results, which every report will say",
            )
        lock = PlanLock(content=content, at=at, after_results=after_results, person=person)
        body = lock.model_dump(mode="json")
        entry = chain.append(ACTION, person or "finchaos", body, at)
    return Locked(lock, entry), True


def results_of(store: Store, plan: Plan) -> tuple[str, ...]:
    """What shows that the plan, or its model on its data, was measured in a store."""
    found = {
        f"run {run_digest[:12]}"
        for run_digest in store.digests()
        if _is_about(_sealed(store, run_digest).plan, plan)
    }
    begun = any(item.plan == plan.name or item.identity == plan.identity for item in store.begun())
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


def changes(locked: Content, now: Content) -> list[LockChange]:
    """Everything that differs, in the order of :data:`PARTS`, each by the path of its key."""
    found = [
        *_differences("plan", _leaves(locked.plan), _leaves(now.plan)),
        *_rule_differences(locked.rules, now.rules),
        *_differences("policy", _policy(locked), _policy(now)),
        *_differences("scenario", locked.scenarios, now.scenarios),
    ]
    judged = any(change.part in ("rule", "policy") for change in found)
    if not judged and locked.policy.digest != now.policy.digest:
        found += _differences(
            "policy", {"digest": locked.policy.digest}, {"digest": now.policy.digest}
        )
    if locked.code is not None:
        found += _differences("code", {"digest": locked.code}, {"digest": now.code})
    return sorted(found, key=lambda change: PARTS.index(change.part))


def _policy(content: Content) -> dict[str, Any]:
    said = {
        "name": content.policy.name,
        "version": content.policy.version,
        "closed_by": list(content.closed_by),
        "tiers": content.tiers,
    }
    return _leaves(said)


def _rule_differences(
    locked: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> list[LockChange]:
    found: list[LockChange] = []
    for rule in sorted(locked.keys() | now.keys()):
        if rule in locked and rule in now:
            before = {f"{rule}.{key}": value for key, value in locked[rule].items()}
            after = {f"{rule}.{key}": value for key, value in now[rule].items()}
        else:
            before = {rule: _in_short(locked[rule])} if rule in locked else {}
            after = {rule: _in_short(now[rule])} if rule in now else {}
        found += _differences("rule", before, after)
    return found


def _in_short(rule: Mapping[str, Any]) -> str:
    return f"{rule['check']}.{rule['metric']} {rule['operator']} {rule['limit']:g}"


def _differences(part: Part, locked: Mapping[str, Any], now: Mapping[str, Any]) -> list[LockChange]:
    return [
        LockChange(part=part, key=key, locked=_said(locked, key), now=_said(now, key))
        for key in sorted(locked.keys() | now.keys())
        if _said(locked, key) != _said(now, key)
    ]


def _said(values: Mapping[str, Any], key: str) -> str:
    return canonical_json(values[key]).decode() if key in values else ABSENT


def _leaves(value: Mapping[str, Any], path: Sequence[str] = ()) -> dict[str, Any]:
    """Every value that is no mapping, and every empty mapping, by its path with dots."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            found.update(_leaves(inner, (*path, key)))
        else:
            found[".".join((*path, key))] = inner
    return found
