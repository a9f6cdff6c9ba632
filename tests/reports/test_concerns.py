"""What page one says is wrong: in plain words, worst first, nothing left out."""

from __future__ import annotations

from governance.policy import load_policy
from reports.concerns import concerns, plain_words
from reports.judgements import finding_lines, severity_sections
from tests.reports.sample import sample

SMALL = sample("small").run


def of(run):
    return concerns(run, severity_sections(finding_lines(run), run.cards))


def test_plain_words_speak_of_rules_that_exist() -> None:
    rules = load_policy("baseline").rules
    assert not set(plain_words()) - set(rules)
    for said in plain_words().values():
        assert set(said) == {"says", "do"}
        assert all(text.endswith(".") for text in said.values())


def test_every_rule_that_can_close_the_gate_has_plain_words() -> None:
    policy = load_policy("baseline")
    closing = {key for key, rule in policy.rules.items() if rule.severity in policy.closed_by}
    assert not closing - set(plain_words())


def test_every_weak_rule_is_told_once_and_what_closes_the_gate_comes_first() -> None:
    told = of(SMALL)
    weak = {f.rule for f in SMALL.findings if f.verdict != "pass"}
    assert {item.rule for item in told} == weak
    blocks = [item.blocks for item in told]
    assert blocks == sorted(blocks, reverse=True)
    assert any(blocks)
    assert {item.rule for item in told if item.blocks} == {
        f.rule for f in SMALL.findings if f.blocks
    }


def test_a_concern_has_figure_limit_reason_clause_and_remedy() -> None:
    findings = {f.rule: f for f in SMALL.findings}
    for item in of(SMALL):
        assert item.headline.endswith(".")
        assert item.remedy.endswith(".")
        assert item.why == findings[item.rule].rationale
        assert [c.split(" (")[0] for c in item.clauses] == list(findings[item.rule].cites)
        assert ("Limit: " in item.measured) is (item.verdict != "not_assessed")


def test_what_was_not_assessed_gives_the_reason() -> None:
    gaps = [item for item in of(SMALL) if item.verdict == "not_assessed"]
    assert gaps
    for item in gaps:
        assert "not assessed" in item.headline
        assert "was not assessed" not in item.measured
