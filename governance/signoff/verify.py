"""Verification of a run's folder: every byte, every signature, every rule, without a network.

A check that cannot be carried out, because a file is damaged in whatever way, has failed.

What it cannot show: revocation of a certificate (that needs a network), the true time of a
signature (the signer's clock is taken), and entries cut off the audit chain after the run's last
sign-off.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cryptography import x509

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.people import same_person
from finchaos.core.provenance import canonical_json, sha256
from governance.record import ROLES, Exhibit, Role, Run, SignOff
from governance.signoff.audit import Chain, read_chain
from governance.signoff.dsse import SIGN_OFF, Envelope
from governance.signoff.duties import (
    require_independence,
    require_order,
    require_separation,
)
from governance.signoff.keys import certificate_digest, common_name
from governance.signoff.manifest import (
    REPORT_PDF,
    REPORTS,
    SIGNED_PDF,
    differences,
    envelope_path,
    exhibit_paths,
    manifest,
    unexpected_files,
)
from governance.signoff.pdf_verification import require_pdf_signatures, require_recorded_states
from governance.signoff.plan_lock import require_lock
from governance.signoff.rendered import require_rendered
from governance.signoff.staging import SIGN_OFF_ACTION, interrupted
from governance.signoff.trust import Roots, require_trusted, trust_label, trusted_roots
from governance.signoff.verification import Checks, Outcome, SignedRecord, Verification


def verify(folder: Path, store_root: Path, trust: Path | None = None) -> Verification:
    """Check everything about a run's folder.

    Parameters
    ----------
    folder : Path
        ``<store>/<run digest>``.
    store_root : Path
        The store, for its audit chain.
    trust : Path, optional
        PEM file of trusted roots; without it, the demonstration root of the store.

    Raises
    ------
    InputError
        If ``folder`` does not exist or ``trust`` cannot be read. Nothing about the run raises.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is not a run's folder", expected="an existing folder")
    checks = Checks()
    chain = checks.run("audit chain", lambda: _whole_chain(read_chain(store_root)))
    roots: Roots | None = ()
    if trust is None:
        roots = checks.run(
            "demonstration root", lambda: trusted_roots(None, store_root), quiet=True
        )
    else:
        roots = trusted_roots(trust, store_root)
    return _examined(Path(folder).resolve(), chain, roots or (), checks)


def examine(folder: Path, chain: Chain, roots: Roots) -> Verification:
    """As :func:`verify`, with the chain and the roots already read."""
    return _examined(Path(folder).resolve(), chain, roots, Checks())


def _examined(folder: Path, chain: Chain | None, roots: Roots, checks: Checks) -> Verification:
    run = checks.run("run record", lambda: _run(folder))
    if run is None:
        return Verification(tuple(checks.outcomes), (), "")
    checks.run("exhibits", lambda: _exhibits(folder, run))
    if run.lock is not None and chain is not None:
        checks.run("lock of the plan", partial(require_lock, run, chain))
    checks.run("interrupted sign-off", lambda: _nothing_interrupted(folder), quiet=True)
    present = checks.run("files in the folder", lambda: _expected_files(folder, run))
    if chain is not None and present is not None:
        checks.run(
            "rendered reports", lambda: require_rendered(present, chain, run.digest), quiet=True
        )
    signed: list[SignedRecord] = []
    complete = True
    for role in ROLES:
        if (folder / envelope_path(role)).exists():
            one = checks.run(
                f"sign-off of the {role}", partial(_sign_off, folder, role, run, roots)
            )
            complete &= one is not None
            signed += [one] if one else []
    records = [one.record for one in signed]
    if not signed and complete:
        checks.outcomes.append(Outcome("sign-offs", True, "none yet"))
    if complete:
        checks.run("order of sign-offs", lambda: require_order(records), quiet=not records)
        checks.run("separation of duties", lambda: _duties(run, signed), quiet=not records)
        if present is not None:
            checks.run(
                "signed files", lambda: _signed_files(run, records, present), quiet=not records
            )
        if chain is not None:
            checks.run(
                "audit entries", lambda: _audit_entries(run, signed, chain), quiet=not records
            )
        _signed_pdf(folder, records, roots, checks)
    labels = sorted({record.trust for record in records})
    return Verification(
        tuple(checks.outcomes), tuple(signed), "demo" if "demo" in labels else " + ".join(labels)
    )


def _duties(run: Run, signed: Sequence[SignedRecord]) -> None:
    records = [one.record for one in signed]
    require_separation(records, [one.envelope.keyid for one in signed])
    for record in records:
        require_independence(run, record.role, record.person)


def _whole_chain(chain: Chain) -> Chain:
    if chain.torn:
        raise IntegrityError(
            "the last line of the audit chain is torn",
            got=f"{len(chain.torn)} bytes after entry {len(chain.entries)}",
            remedy="if a process was killed while it wrote, the next sign-off repairs it on record",
        )
    return chain


def _run(folder: Path) -> Run:
    data = (folder / "run.json").read_bytes()
    if sha256(data) != folder.name:
        raise IntegrityError(
            "run.json was changed after it was sealed, or its folder was renamed",
            expected=f"SHA-256 {folder.name}",
            got=sha256(data),
        )
    return Run.from_json(data)


def _exhibits(folder: Path, run: Run) -> str:
    for ref, path in zip(run.exhibits, exhibit_paths(run), strict=True):
        data = (folder / path).read_bytes()
        if sha256(data) != ref.digest:
            raise IntegrityError(f"{path} was changed after the run was sealed")
        Exhibit.from_json(data)
    return f"{len(run.exhibits)} as sealed"


def _nothing_interrupted(folder: Path) -> None:
    if left := interrupted(folder):
        raise IntegrityError(
            "a sign-off was interrupted",
            got=", ".join(left),
            remedy="sign again: what is in the audit chain is completed, else it is discarded",
        )


def _expected_files(folder: Path, run: Run) -> dict[str, str]:
    present = manifest(folder)
    if extra := unexpected_files(run, present):
        raise IntegrityError("there are files that do not belong to the run", got=", ".join(extra))
    return present


def _sign_off(folder: Path, role: Role, run: Run, roots: Roots) -> SignedRecord:
    data = (folder / envelope_path(role)).read_bytes()
    envelope = Envelope.from_json(data)
    if envelope.payload_type != SIGN_OFF:
        raise IntegrityError("the envelope holds something else", got=envelope.payload_type)
    envelope.require_signature()
    record = SignOff.from_json(envelope.payload)
    if record.to_json() != envelope.payload:
        raise IntegrityError("the signed record is not canonical JSON")
    if (record.run, record.role) != (run.digest, role):
        raise IntegrityError(
            "the record is about something else",
            expected=f"the {role} on run {run.digest[:12]}",
            got=f"the {record.role} on run {record.run[:12]}",
        )
    _require_signer(record, envelope.certificates, roots)
    return SignedRecord(record, envelope, sha256(data))


def _require_signer(
    record: SignOff, certificates: Sequence[x509.Certificate], roots: Roots
) -> None:
    certificate = certificates[0]
    if record.certificate != certificate_digest(certificate):
        raise IntegrityError("the record names another certificate than the one that signed it")
    if not same_person(common_name(certificate), record.person):
        raise IntegrityError(
            "the certificate is another person's",
            expected=record.person,
            got=common_name(certificate),
        )
    at = dt.datetime.fromisoformat(record.at)
    root = require_trusted(certificate, certificates[1:], roots, at)
    if trust_label(root) != record.trust:
        raise IntegrityError(
            "the record names another root than the signer leads to",
            expected=record.trust,
            got=trust_label(root),
        )


def _signed_files(run: Run, records: Sequence[SignOff], present: dict[str, str]) -> str:
    for record in records:
        if changes := differences(record.manifest, present):
            raise IntegrityError(
                f"files differ from what the {record.role} signed", got="; ".join(changes[:10])
            )
    missing = {"run.json", *exhibit_paths(run)} - present.keys()
    if records and (missing or not present.keys() & set(REPORTS)):
        raise IntegrityError("the signed files lack the run, an exhibit or the report")
    return f"{len(present)} as signed"


def _audit_entries(run: Run, signed: Sequence[SignedRecord], chain: Chain) -> str:
    for one in signed:
        record = one.record
        entry = chain.find(SIGN_OFF_ACTION, "envelope", one.digest)
        if entry is None:
            raise IntegrityError(
                f"the audit chain has no entry for the sign-off of the {record.role}",
                remedy="its tail was cut off, or the sign-off was put here by other means",
            )
        expected = canonical_json(audit_body(record, one.digest)).decode()
        found = (entry.prev, entry.actor, entry.at, entry.body)
        if found != (record.audit_head, record.person, record.at, expected):
            raise IntegrityError(
                f"the audit entry for the {record.role} does not say what was signed"
            )
    known = {one.digest for one in signed}
    for body in chain.of_run(SIGN_OFF_ACTION, run.digest):
        if body["envelope"] not in known:
            raise IntegrityError(
                f"the sign-off of the {body['role']} is in the audit chain but not in the folder",
                remedy="it was removed, or interrupted: then sign again",
            )
    return f"{len(signed)} found at the recorded heads"


def audit_body(record: SignOff, envelope: str) -> dict[str, str]:
    """What the audit chain says about a sign-off."""
    return {
        "decision": record.decision,
        "envelope": envelope,
        "role": record.role,
        "run": record.run,
        "sign_off": record.digest,
    }


def _signed_pdf(folder: Path, records: Sequence[SignOff], roots: Roots, checks: Checks) -> None:
    if not (folder / SIGNED_PDF).exists() and not any(record.pdf for record in records):
        return

    def states() -> bytes:
        if not records:
            raise IntegrityError("there is a signed PDF but no sign-off")
        document = (folder / SIGNED_PDF).read_bytes()
        require_recorded_states(document, (folder / REPORT_PDF).read_bytes(), records)
        return document

    document = checks.run("signed PDF", states)
    if document is not None:
        checks.run(
            "PDF signatures",
            lambda: require_pdf_signatures(document, records, roots),
        )
