"""A summary in Markdown for pull requests and ``GITHUB_STEP_SUMMARY``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reports.judgements import VERDICT_NAMES, FindingLine
from reports.tables import Cell, Table
from reports.view import ReportView

EXTENSION = "md"
MEDIA_TYPE = "text/markdown; charset=utf-8"

_MOST_FINDINGS = 60
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def render(view: ReportView) -> bytes:
    """Gate, counts, reasons and the findings that did not pass."""
    run = view.run
    gate = run.gate.upper() + (" (inconclusive)" if run.inconclusive else "")
    lines = [
        f"## Validation of {plain(view.model)}: gate {gate}",
        "",
        f"{plain(view.gate_sentence)} {plain(view.summary)}",
        "",
        *_table(view.counts),
        "",
    ]
    if run.gate_reasons:
        lines += ["### Reasons for the gate", ""]
        lines += [f"- {plain(reason)}" for reason in run.gate_reasons[:_MOST_FINDINGS]]
        lines += _rest(len(run.gate_reasons))
    if view.weak:
        lines += ["### Findings that did not pass", ""]
        lines += ["| Verdict | Severity | Finding | Observed | Limit |", "|---|---|---|---:|---|"]
        lines += [_row(_weak(line)) for line in view.weak[:_MOST_FINDINGS]]
        lines += _rest(len(view.weak))
    lines += [
        f"Policy {plain(run.policy.name)} {plain(run.policy.version)} ({run.policy.status}). "
        f"Run `{run.digest}`; verify with `{view.program} verify {view.short_digest}`.",
        "",
    ]
    return "\n".join(lines).encode()


def _weak(line: FindingLine) -> tuple[str, ...]:
    finding = line.finding
    verdict = VERDICT_NAMES[finding.verdict] + (", blocks" if finding.blocks else "")
    return verdict, finding.severity, finding.statement, line.observed, line.limit


def _rest(count: int) -> list[str]:
    more = count - _MOST_FINDINGS
    return ["", f"{more} more stand in the full report.", ""] if more > 0 else [""]


def _table(table: Table) -> list[str]:
    heads = _row(head.text for head in table.heads)
    rule = "|" + "|".join("---:" if head.numeric else "---" for head in table.heads) + "|"
    return [heads, rule, *(_row(_cell(cell) for cell in row) for row in table.rows)]


def _cell(cell: Cell) -> str:
    return cell.text


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(plain(cell) for cell in cells)} |"


def plain(text: str) -> str:
    """Text that Markdown and HTML leave alone, on one line."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _SPECIAL.sub(r"\\\1", plain).replace("\\<", "&lt;").replace("\\&", "&amp;")
