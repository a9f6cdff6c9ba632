import dataclasses
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import DocumentError, UnknownNameError
from governance.policy import load_crosswalk, load_policy, policy_names
from governance.record import SEVERITIES
from tests.governance.evidence import evidence

RULES = """
name: house
title: House rules
version: 1.0.0
status: active
source: test
rules:
  wf.sharpe:
    {{check: walk_forward, metric: sharpe, where: {{fold: "-"}}, operator: ">=", limit: {limit},
      on: {on}, severity: {severity}, breach: {breach}, when_not_assessed: {missing},
      rationale: a limit that only a test would set}}
clauses:
  - {{id: C1, section: I, summary: s, needs: n, rules: ["wf.*"], extent: full}}
  - {{id: C2, section: II, summary: s, needs: n}}
"""


def policy(tmp_path, **words):
    fill = {"limit": 0, "on": "value", "severity": "high", "breach": "fail", "missing": "block"}
    path = tmp_path / "house.yaml"
    path.write_text(RULES.format(**{**fill, **words}))
    return load_policy(str(path))


def test_every_shipped_pack_loads_and_names_only_what_exists():
    assert {"baseline", "sr_26_2", "sr_11_7"} <= set(policy_names())
    for name in policy_names():
        pack = load_policy(name)
        assert pack.rules
        assert load_policy(name).digest == pack.digest


def test_shipped_packs_have_their_clauses():
    assert len(load_policy("sr_26_2").document.clauses) == 16
    assert len(load_policy("sr_11_7").document.clauses) == 39
    assert load_policy("sr_11_7").document.status == "superseded"


def test_crosswalk_links_lead_somewhere():
    clauses = {
        f"{name}:{clause.id}": clause
        for name in policy_names()
        for clause in load_policy(name).document.clauses
    }
    for clause in clauses.values():
        assert set(clause.maps_to) <= set(clauses)


@pytest.mark.parametrize(
    ("value", "words", "verdict", "gate", "inconclusive"),
    [
        (0.5, {}, "pass", "open", False),
        (-0.5, {}, "fail", "closed", False),
        (-0.5, {"severity": "moderate"}, "fail", "conditional", False),
        (-0.5, {"breach": "warn"}, "warn", "conditional", False),
        (None, {}, "not_assessed", "closed", True),
        (None, {"missing": "warn"}, "not_assessed", "conditional", False),
        (None, {"missing": "ignore"}, "not_assessed", "open", False),
    ],
)
def test_verdict_and_gate(tmp_path, value, words, verdict, gate, inconclusive):
    judged = policy(tmp_path, **words).judge([evidence(value)])
    assert [f.verdict for f in judged.findings] == [verdict]
    assert (judged.gate, judged.inconclusive) == (gate, inconclusive)


def test_no_evidence_at_all_is_never_a_pass(tmp_path):
    judged = policy(tmp_path).judge([])
    assert judged.findings[0].verdict == "not_assessed"
    assert judged.gate == "closed"
    assert judged.inconclusive


def test_the_end_of_an_interval_can_be_judged(tmp_path):
    pack = policy(tmp_path, on="low")
    assert pack.judge([evidence(0.5, interval=(-0.1, 1.0))]).gate == "closed"
    assert pack.judge([evidence(0.5, interval=(0.1, 1.0))]).gate == "open"
    assert pack.judge([evidence(0.5)]).findings[0].verdict == "not_assessed"


def test_evidence_that_fails_its_own_check_is_not_believed(tmp_path):
    judged = policy(tmp_path).judge([evidence(0.5, residual=1.0)])
    assert judged.findings[0].verdict == "not_assessed"
    assert "own check" in judged.findings[0].statement


def test_a_statement_says_metric_value_unit_interval_and_limit(tmp_path):
    found = evidence(0.25, interval=(-0.1, 1.0)).model_copy(update={"unit": "ratio p.a."})
    (finding,) = policy(tmp_path, on="low").judge([found]).findings
    assert finding.statement == (
        "Walk forward: sharpe is 0.25 p.a. (95 % interval -0.1 p.a. to 1 p.a.), whose low end "
        "breaches the limit: at least 0 p.a."
    )
    assert finding.observed == -0.1


def test_a_lower_bound_and_a_note_are_said(tmp_path):
    found = evidence(-3.0).model_copy(
        update={"unit": "bars", "at_least": True, "note": "waited 63 bars"}
    )
    (finding,) = policy(tmp_path).judge([found]).findings
    assert finding.statement == (
        "Walk forward: sharpe is at least -3 bars (waited 63 bars), which breaches the limit: "
        "at least 0 bars"
    )


def test_what_failed_stands_first_among_the_reasons():
    pack = load_policy("baseline")
    items = [
        evidence(0.1, check="challengers", metric="sharpe_difference", interval=(-1.0, 1.0),
                 challenger="x"),
        evidence(0.1, check="walk_forward", metric="sharpe", interval=(-1.0, 1.0)),
    ]  # fmt: skip
    only = dataclasses.replace(
        pack, rules={key: rule for key, rule in pack.rules.items()
                     if rule.metric in ("sharpe", "sharpe_difference") and rule.on == "low"}
    )  # fmt: skip
    judged = only.judge(items)
    assert judged.gate == "conditional"
    by_statement = {f"{f.severity}: {f.statement}": f.verdict for f in judged.findings}
    said = [by_statement[reason] for reason in judged.reasons]
    assert "warn" in said
    assert said == sorted(said, key=lambda verdict: verdict != "fail")
    assert said[0] == "fail"


@pytest.mark.parametrize(
    ("operator", "values", "observed", "verdict"),
    [
        (">=", (-0.1, -2.0, 0.5), -2.0, "fail"),
        (">=", (3.0, 0.2, 1.0), 0.2, "pass"),
        ("<=", (0.1, 2.0, -5.0), 2.0, "fail"),
        ("<", (-3.0, 0.0, -1.0), 0.0, "fail"),
        (">", (0.4, 0.3, 9.0), 0.3, "pass"),
        ("==", (0.0, 3.0, -7.0), -7.0, "fail"),
        ("between", (1.2, -0.5, 0.5), -0.5, "fail"),
        ("between", (0.5, 0.9, 0.2), 0.9, "pass"),
    ],
)
def test_of_several_in_a_slice_the_worst_is_observed(tmp_path, operator, values, observed, verdict):
    path = tmp_path / "house.yaml"
    fill = {"limit": 0, "on": "value", "severity": "high", "breach": "fail", "missing": "block"}
    upper = ", upper: 1" if operator == "between" else ""
    text = RULES.format(**fill).replace('operator: ">="', f'operator: "{operator}"{upper}')
    path.write_text(text)
    pack = load_policy(str(path))
    windows = [f"20{year}-01-03" for year in (10, 11, 12)]
    for order in itertools.permutations(values):
        items = [
            item.model_copy(update={"window": item.window.model_copy(update={"end": end})})
            for item, end in zip(map(evidence, order), windows, strict=True)
        ]
        (finding,) = pack.judge(items).findings
        assert (finding.observed, finding.verdict) == (observed, verdict)
        assert len(finding.evidence) == 3


def test_slices_are_selected(tmp_path):
    pack = policy(tmp_path)
    judged = pack.judge([evidence(0.5), evidence(-9.0, fold="1")])
    assert [f.id for f in judged.findings] == ["wf.sharpe"]
    assert judged.gate == "open"


def test_a_finding_keeps_its_id_when_only_the_window_moves(tmp_path):
    pack = policy(tmp_path)
    moved = evidence(0.4).model_copy(
        update={"window": evidence(0.4).window.model_copy(update={"end": "2013-01-03"})}
    )
    first, second = pack.judge([evidence(0.4)]), pack.judge([moved])
    assert first.findings[0].id == second.findings[0].id
    assert first.findings[0].evidence != second.findings[0].evidence


def test_coverage_tells_evidenced_from_not(tmp_path):
    rows = policy(tmp_path).judge([evidence(0.5)]).coverage
    assert [(r.clause, r.status) for r in rows] == [("C1", "evidenced"), ("C2", "not_evidenced")]
    rows = policy(tmp_path).judge([evidence(None)]).coverage
    assert rows[0].status == "not_evidenced"


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=4))
def test_the_order_of_evidence_does_not_matter(tmp_path_factory, values):
    pack = policy(tmp_path_factory.mktemp("p"))
    items = [evidence(v, kind=str(k)) for k, v in enumerate(values)]
    first, *others = (pack.judge(list(order)) for order in itertools.permutations(items))
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("check: walk_forward", "check: walk_backward"), "unknown check 'walk_backward'"),
        (("metric: sharpe", "metric: glory"), "no metric 'glory'"),
        (('rules: ["wf.*"]', 'rules: ["nothing.*"]'), "matches no rule"),
        (("title: House rules", "titel: House rules"), "titel"),
        (("title: House rules", "title: a\ntitle: b"), "duplicate key"),
        (("limit: 0", "limit: .inf"), "finite"),
        (("status: active", "status: active\nextends: house.yaml"), "extends itself"),
        (("status: active", "status: active\nextends: nobody"), "no policy named"),
        (('operator: ">="', "operator: between"), "upper"),
        (("name: house", "name: sr_26_2"), "the name of a pack that ships"),
    ],
)
def test_a_pack_that_makes_no_sense_is_refused(tmp_path, change, message):
    path = Path(tmp_path) / "house.yaml"
    fill = {"limit": 0, "on": "value", "severity": "high", "breach": "fail", "missing": "block"}
    path.write_text(RULES.format(**fill).replace(*change))
    with pytest.raises((DocumentError, UnknownNameError), match=message):
        load_policy("house.yaml", beside=Path(tmp_path))


def test_a_pack_without_rules_opens_nothing(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("{name: empty, title: t, version: 1.0.0, status: active, source: s}")
    with pytest.raises(DocumentError, match="has no rules"):
        load_policy(str(path))


def test_the_crosswalk_reads():
    moved = load_crosswalk()
    assert (moved.old, moved.new) == ("sr_11_7", "sr_26_2")
    assert set((moved.old, moved.new)) <= set(policy_names())


def test_reasons_begin_with_the_most_severe(tmp_path):
    reasons = load_policy("baseline").judge([]).reasons
    order = [SEVERITIES.index(reason.split(":")[0]) for reason in reasons]
    assert order == sorted(order)
