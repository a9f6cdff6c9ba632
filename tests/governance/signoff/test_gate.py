from __future__ import annotations

import pytest

from governance.record import ROLES, SignOff
from governance.signoff.gate import gate_code
from governance.signoff.verification import Outcome, SignedRecord, Verification
from tests.governance.evidence import small_run

GOOD = (Outcome("all", True, ""),)


def verified(run, *decisions, ok=True, trust="CN=Bank Root"):
    """A verification with decisions in the order of roles; envelopes do not matter here."""
    signed = []
    for role, decision in zip(ROLES, decisions, strict=False):
        record = SignOff(
            run=run.digest, role=role, person=f"P {role}", decision=decision,
            conditions="half size" if decision == "approve_with_conditions" else "",
            manifest={}, certificate="0" * 64, trust=trust, at="2026-05-01T12:00:00+00:00",
            previous=None,
        )  # fmt: skip
        signed.append(SignedRecord(record, None, ""))
    bad = () if ok else (Outcome("exhibits", False, "changed"),)
    return Verification(GOOD + bad, tuple(signed), trust)


YES, WITH, NO = "approve", "approve_with_conditions", "reject"


@pytest.mark.parametrize(
    ("gate", "inconclusive", "decisions", "code", "said"),
    [
        ("open", False, (YES, YES, YES), 0, "approved by P approver"),
        ("open", False, (YES, YES, WITH), 0, "half size"),
        ("open", False, (YES, WITH, YES), 0, "validator: half size"),
        ("open", False, (), 11, "developer, validator, approver"),
        ("open", False, (YES, YES), 11, "not signed yet by: approver"),
        ("open", False, (YES, NO), 10, "the validator P validator rejected"),
        ("open", False, (YES, YES, NO), 10, "rejected"),
        ("conditional", False, (YES, YES, YES), 11, "not accepted with conditions"),
        ("conditional", False, (YES, YES, WITH), 0, "conditions: approver: half size"),
        ("conditional", False, (YES,), 11, "not signed"),
        ("closed", False, (), 10, "policy's gate is closed: too risky"),
        ("closed", False, (YES, YES, YES), 10, "policy's gate is closed"),
        ("closed", True, (), 12, "could not be"),
        ("closed", True, (YES, YES, YES), 12, "could not be"),
        ("closed", True, (YES, NO), 10, "rejected"),
    ],
)
def test_codes(gate, inconclusive, decisions, code, said):
    run = small_run(gate=gate, inconclusive=inconclusive, gate_reasons=("too risky",))
    got, reason = gate_code(run, verified(run, *decisions))
    assert got == code
    assert said in reason


@pytest.mark.parametrize("gate", ["open", "conditional", "closed"])
@pytest.mark.parametrize("decisions", [(), (YES, YES, YES), (YES, NO)])
def test_broken_evidence_comes_before_everything(gate, decisions):
    run = small_run(gate=gate, inconclusive=True)
    assert gate_code(run, verified(run, *decisions, ok=False)) == (20, "exhibits: changed")


def test_sign_offs_of_another_run_never_open_the_gate():
    found = verified(small_run(seed=8), YES, YES, YES)
    assert gate_code(small_run(), found) == (20, "the sign-offs are about another run")


def test_demo_trust_is_said():
    run = small_run()
    assert "DEMO TRUST" in gate_code(run, verified(run, YES, YES, YES, trust="demo"))[1]
    assert "DEMO TRUST" not in gate_code(run, verified(run, YES, YES, YES))[1]


@pytest.mark.parametrize(
    ("trust", "accept_demo", "code"),
    [("demo", True, 0), ("demo", False, 11), ("CN=Bank Root", False, 0)],
)
def test_demo_trust_can_be_refused(trust, accept_demo, code):
    run = small_run()
    found = verified(run, YES, YES, YES, trust=trust)
    got, reason = gate_code(run, found, accept_demo=accept_demo)
    assert got == code
    assert ("DEMO TRUST" in reason) == (trust == "demo")


def test_refusing_demo_trust_hides_nothing_worse():
    run = small_run(gate="closed", gate_reasons=("too risky",))
    approved = verified(run, YES, YES, YES, trust="demo")
    assert gate_code(run, approved, accept_demo=False)[0] == 10
    broken = verified(run, YES, YES, YES, trust="demo", ok=False)
    assert gate_code(run, broken, accept_demo=False)[0] == 20


def test_a_signed_run_passes_and_a_changed_one_is_broken(signed):
    assert gate_code(signed.run, signed.verify())[0] == 0
    page = signed.folder / "report" / "report.html"
    page.write_bytes(page.read_bytes() + b" ")
    code, reason = gate_code(signed.run, signed.verify())
    assert code == 20
    assert "report/report.html is not what was rendered" in reason
