"""Who may sign what and when: the order of roles and the separation of duties.

The developer submits, an independent validator follows, the approver decides. Each needs the
approval of the one before, so a rejection ends the sequence. No person and no key signs twice.
An approver's decision is never more permissive than the policy's gate:

=============  ==========================================
Gate           Decisions open to the approver
=============  ==========================================
open           approve, approve_with_conditions, reject
conditional    approve_with_conditions, reject
closed         reject
=============  ==========================================
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import combinations, pairwise

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.people import same_person
from governance.record import ROLES, Decision, Gate, Role, Run, SignOff
from governance.signoff.keys import Identity, public_key_digest

_OPEN_TO_APPROVER: dict[Gate, tuple[Decision, ...]] = {
    "open": ("approve", "approve_with_conditions", "reject"),
    "conditional": ("approve_with_conditions", "reject"),
    "closed": ("reject",),
}


def require_order(records: Sequence[SignOff]) -> None:
    """Check that sign-offs follow each other as they must.

    Raises
    ------
    IntegrityError
        If a role is missing before another, the links between records are broken, somebody went on
        after a rejection, or times run backwards.
    """
    found = tuple(record.role for record in records)
    if found != ROLES[: len(found)]:
        raise IntegrityError(
            "a sign-off is missing before another",
            expected=", ".join(ROLES[: len(found)]),
            got=", ".join(found),
        )
    if records and records[0].previous is not None:
        raise IntegrityError("the developer's sign-off claims one before it")
    for before, after in pairwise(records):
        if after.previous != before.digest:
            raise IntegrityError(
                f"the sign-off of the {after.role} does not follow that of the {before.role}"
            )
        if before.decision == "reject":
            raise IntegrityError(f"the {after.role} signed after the {before.role} had rejected")
        if dt.datetime.fromisoformat(after.at) < dt.datetime.fromisoformat(before.at):
            raise IntegrityError(f"the {after.role} signed before the {before.role}")


def require_separation(records: Sequence[SignOff], keyids: Sequence[str]) -> None:
    """Check that no person and no key signed in two roles.

    Parameters
    ----------
    records : sequence of SignOff
    keyids : sequence of str
        Digest of the public key that signed each record.

    Raises
    ------
    IntegrityError
        If one did.
    """
    keys = [_keys(record, keyid) for record, keyid in zip(records, keyids, strict=True)]
    for (one, its), (other, others) in combinations(zip(records, keys, strict=True), 2):
        if same_person(one.person, other.person):
            raise IntegrityError(
                f"one person signed as {one.role} and as {other.role}",
                got=f"{one.person!r} and {other.person!r}",
            )
        if its & others:
            raise IntegrityError(f"one key signed as {one.role} and as {other.role}")


def require_independence(run: Run, role: Role, person: str) -> None:
    """Check that a validator or approver is not one of those the model card names.

    Neither may be the developer or the owner of the model; those sign as developer. A card that
    leaves a name undeclared, or names a team, bars nobody.

    Raises
    ------
    IntegrityError
        If they are.
    """
    if role == "developer":
        return
    for part in ("developer", "owner"):
        named = str(run.subject.card.get(part, "")).strip()
        if named.casefold() not in ("", "undeclared") and same_person(person, named):
            raise IntegrityError(
                f"the {part} of the model cannot be its {role}",
                got=f"{person!r}, {part} on the model card",
            )


def require_turn(
    run: Run,
    records: Sequence[SignOff],
    keyids: Sequence[str],
    *,
    role: Role,
    decision: Decision,
    identity: Identity,
    at: dt.datetime,
) -> None:
    """Check that a signer may sign now, in this role, with this decision.

    Raises
    ------
    InputError
        With the rule that forbids it.
    """
    try:
        require_independence(run, role, identity.person)
    except IntegrityError as error:
        raise InputError(str(error), remedy="somebody independent has to sign") from error
    signed = {record.role: record for record in records}
    if role in signed:
        raise InputError(
            f"the {role} has signed this run already",
            got=f"{signed[role].decision} by {signed[role].person} at {signed[role].at}",
            remedy="a decision stands; validate again for a new run",
        )
    for needed in ROLES[: ROLES.index(role)]:
        if needed not in signed:
            raise InputError(f"the {role} signs after the {needed}, who has not signed yet")
        if signed[needed].decision == "reject":
            raise InputError(
                f"the {needed} rejected this run", remedy="validate again for a new run"
            )
    if role == "approver" and decision not in _OPEN_TO_APPROVER[run.gate]:
        raise InputError(
            f"the policy's gate is {run.gate}, so the approver cannot sign {decision!r}",
            expected=" or ".join(_OPEN_TO_APPROVER[run.gate]),
        )
    if records and at < dt.datetime.fromisoformat(records[-1].at):
        raise InputError(
            f"the {records[-1].role} signed later than now",
            got=f"{records[-1].at} before {at.isoformat()}",
            remedy="check the clock",
        )
    _require_another(records, keyids, identity)


def _require_another(records: Sequence[SignOff], keyids: Sequence[str], identity: Identity) -> None:
    own = {public_key_digest(c.certificate) for c in (identity.records, identity.documents)}
    for record, keyid in zip(records, keyids, strict=True):
        if same_person(record.person, identity.person):
            raise InputError(
                "one person cannot sign in two roles",
                got=f"{identity.person!r}, and {record.person!r} as {record.role}",
            )
        if own & _keys(record, keyid):
            raise InputError(
                "one key cannot sign in two roles", got=f"the key that signed as {record.role}"
            )


def _keys(record: SignOff, keyid: str) -> set[str]:
    return {keyid} | ({record.pdf.public_key} if record.pdf else set())
