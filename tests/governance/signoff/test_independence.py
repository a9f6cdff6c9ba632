"""Whom the model card names neither validates nor approves the model."""

from __future__ import annotations

import pytest

from finchaos.core.errors import InputError
from finchaos.core.subject import ModelCard
from governance.record import SubjectRef
from governance.signoff.duties import require_independence
from tests.governance.evidence import small_run


@pytest.fixture
def named(new_case):
    card = ModelCard(name="m", version="1", developer="Ada Lovelace", owner="Kurt Gödel")
    subject = SubjectRef(card=card.as_json(), digest="0" * 64, capabilities=())
    return new_case(pdf=False, subject=subject)


@pytest.mark.parametrize("person", ["ada lovelace", "LOVELACE, Ada", "Kurt Gödel"])
def test_developer_and_owner_neither_validate_nor_approve(named, person):
    named.sign("developer", "Emmy Noether")
    with pytest.raises(InputError, match="of the model cannot be its validator"):
        named.sign("validator", person)
    named.sign("validator")
    with pytest.raises(InputError, match="of the model cannot be its approver"):
        named.sign("approver", person)
    named.sign("approver")
    assert named.verify().ok


def test_the_owner_may_submit_the_model(named):
    named.sign("developer", "Kurt Gödel")
    assert named.failures() == ""


@pytest.mark.parametrize("name", ["undeclared", "Undeclared ", ""])
def test_an_undeclared_name_bars_nobody(name):
    card = {**ModelCard(name="m", version="1").as_json(), "developer": name, "owner": name}
    run = small_run(subject=SubjectRef(card=card, digest="0" * 64, capabilities=()))
    require_independence(run, "validator", "Undeclared")
    require_independence(run, "approver", "Émile Borel")


@pytest.mark.parametrize(
    ("role", "person", "part"),
    [
        ("validator", "Ada Lovelace", "developer"),
        ("validator", "Kurt Gödel", "owner"),
        ("approver", "Ada Lovelace", "developer"),
        ("approver", "Kurt Gödel", "owner"),
    ],
)
def test_a_signature_past_the_rule_fails_verification(named, monkeypatch, role, person, part):
    named.sign("developer", "Emmy Noether")
    if role == "approver":
        named.sign("validator")
    with monkeypatch.context() as patch:
        patch.setattr("governance.signoff.duties.require_independence", lambda *a: None)
        named.sign(role, person)
    said = f"separation of duties: the {part} of the model cannot be its {role}"
    assert said in named.failures()
