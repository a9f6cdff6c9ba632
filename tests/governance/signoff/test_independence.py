"""Whom the model card names cannot approve the model, and reports are those that were rendered."""

from __future__ import annotations

import pytest

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.subject import ModelCard
from governance.record import SubjectRef
from governance.signoff.rendered import record_reports
from tests.governance.signoff.authority import NOW


@pytest.fixture
def named(new_case):
    card = ModelCard(name="m", version="1", developer="Ada Lovelace", owner="Kurt Gödel")
    subject = SubjectRef(card=card.as_json(), digest="0" * 64, capabilities=())
    return new_case(pdf=False, subject=subject)


@pytest.mark.parametrize("person", ["ada lovelace", "LOVELACE, Ada", "Kurt Gödel"])
def test_developer_and_owner_cannot_validate(named, person):
    named.sign("developer", "Emmy Noether")
    with pytest.raises(InputError, match="of the model cannot be its validator"):
        named.sign("validator", person)
    named.sign("validator")
    with pytest.raises(InputError, match="of the model cannot be its approver"):
        named.sign("approver", "Ada Lovelace")
    named.sign("approver")
    assert named.verify().ok


def test_a_signature_of_the_developer_as_validator_fails_verification(named, monkeypatch):
    named.sign("developer", "Emmy Noether")
    with monkeypatch.context() as patch:
        patch.setattr("governance.signoff.duties.require_independence", lambda *a: None)
        named.sign("validator", "Ada Lovelace")
    assert "developer of the model cannot be its validator" in named.failures()


def test_a_report_changed_after_rendering_is_neither_signed_nor_verified(new_case):
    case = new_case(pdf=False)
    record_reports(case.folder, case.run.digest, case.root, NOW.isoformat())
    record_reports(case.folder, case.run.digest, case.root, NOW.isoformat())  # once is enough
    assert len(case.chain.read_text().splitlines()) == 1
    assert case.verify().ok
    (case.folder / "report" / "report.html").write_bytes(b"<h1>ALL GREEN</h1>")
    assert "report.html is not what was rendered" in case.failures()
    with pytest.raises(IntegrityError, match="not what was rendered"):
        case.sign("developer")


def test_a_report_rendered_anew_counts(new_case):
    case = new_case(pdf=False)
    record_reports(case.folder, case.run.digest, case.root, NOW.isoformat())
    (case.folder / "report" / "report.html").write_bytes(b"<h1>Rendered again</h1>")
    record_reports(case.folder, case.run.digest, case.root, NOW.isoformat())
    case.sign("developer")
    assert case.verify().ok


def test_a_stray_file_among_the_reports_is_found(new_case):
    case = new_case(pdf=False)
    (case.folder / "report" / "evil.exe").write_bytes(b"MZ")
    assert "evil.exe" in case.failures()
    with pytest.raises(IntegrityError, match=r"evil\.exe"):
        case.sign("developer")
