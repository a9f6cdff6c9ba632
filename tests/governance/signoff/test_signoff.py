"""Signing: what it writes, what it refuses, and what a crash leaves."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import pytest

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.provenance import canonical_json, sha256
from governance.record import ROLES, SignOff
from governance.signoff import audit, signoff, staging
from governance.signoff.dsse import SIGN_OFF, sign_payload
from governance.signoff.keys import Identity, certificate_digest, pkcs12_identity
from governance.signoff.verify import audit_body
from tests.governance.signoff.authority import DAY, NOW, Authority


def test_each_signature_extends_the_pdf_and_records_its_state(sealed):
    document = sealed.pdf.read_bytes()
    assert document.startswith((sealed.folder / "report" / "report.pdf").read_bytes())
    lengths = [record.pdf.length for record in sealed.verify().records]
    assert lengths == sorted(set(lengths))
    assert lengths[-1] == len(document)


def test_the_audit_chain_tells_who_decided_what(sealed):
    chain = audit.read_chain(sealed.root)
    assert [entry.actor for entry in chain.entries] == [
        "finchaos",
        "Ada Lovelace",
        "Émile Borel",
        "Grace Hopper",
    ]
    heads = [record.audit_head for record in sealed.verify().records]
    assert heads == [entry.hash for entry in chain.entries[:3]]


def test_a_run_without_pdf_is_signed_by_record_alone(new_case):
    case = new_case(pdf=False)
    for role in ROLES:
        assert case.sign(role).pdf is None
    assert case.failures() == ""


def test_a_run_without_report_is_refused(new_case):
    case = new_case(pdf=False)
    (case.folder / "report" / "report.html").unlink()
    case.record_reports()
    with pytest.raises(InputError, match="no report to sign"):
        case.sign("developer")


def unchanged(case):
    return {
        p: p.read_bytes() for p in case.root.rglob("*") if p.is_file() and ".demo" not in str(p)
    }


@pytest.mark.parametrize(
    ("role", "said"),
    [("validator", "after the developer"), ("approver", "after the developer")],
)
def test_roles_sign_in_order(new_case, role, said):
    case = new_case()
    with pytest.raises(InputError, match=said):
        case.sign(role)
    assert not (case.folder / "signoffs").exists()


def test_an_approver_waits_for_the_validator(half_signed):
    before = unchanged(half_signed)
    with pytest.raises(InputError, match="after the validator, who has not signed yet"):
        half_signed.sign("approver")
    assert unchanged(half_signed) == before


def test_a_role_signs_once(half_signed):
    with pytest.raises(InputError, match="the developer has signed this run already"):
        half_signed.sign("developer", person="Somebody Else")


@pytest.mark.parametrize(
    "person",
    ["Ada Lovelace", "ADA lovelace", "Lovelace, Ada", "Ada  Lovelacé", "\u0410da L\u043evelace"],
)
def test_one_person_cannot_sign_in_two_roles(half_signed, person):
    before = unchanged(half_signed)
    with pytest.raises(InputError, match="one person cannot sign in two roles"):
        half_signed.sign("validator", person=person)
    assert unchanged(half_signed) == before


def test_one_key_cannot_sign_in_two_roles(new_case, tmp_path):
    authority, case = Authority(), new_case(pdf=False)
    root = authority.root_file(tmp_path)
    first = pkcs12_identity(authority.p12(tmp_path, "Ada Lovelace"), b"secret")
    case.sign("developer", identity=first, trust=root)
    second = pkcs12_identity(
        authority.p12(tmp_path, "Émile Borel", key=first.records.key), b"secret"
    )
    with pytest.raises(InputError, match="one key cannot sign in two roles"):
        case.sign("validator", identity=second, trust=root)


def test_the_key_of_the_pdf_counts_too(half_signed):
    ada, emile = half_signed.identity("developer"), half_signed.identity("validator")
    mixed = Identity(emile.person, emile.records, ada.documents)
    with pytest.raises(InputError, match="one key cannot sign in two roles"):
        half_signed.sign("validator", identity=mixed)


def test_nobody_signs_with_anothers_certificate(half_signed):
    with pytest.raises(InputError, match="the certificate is another person's"):
        half_signed.sign("validator", identity=half_signed.identity("validator", "Grace Hopper"))


def test_a_rejection_is_recorded_and_ends_the_sequence(half_signed):
    half_signed.sign("validator", decision="reject", conditions="Leaks the future.")
    assert half_signed.verify().records[-1].decision == "reject"
    assert half_signed.failures() == ""
    with pytest.raises(InputError, match="the validator rejected this run"):
        half_signed.sign("approver")


@pytest.mark.parametrize(
    ("gate", "decision", "allowed"),
    [
        ("open", "approve", True),
        ("open", "approve_with_conditions", True),
        ("conditional", "approve", False),
        ("conditional", "approve_with_conditions", True),
        ("closed", "approve", False),
        ("closed", "approve_with_conditions", False),
        ("closed", "reject", True),
    ],
)
def test_an_approver_is_never_more_permissive_than_the_gate(new_case, gate, decision, allowed):
    case = new_case(pdf=False, gate=gate)
    case.sign("developer")
    case.sign("validator")
    conditions = "half size" if decision == "approve_with_conditions" else ""
    if allowed:
        assert case.sign("approver", None, decision, conditions).decision == decision
    else:
        with pytest.raises(InputError, match=f"gate is {gate}"):
            case.sign("approver", None, decision, conditions)


@pytest.mark.parametrize(
    ("decision", "conditions", "said"),
    [
        ("approve_with_conditions", " ", "must state them"),
        ("approve", "half size", "unconditional approval"),
    ],
)
def test_conditions_fit_the_decision(half_signed, decision, conditions, said):
    with pytest.raises(InputError, match=said):
        half_signed.sign("validator", None, decision, conditions)


def test_time_has_a_zone_and_does_not_run_backwards(half_signed):
    with pytest.raises(InputError, match="needs a zone"):
        half_signed.sign("validator", now=dt.datetime(2026, 5, 1))
    with pytest.raises(InputError, match="signed later than now"):
        half_signed.sign("validator", now=NOW - dt.timedelta(minutes=1))


@pytest.mark.parametrize("path", ["run.json", "report/report.pdf", "report/report.signed.pdf"])
def test_a_changed_run_cannot_be_signed(half_signed, path):
    target = half_signed.folder / path
    target.write_bytes(target.read_bytes()[:-1])
    before = unchanged(half_signed)
    with pytest.raises(IntegrityError, match="does not verify cannot be signed"):
        half_signed.sign("validator")
    assert unchanged(half_signed) == before


def test_the_folder_must_be_the_runs(half_signed, new_case):
    other = new_case(seed=8)
    with pytest.raises(IntegrityError, match="folder of another run"):
        signoff.sign(
            half_signed.folder, other.run, half_signed.root, "validator", "Émile Borel", "approve",
            "", half_signed.identity("validator"), NOW,
        )  # fmt: skip


@pytest.mark.parametrize("key", ["p256", "rsa", "ed25519"])
def test_signers_with_pkcs12_under_a_real_root(new_case, tmp_path, key):
    authority, case = Authority(), new_case()
    root = authority.root_file(tmp_path)
    for role in ROLES[:2]:
        person = f"Person {role}"
        path = authority.p12(tmp_path, person, key=key)
        identity = pkcs12_identity(path, b"secret")
        case.sign(role, person=person, identity=identity, trust=root)
    found = case.verify(root)
    assert case.failures(root) == ""
    assert found.trust == "CN=Bank Root"
    assert "no root to trust" in case.failures()
    assert "is not trusted" in case.failures(Authority("Other").root_file(tmp_path))


def test_nobody_signs_what_the_given_root_would_not_trust(half_signed, new_case, tmp_path):
    authority = Authority()
    identity = pkcs12_identity(authority.p12(tmp_path, "Émile Borel"), b"secret")
    with pytest.raises(IntegrityError, match="is not trusted"):
        half_signed.sign("validator", identity=identity)
    with pytest.raises(IntegrityError, match="does not verify cannot be signed"):
        half_signed.sign("validator", identity=identity, trust=authority.root_file(tmp_path))


@pytest.mark.parametrize("days", [(-20.0, -1.0), (1.0, 20.0)])
def test_nobody_signs_with_a_certificate_that_is_not_valid_now(new_case, tmp_path, days):
    authority, case = Authority(), new_case()
    identity = pkcs12_identity(authority.p12(tmp_path, "Ada Lovelace", days=days), b"secret")
    with pytest.raises(IntegrityError, match="is not trusted"):
        case.sign("developer", identity=identity, trust=authority.root_file(tmp_path))
    assert [entry.action for entry in audit.read_chain(case.root).entries] == ["reports rendered"]


def forged(case, role, identity, **changes):
    """A sign-off put into the folder with its audit entry, past the rules of signing."""
    records = case.verify().records
    record = SignOff(
        **{
            "run": case.run.digest,
            "role": role,
            "person": identity.person,
            "decision": "approve",
            "manifest": signoff.manifest(case.folder),
            "certificate": certificate_digest(identity.records.certificate),
            "trust": "demo",
            "at": NOW.isoformat(),
            "previous": records[-1].digest if records else None,
            "audit_head": audit.read_chain(case.root).head,
            **changes,
        }
    )
    data = sign_payload(record.to_json(), SIGN_OFF, identity.records).to_json()
    case.envelope(role).parent.mkdir(exist_ok=True)
    case.envelope(role).write_bytes(data)
    audit.append(case.root, "sign_off", record.person, audit_body(record, sha256(data)), record.at)


@pytest.fixture
def plain(new_case):
    """A run without PDF, signed by the developer."""
    case = new_case(pdf=False)
    case.sign("developer")
    return case


def test_the_forger_of_these_tests_can_make_a_good_one(plain):
    forged(plain, "validator", plain.identity("validator"))
    assert plain.failures() == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"at": (NOW + 4000 * DAY).isoformat()}, "is not trusted"),
        ({"at": (NOW - DAY / 2).isoformat()}, "signed before the developer"),
        ({"at": "yesterday"}, "cannot be checked"),
        ({"person": "Grace Hopper"}, "certificate is another person's"),
        ({"certificate": "0" * 64}, "another certificate"),
        ({"trust": "CN=Bank Root"}, "another root"),
        ({"run": "0" * 64}, "about something else"),
        ({"previous": None}, "does not follow that of the developer"),
        ({"audit_head": "0" * 64}, "does not say what was signed"),
        ({"manifest": {}}, "differ from what the validator signed"),
    ],
)
def test_records_that_break_a_rule_fail_though_signed(plain, changes, said):
    forged(plain, "validator", plain.identity("validator"), **changes)
    assert said in plain.failures()


def test_one_person_in_two_roles_fails_though_signed(plain):
    ada = plain.identity("developer", "ADA LOVELACE")
    forged(plain, "validator", ada)
    assert "one person signed as developer and as validator" in plain.failures()


def test_signing_on_after_a_rejection_fails_though_signed(new_case):
    case = new_case(pdf=False)
    case.sign("developer", None, "reject")
    forged(case, "validator", case.identity("validator"))
    assert "signed after the developer had rejected" in case.failures()


def test_a_later_sign_off_without_pdf_fails(half_signed):
    forged(half_signed, "validator", half_signed.identity("validator"))
    assert "does not say what PDF was signed" in half_signed.failures()


class Killed(BaseException):
    """Stands for the death of the process."""


def kill(*args, **kwargs):
    raise Killed


def test_killed_before_the_audit_entry_nothing_is_signed(half_signed, monkeypatch):
    before = unchanged(half_signed)
    with monkeypatch.context() as patch:
        patch.setattr(audit.LockedChain, "append", kill)
        with pytest.raises(Killed):
            half_signed.sign("validator")
    assert "a sign-off was interrupted; got .signing" in half_signed.failures()
    assert {p: d for p, d in unchanged(half_signed).items() if ".signing" not in str(p)} == before
    half_signed.sign("validator")
    assert half_signed.failures() == ""
    assert len(half_signed.verify().records) == 2


def test_killed_while_staging_nothing_is_signed(half_signed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(staging, "write_synced", kill)
        patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            half_signed.sign("validator")
    assert "a sign-off was interrupted" in half_signed.failures()
    half_signed.sign("validator")
    assert half_signed.failures() == ""


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_killed_after_the_audit_entry_signing_again_completes(half_signed, monkeypatch, moves):
    real, done = Path.replace, []

    def replace(self, target):
        if len(done) == moves:
            raise Killed
        done.append(target)
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        if moves == 2:
            patch.setattr(Path, "rmdir", kill)
        with pytest.raises(Killed):
            half_signed.sign("validator")
    assert "a sign-off was interrupted" in half_signed.failures()
    entries = audit.read_chain(half_signed.root).entries
    if moves < 2:
        record = half_signed.sign("validator")
        assert record == half_signed.verify().records[-1]
    else:  # the record was in its place already
        with pytest.raises(InputError, match="has signed this run already"):
            half_signed.sign("validator")
    assert half_signed.failures() == ""
    assert audit.read_chain(half_signed.root).entries == entries


def test_killed_while_the_audit_entry_is_written_nothing_is_signed(half_signed, monkeypatch):
    real = os.pwrite

    def half(handle, data, offset):
        real(handle, data[: len(data) // 2], offset)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        with pytest.raises(Killed):
            half_signed.sign("validator")
    assert "torn" in half_signed.failures()
    half_signed.sign("validator")
    assert half_signed.failures() == ""
    actions = [entry.action for entry in audit.read_chain(half_signed.root).entries]
    assert actions == ["reports rendered", "sign_off", "discard_torn_tail", "sign_off"]


@pytest.mark.parametrize("call", ["governance.signoff.staging.write_synced", "os.pwrite"])
def test_a_full_disk_leaves_nothing_behind(half_signed, monkeypatch, call):
    before = unchanged(half_signed)
    real, calls = os.pwrite, []

    def full(*args):
        calls.append(1)
        if len(calls) > 1:  # what puts the old bytes back
            return real(*args)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(OSError, match="No space left"):
            half_signed.sign("validator")
    assert unchanged(half_signed) == before
    half_signed.sign("validator")
    assert half_signed.failures() == ""


def test_a_chain_cut_back_is_missed_by_the_sign_offs(signed):
    lines = signed.chain.read_bytes().splitlines(keepends=True)
    for kept in range(4):
        signed.chain.write_bytes(b"".join(lines[:kept]))
        assert "audit chain has no entry for the sign-off" in signed.failures()
    signed.chain.unlink()
    assert "audit chain has no entry for the sign-off of the developer" in signed.failures()


def test_a_chain_written_anew_is_found(signed):
    """Hashes alone are not enough: the recorded heads bind the chain to the signatures."""
    entries = audit.read_chain(signed.root).entries
    signed.chain.unlink()
    audit.append(signed.root, "seal", "Eve", {}, entries[0].at)
    for entry in entries:
        body = json.loads(entry.body)
        audit.append(signed.root, entry.action, entry.actor, body, entry.at)
    assert audit.read_chain(signed.root).torn == b""
    assert "does not say what was signed" in signed.failures()


def test_records_are_canonical(sealed):
    for record in sealed.verify().records:
        assert record.to_json() == canonical_json(record.model_dump(mode="json"))
