"""The packs that ship, how they correspond, and packs that extend each other."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from finchaos.core.errors import DocumentError
from governance.policy import load_policy, policy_names
from tests.governance.evidence import evidence

SHIPPED = ("baseline", "e_23", "eu_ai_act", "rts_6", "sr_11_7", "sr_26_2", "ss1_23")
COUNTS = {
    "e_23": {"1": 3, "2": 3, "3": 6},
    "ss1_23": {"1": 3, "2": 6, "3": 6, "4": 5, "5": 3},
}
CLAUSES = {
    name: [f"{main}.{sub}" for main, count in counts.items() for sub in range(1, count + 1)]
    for name, counts in COUNTS.items()
}
CLAUSES["e_23"].append("App.1")
CLAUSES["rts_6"] = [str(number) for number in range(1, 19)]
CLAUSES["eu_ai_act"] = [str(n) for n in (*range(9, 16), 17, 18, 19, 20, 26, 72, 73)]
PACK = """
name: {name}
title: House rules
version: 1.0.0
status: active
source: test
extends: {extends}
"""


def pack(folder: Path, name: str, extends: str, more: str = "") -> str:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PACK.format(name=path.stem, extends=extends) + more)
    return str(path)


def documents():
    return {name: load_policy(name).document for name in SHIPPED}


def test_the_packs_that_ship():
    assert policy_names() == SHIPPED
    status = {name: document.status for name, document in documents().items()}
    assert status["sr_11_7"] == "superseded"
    assert status["eu_ai_act"] == "voluntary"
    assert status["e_23"] == "upcoming"


@pytest.mark.parametrize("name", CLAUSES)
def test_a_pack_has_every_clause_once(name):
    assert [clause.id for clause in load_policy(name).document.clauses] == CLAUSES[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_pattern_of_a_clause_and_a_tier_matches_a_rule(name):
    policy = load_policy(name)
    patterns = [p for clause in policy.document.clauses for p in clause.rules]
    assert policy.document.tiers is not None
    patterns += [p for depth in policy.document.tiers.depth.values() for p in depth.required]
    for pattern in patterns:
        assert any(fnmatchcase(rule, pattern) for rule in policy.rules), pattern


def test_links_between_packs_lead_somewhere_and_back():
    links = {
        f"{name}:{clause.id}": set(clause.maps_to)
        for name, document in documents().items()
        for clause in document.clauses
    }
    for clause, others in links.items():
        for other in others:
            assert clause in links[other], f"{other} does not map back to {clause}"
            assert other.split(":")[0] != clause.split(":")[0]


def test_every_clause_says_what_it_needs_and_copies_no_other():
    said = [
        (clause.summary, clause.needs)
        for document in documents().values()
        for clause in document.clauses
    ]
    summaries = [summary for summary, _ in said]
    assert len(set(summaries)) == len(summaries)
    assert all(len(summary) > 15 and len(needs) > 8 for summary, needs in said)


@pytest.mark.parametrize("name", CLAUSES)
def test_without_evidence_every_clause_is_not_evidenced(name):
    judged = load_policy(name).judge([])
    assert {row.status for row in judged.coverage} == {"not_evidenced"}


def test_load_tests_of_order_systems_are_not_evidenced_by_replays():
    items = [evidence(0.0, check="stress", metric="excess_loss", scenario="gfc_2008")]
    rows = {row.clause: row.status for row in load_policy("rts_6").judge(items).coverage}
    assert rows["5"] == "partly_evidenced"
    assert rows["10"] == "not_evidenced"


def test_a_pack_inherits_clauses_tiers_and_gate_and_may_replace_a_clause(tmp_path):
    more = """
closed_by: [critical]
clauses:
  - {id: A4, section: own, summary: our own dependencies, needs: our graph}
  - {id: H1, section: own, summary: our own clause, needs: our evidence}
"""
    policy = load_policy(pack(tmp_path, "house", "sr_26_2", more))
    deeper = load_policy(pack(tmp_path, "desk", "house.yaml"))
    for found in (policy, deeper):
        clauses = {clause.id: clause for clause in found.document.clauses}
        assert len(clauses) == 17
        assert clauses["A4"].needs == "our graph"
        assert found.closed_by == ("critical",)
        assert found.document.tiers == load_policy("baseline").document.tiers
    assert deeper.digest != policy.digest


def test_a_path_under_extends_starts_from_its_own_file(tmp_path):
    pack(tmp_path, "packs/base", "baseline")
    pack(tmp_path, "packs/house", "base.yaml")
    policy = load_policy("packs/house.yaml", beside=tmp_path)
    assert policy.document.name == "house"


def test_a_pack_that_extends_itself_is_refused(tmp_path):
    pack(tmp_path, "house", "house.yaml")
    with pytest.raises(DocumentError, match=r"extends itself.*got house.yaml -> house.yaml"):
        load_policy("house.yaml", beside=tmp_path)


def test_two_packs_that_extend_each_other_are_refused(tmp_path):
    pack(tmp_path, "one", "two.yaml")
    pack(tmp_path, "two", "one.yaml")
    with pytest.raises(DocumentError, match=r"one.yaml -> two.yaml -> one.yaml"):
        load_policy("one.yaml", beside=tmp_path)


def test_a_long_loop_is_named_without_what_leads_to_it(tmp_path):
    for number in range(30):
        pack(tmp_path, f"p{number}", f"p{number + 1 if number < 29 else 5}.yaml")
    with pytest.raises(DocumentError) as caught:
        load_policy("p0.yaml", beside=tmp_path)
    said = str(caught.value)
    assert "p5.yaml -> p6.yaml" in said
    assert said.count("->") == 25
    assert "p4.yaml" not in said
    assert "p29.yaml" in said


def test_a_loop_by_other_spellings_and_links_is_refused(tmp_path):
    pack(tmp_path, "in/one", "../out/./two.yaml")
    pack(tmp_path, "out/two", "../link.yaml")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "in" / "one.yaml")
    with pytest.raises(DocumentError, match="extends itself through others"):
        load_policy(str(tmp_path / "in" / "one.yaml"))


def test_a_long_chain_without_a_loop_loads(tmp_path):
    for number in range(40):
        pack(tmp_path, f"p{number}", f"p{number + 1}.yaml" if number < 39 else "sr_11_7")
    policy = load_policy("p0.yaml", beside=tmp_path)
    assert policy.document.name == "p0"
    assert len(policy.document.clauses) == 39


def test_another_guidance_is_covered_by_findings_under_this_one():
    judging, beside = load_policy("sr_26_2"), load_policy("ss1_23")
    items = [evidence(0.0, check="materiality", metric="tiers_understated")]
    rows = {row.clause: row for row in beside.coverage(judging.judge(items).findings)}
    assert rows["1.3"].status == "partly_evidenced"
    assert rows["1.3"].worst == "pass"
    assert rows["2.5"].status == "not_evidenced"
