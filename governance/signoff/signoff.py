"""Signing a run: one person's decision, bound to every byte it is about."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.people import checked_name, same_person
from finchaos.core.provenance import sha256
from governance.record import Decision, Role, Run, SignedCopy, SignOff
from governance.signoff.audit import LockedChain, locked_chain
from governance.signoff.dsse import SIGN_OFF, sign_payload
from governance.signoff.duties import require_turn
from governance.signoff.keys import Credential, Identity, certificate_digest, public_key_digest
from governance.signoff.manifest import REPORT_PDF, REPORTS, SIGNED_PDF, manifest
from governance.signoff.pades import Signature, with_fields, with_signature
from governance.signoff.rendered import require_recorded
from governance.signoff.staging import SIGN_OFF_ACTION, publish, settle, stage
from governance.signoff.stamp import DECISIONS, sign_off_page, stamp
from governance.signoff.trust import Roots, require_trusted, trust_label, trusted_roots
from governance.signoff.verification import Verification
from governance.signoff.verify import audit_body, examine


@dataclass(frozen=True)
class _Statement:
    """What is to be signed, by whom and when."""

    run: Run
    role: Role
    person: str
    decision: Decision
    conditions: str
    identity: Identity
    at: dt.datetime

    def is_that_of(self, record: SignOff) -> bool:
        """Whether a record says the same already."""
        return (record.role, record.person, record.decision, record.conditions) == (
            self.role,
            self.person,
            self.decision,
            self.conditions,
        )


def sign(
    folder: Path,
    run: Run,
    store_root: Path,
    role: Role,
    person: str,
    decision: Decision,
    conditions: str,
    identity: Identity,
    now: dt.datetime,
    trust: Path | None = None,
) -> SignOff:
    """Record a person's decision on a run.

    The signed record, the signature on the PDF (if the run has a PDF report) and the entry in the
    audit chain appear together or not at all. A sign-off that was interrupted is first completed
    or discarded; if it was this one, it is returned.

    Parameters
    ----------
    folder : Path
        ``<store>/<run digest>``.
    run : Run
    store_root : Path
    role : {"developer", "validator", "approver"}
    person : str
        Name of the signer, the one in the certificate.
    decision : {"approve", "approve_with_conditions", "reject"}
    conditions : str
        Required with ``approve_with_conditions``; may explain any decision.
    identity : Identity
    now : datetime with zone
    trust : Path, optional
        PEM file of trusted roots; without it, the demonstration root of the store.

    Raises
    ------
    InputError
        If the rules of :mod:`governance.signoff.duties` forbid it, or the signer is not who the
        certificate says.
    IntegrityError
        If the run or anything signed before does not verify, the signer is not trusted, or the
        audit chain does not show that the reports were rendered from the run.
    """
    statement = _statement(run, role, person, decision, conditions, identity, now)
    if run.digest != folder.name:
        raise IntegrityError(f"{folder} is the folder of another run", expected=run.digest)
    roots = trusted_roots(trust, store_root)
    with locked_chain(store_root) as chain:
        chain.discard_torn_tail(statement.person, _iso(statement.at))
        completed = settle(folder, chain.chain)
        before = examine(folder, chain.chain, roots)
        if not before.ok:
            raise IntegrityError(
                "a run that does not verify cannot be signed",
                got="; ".join(f"{o.name}: {o.detail}" for o in before.failures),
            )
        if completed == role and statement.is_that_of(before.records[-1]):
            return before.records[-1]
        require_turn(
            run,
            before.records,
            [one.envelope.keyid for one in before.sign_offs],
            role=role,
            decision=decision,
            identity=identity,
            at=statement.at,
        )
        return _recorded(folder, statement, before, _require_signer(statement, roots), chain)


def _statement(
    run: Run,
    role: Role,
    person: str,
    decision: Decision,
    conditions: str,
    identity: Identity,
    now: dt.datetime,
) -> _Statement:
    name = checked_name(person)
    if not same_person(name, identity.person):
        raise InputError("the certificate is another person's", expected=identity.person, got=name)
    if decision == "approve_with_conditions" and not conditions.strip():
        raise InputError("an approval with conditions must state them")
    if decision == "approve" and conditions.strip():
        raise InputError(
            "conditions were given with an unconditional approval",
            got=conditions[:80],
            remedy="decide approve_with_conditions",
        )
    if now.utcoffset() is None:
        raise InputError("the time of a sign-off needs a zone", got=now.isoformat())
    at = now.astimezone(dt.UTC).replace(microsecond=0)
    return _Statement(run, role, name, decision, conditions.strip(), identity, at)


def _require_signer(statement: _Statement, roots: Roots) -> str:
    """Label of the root that both certificates of the signer lead to."""
    labels = {
        trust_label(require_trusted(c.certificate, c.chain, roots, statement.at))
        for c in (statement.identity.records, statement.identity.documents)
    }
    if len(labels) != 1:
        raise IntegrityError("the signer's two certificates lead to different roots")
    return labels.pop()


def _recorded(
    folder: Path, statement: _Statement, before: Verification, trust: str, chain: LockedChain
) -> SignOff:
    present = manifest(folder)
    if not present.keys() & set(REPORTS):
        raise InputError(
            "there is no report to sign",
            expected=" or ".join(REPORTS),
            remedy="render the report of this run first",
        )
    require_recorded(present, chain.chain, statement.run.digest)
    pdf = None
    if REPORT_PDF in present:
        pdf = _signed_pdf(folder, statement, demo=trust == "demo")
    record = SignOff(
        run=statement.run.digest,
        role=statement.role,
        person=statement.person,
        decision=statement.decision,
        conditions=statement.conditions,
        manifest=present,
        certificate=certificate_digest(statement.identity.records.certificate),
        trust=trust,
        at=_iso(statement.at),
        previous=before.records[-1].digest if before.records else None,
        audit_head=chain.chain.head,
        pdf=None if pdf is None else _copy(pdf, statement.identity.documents),
    )
    envelope = sign_payload(record.to_json(), SIGN_OFF, statement.identity.records).to_json()
    staged = stage(folder, statement.role, envelope, pdf)
    try:
        chain.append(
            SIGN_OFF_ACTION, record.person, audit_body(record, sha256(envelope)), record.at
        )
    except OSError:  # nothing was appended, so nothing was signed
        shutil.rmtree(staged)
        raise
    publish(folder)
    return record


def _signed_pdf(folder: Path, statement: _Statement, *, demo: bool) -> bytes:
    """The PDF with one more signature; the first makes the sign-off page and certifies."""
    path = folder / SIGNED_PDF
    first = not path.exists()
    if first:
        page = sign_off_page(statement.run, demo=demo)
        document = with_fields((folder / REPORT_PDF).read_bytes(), page, statement.at)
    else:
        document = path.read_bytes()
    visible = stamp(
        role=statement.role,
        person=statement.person,
        decision=statement.decision,
        conditions=statement.conditions,
        at=statement.at.strftime("%Y-%m-%d %H:%M UTC"),
        run=statement.run.digest,
        demo=demo,
        clauses=[row.clause for row in statement.run.coverage if statement.role in row.sign_off],
    )
    reason = (
        f"{statement.role.capitalize()} {DECISIONS[statement.decision]}, run {statement.run.digest}"
    )
    signature = Signature(
        statement.role, statement.identity.documents, statement.at, reason, visible
    )
    return with_signature(document, signature, certify=first)


def _copy(pdf: bytes, credential: Credential) -> SignedCopy:
    return SignedCopy(
        path=SIGNED_PDF,
        length=len(pdf),
        digest=sha256(pdf),
        certificate=certificate_digest(credential.certificate),
        public_key=public_key_digest(credential.certificate),
    )


def _iso(at: dt.datetime) -> str:
    return at.isoformat()
