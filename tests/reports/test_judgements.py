"""Weaknesses first, counts right, every clause a row."""

from __future__ import annotations

from reports.judgements import (
    coverage_lines,
    finding_lines,
    severity_sections,
    verdict_counts,
)
from reports.numbers import interval_text, quantity
from reports.summary import gate_sentence, paragraph
from tests.reports.sample import sample


def test_worst_findings_come_first() -> None:
    lines = finding_lines(sample("full").run)
    assert lines[0].finding.blocks
    assert (lines[0].finding.verdict, lines[0].finding.severity) == ("fail", "critical")
    verdicts = [line.finding.verdict for line in lines]
    assert verdicts[-1] == "pass"


def test_sections_hold_every_finding_once() -> None:
    run = sample("full").run
    sections = severity_sections(finding_lines(run), run.cards)
    assert [s.severity for s in sections] == ["critical", "high", "moderate", "low"]
    held = [
        line.finding.id
        for section in sections
        for block in (*section.weak, *section.passed)
        for line in block.lines
    ]
    assert sorted(held) == sorted(f.id for f in run.findings)


def test_passes_of_one_rule_are_said_in_one_line() -> None:
    run = sample("full").run
    sections = severity_sections(finding_lines(run), run.cards)
    block = next(b for s in sections for b in s.passed if b.rule == "walk_forward.sharpe_by_fold")
    assert block.passed is not None
    assert block.passed.where == "fold 1, 2, 3, 4, 5, 6"
    values = [line.finding.observed for line in block.lines if line.finding.observed is not None]
    assert block.passed.observed == f"{min(values):.3f} to {max(values):.3f}"


def test_value_and_interval_are_shown_where_an_end_is_judged() -> None:
    run = sample("small").run
    keys = {item.key: item for item in run.evidence}
    judged = [
        (line, keys[line.finding.evidence[0]])
        for line in finding_lines(run)
        if line.finding.threshold.on != "value" and line.finding.observed is not None
    ]
    assert judged
    for line, item in judged:
        assert item.value is not None
        assert item.interval is not None
        shown, _, ends = line.observed.partition(" (")
        assert shown == quantity(item.value, item.unit)
        assert ends == f"{interval_text(item.interval, item.unit)})"


def test_a_lower_bound_is_marked_wherever_it_is_observed() -> None:
    run = sample("small").run
    plain = {line.finding.id: line.observed for line in finding_lines(run)}
    evidence = tuple(
        item.model_copy(update={"at_least": item.value is not None}) for item in run.evidence
    )
    for line in finding_lines(run.model_copy(update={"evidence": evidence})):
        if line.finding.observed is not None:
            assert line.observed == f"≥ {plain[line.finding.id]}"


def test_counts_add_up() -> None:
    run = sample("full").run
    table = verdict_counts(run.findings)
    rows = [[int(cell.text) for cell in row[1:]] for row in table.rows]
    assert all(sum(row[:-1]) == row[-1] for row in rows)
    assert [sum(column) for column in zip(*rows[:-1], strict=True)] == rows[-1]
    assert rows[-1][-1] == len(run.findings)


def test_every_clause_has_a_row_and_unserved_ones_say_so() -> None:
    run = sample("small").run
    lines = {line.clause.clause: line for line in coverage_lines(run)}
    assert list(lines) == [row.clause for row in run.coverage]
    assert lines["A1"].status == "Not evidenced"
    assert lines["A1"].served_by == ""
    assert lines["A7"].served_by == "walk_forward (9)"


def test_summary_counts_what_the_run_holds() -> None:
    run = sample("full").run
    text = paragraph(run)
    missing = sum(item.status != "measured" for item in run.evidence)
    assert "5,031 real bars of ^GSPC from 1999-01-04 to 2018-12-31" in text
    assert "in 6 anchored walk-forward folds" in text
    assert f"12 checks made {len(run.evidence) - missing} measurements; {missing} more" in text
    assert f"Of {len(run.findings)} findings" in text
    assert "The gate is closed by 1 critical-severity failure" in text


def test_inconclusive_is_said_and_no_findings_is_no_pass() -> None:
    run = sample("tiny").run
    assert run.inconclusive
    assert gate_sentence(run).startswith("Inconclusive")
    bare = run.model_copy(update={"findings": (), "coverage": (), "gate": "open"})
    assert "No rule applied." in paragraph(bare)
