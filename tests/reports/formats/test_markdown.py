"""Markdown: tables stay tables whatever the texts hold."""

from __future__ import annotations

import re

from reports import render
from tests.reports.hostile import hostile
from tests.reports.sample import Sample, sample


def text(made: Sample) -> str:
    return render(made.run, made.exhibits, "markdown").decode()


def test_gate_counts_reasons_and_run() -> None:
    full = sample("full")
    said = text(full)
    assert said.startswith("## Validation of mamba\\_regime 0.4.2: gate CLOSED\n")
    assert f"| All | {sum(f.verdict == 'fail' for f in full.run.findings)} |" in said
    assert said.count("\n- ") == len(full.run.gate_reasons)
    assert full.run.digest in said


def test_every_weak_finding_has_a_row_or_is_counted() -> None:
    full = sample("full")
    weak = [f for f in full.run.findings if f.verdict != "pass"]
    assert len(re.findall(r"^\| (Fail|Warn|Not assessed)", text(full), re.M)) == len(weak)
    many = full.run.model_copy(update={"findings": tuple(weak) * 20})
    said = render(many, full.exhibits, "markdown").decode()
    assert f"{len(weak) * 20 - 60} more stand in the full report." in said


def test_hostile_texts_neither_break_tables_nor_become_markup() -> None:
    said = text(hostile())
    assert "<script" not in said
    assert "<img" not in said
    assert "\x1b" not in said
    for line in said.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (6, 7)
