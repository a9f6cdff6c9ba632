"""The gate: whether a run may be promoted, as an exit code that a pipeline can act on.

====  ==================================================================================
Code  Meaning
====  ==================================================================================
0     open: the policy's gate is open, or conditional and accepted with conditions, and
      developer, validator and approver have approved
10    closed: by the policy, or because somebody rejected the run
11    not yet open: an approval is missing, or a conditional gate was not accepted with
      conditions, or demonstration signatures are not accepted
12    inconclusive: the gate is closed only because something could not be assessed
20    broken: evidence or a signature does not verify
====  ==================================================================================

Signatures never open what the policy closed. The first that applies of 20, 10 (rejection), 12,
10 (policy), 11 is returned.
"""

from __future__ import annotations

from governance.record import ROLES, Run
from governance.signoff.verification import Verification

OPEN, CLOSED, NOT_YET, INCONCLUSIVE, BROKEN = 0, 10, 11, 12, 20


def gate_code(run: Run, verification: Verification, *, accept_demo: bool = True) -> tuple[int, str]:
    """Exit code and the reason for it.

    Parameters
    ----------
    run : Run
    verification : Verification
        Of that run's folder.
    accept_demo : bool
        Whether signatures of the demonstration authority, which prove nothing about who signed,
        may open the gate.
    """
    if not verification.ok:
        first = verification.failures[0]
        return BROKEN, f"{first.name}: {first.detail}"
    decisions = {record.role: record for record in verification.records}
    for record in decisions.values():
        if record.run != run.digest:
            return BROKEN, "the sign-offs are about another run"
        if record.decision == "reject":
            return CLOSED, f"the {record.role} {record.person} rejected the run"
    if run.gate == "closed":
        because = "; ".join(run.gate_reasons) or "no reason given"
        if run.inconclusive:
            return INCONCLUSIVE, f"something that must be assessed could not be: {because}"
        return CLOSED, f"the policy's gate is closed: {because}"
    if missing := [role for role in ROLES if role not in decisions]:
        return NOT_YET, f"not signed yet by: {', '.join(missing)}"
    approval = decisions["approver"]
    if run.gate == "conditional" and approval.decision != "approve_with_conditions":
        return NOT_YET, "the gate is conditional and was not accepted with conditions"
    if verification.trust == "demo" and not accept_demo:
        return NOT_YET, "signed under DEMO TRUST only, which is not accepted here"
    said = "; ".join(f"{r.role}: {r.conditions}" for r in decisions.values() if r.conditions)
    label = " (DEMO TRUST)" if verification.trust == "demo" else ""
    return OPEN, f"approved by {approval.person}{label}" + (f"; conditions: {said}" if said else "")
