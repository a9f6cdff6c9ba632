"""What a lock of a plan holds, in a form that does not depend on spelling, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from finchaos.core.provenance import canonical_json, digest
from governance.plan import Plan
from governance.plan_files import ABSENT, HeldFile
from governance.policy import Policy
from governance.record import Digest, LockChange, PolicyRef, Record
from governance.scenario import Scenario

NOT_HELD = "not held by this lock"
Part = Literal["plan", "file", "rule", "policy", "scenario", "code"]
PARTS: tuple[Part, ...] = get_args(Part)


class Content(Record):
    """What is locked: all that decides what will be measured and how it will be judged."""

    plan: dict[str, Any]
    """Every default written out. Files are left out, being held by content; packs and scenarios
    are called by the names that they have, and not by paths."""
    files: dict[str, HeldFile] | None = None
    """By the path of the key that names them in the plan; None in locks made before they were
    held."""
    policy: PolicyRef
    also: dict[str, Digest] = Field(default_factory=dict)
    """Packs shown beside, by name."""
    closed_by: tuple[str, ...]
    tiers: dict[str, Any] | None
    rules: dict[str, dict[str, Any]]
    """Every rule with its threshold, those of extended packs among them."""
    scenarios: dict[str, Digest]
    code: Digest | None = None
    """SHA-256 over the toolkit's own files; None if it was not to be locked."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what earlier locks did not have, so that theirs keep their digest."""
        said: dict[str, Any] = handler(self)
        if self.files is None:
            del said["files"]
        if not self.also:
            del said["also"]
        return said

    @property
    def identity(self) -> Digest:
        """Digest of the model and the bars by what they are, however the plan spells them."""
        held = {
            key: one.digest
            for key, one in (self.files or {}).items()
            if key.startswith(("data.", "subject."))
        }
        return digest({"subject": self.plan["subject"], "data": self.plan["data"], "files": held})


def content_of(
    plan: Plan,
    policy: Policy,
    scenarios: Iterable[Scenario],
    code: Digest | None = None,
    *,
    also: Iterable[Policy] = (),
    files: Mapping[str, HeldFile] | None = None,
) -> Content:
    """What a lock of this plan would hold now.

    Parameters
    ----------
    plan : Plan
    policy : Policy
    scenarios : iterable of Scenario
    code : Digest, optional
    also : iterable of Policy
        The packs shown beside.
    files : mapping of key to HeldFile, optional
        From :func:`governance.plan_files.held_files`.
    """
    tiers = policy.document.tiers
    used, beside = tuple(scenarios), tuple(also)
    said = plan.model_dump(mode="json")
    if files is not None:
        for key in files:
            _leave_out(said, key.split("."))
        said["policy"], said["also"] = policy.reference.name, [p.reference.name for p in beside]
        said["scenarios"] = plan.scenarios if plan.scenarios == "all" else [s.name for s in used]
    return Content(
        plan=said,
        files=None if files is None else dict(files),
        policy=policy.reference,
        also={pack.reference.name: pack.reference.digest for pack in beside},
        closed_by=policy.closed_by,
        tiers=None if tiers is None else tiers.model_dump(mode="json"),
        rules={key: rule.model_dump(mode="json") for key, rule in policy.rules.items()},
        scenarios={item.name: item.digest for item in used},
        code=code,
    )


def _leave_out(said: dict[str, Any], path: Sequence[str]) -> None:
    """Remove what a path of keys leads to, and nothing where it leads nowhere."""
    inside = said
    for key in path[:-1]:
        inside = inside.get(key) or {}
    inside.pop(path[-1], None)


def changes(locked: Content, now: Content) -> list[LockChange]:
    """Everything that differs, in the order of :data:`PARTS`, each by the path of its key."""
    found = [
        *_differences("plan", _plan(locked, locked, now), _plan(now, locked, now)),
        *_file_differences(locked, now),
        *_rule_differences(locked.rules, now.rules),
        *_differences("policy", _policy(locked), _policy(now)),
        *_differences("policy", _also(locked), _also(now)),
        *_differences("scenario", locked.scenarios, now.scenarios),
    ]
    judged = any(
        change.part == "rule" or (change.part == "policy" and not change.key.startswith("also."))
        for change in found
    )
    if not judged and locked.policy.digest != now.policy.digest:
        found += _differences(
            "policy", {"digest": locked.policy.digest}, {"digest": now.policy.digest}
        )
    if locked.code is not None:
        found += _differences("code", {"digest": locked.code}, {"digest": now.code})
    return sorted(found, key=lambda change: PARTS.index(change.part))


def _plan(one: Content, locked: Content, now: Content) -> dict[str, Any]:
    """One of the two plans; an earlier lock says by path what is now held by content or name."""
    earlier = locked.files is None and now.files is not None
    held = {*(now.files or {}), "policy", "scenarios"} if earlier else set()
    return {key: value for key, value in _leaves(one.plan).items() if key not in held}


def _file_differences(locked: Content, now: Content) -> list[LockChange]:
    """Files whose content is another; a new name for the same content is no change."""
    if now.files is None:
        return []
    if locked.files is None:
        return [
            LockChange(part="file", key=key, locked=NOT_HELD, now=_held(now.files[key]))
            for key in sorted(now.files)
        ]
    before, after = locked.files, now.files
    return [
        LockChange(
            part="file",
            key=key,
            locked=_held(before[key]) if key in before else ABSENT,
            now=_held(after[key]) if key in after else ABSENT,
        )
        for key in sorted(before.keys() | after.keys())
        if key not in before or key not in after or before[key].digest != after[key].digest
    ]


def _held(file: HeldFile) -> str:
    if file.digest == ABSENT:
        return ABSENT
    return canonical_json(f"{file.name}, SHA-256 {file.digest}").decode()


def _also(content: Content) -> dict[str, Any]:
    return {f"also.{name}": value for name, value in content.also.items()}


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
