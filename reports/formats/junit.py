"""JUnit XML for continuous integration: every finding is a test case, every check a suite.

A failed finding is a failure. What could not be assessed is an error where that blocks, and is
skipped otherwise. JUnit knows no warnings: a warning passes and speaks in ``system-out``.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from governance.record import Finding
from reports.judgements import FindingLine
from reports.plain_text import without_controls
from reports.view import ReportView

EXTENSION = "xml"
MEDIA_TYPE = "application/xml"


def render(view: ReportView) -> bytes:
    """The findings as a ``testsuites`` document."""
    run = view.run
    root = Element("testsuites", {"name": without_controls(f"finchaos {view.model}")})
    by_check: dict[str, list[FindingLine]] = {}
    for line in view.findings:
        by_check.setdefault(line.finding.check, []).append(line)
    for check, lines in sorted(by_check.items()):
        suite = SubElement(root, "testsuite", {"name": without_controls(check), **_counts(lines)})
        properties = SubElement(suite, "properties")
        for name, value in (
            ("run", run.digest),
            ("policy", f"{run.policy.name} {run.policy.version}"),
            ("gate", run.gate),
        ):
            SubElement(properties, "property", {"name": name, "value": without_controls(value)})
        for line in lines:
            _case(suite, line)
    root.attrib.update(_counts(view.findings))
    indent(root)
    return tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(suite: Element, line: FindingLine) -> None:
    finding = line.finding
    case = SubElement(
        suite,
        "testcase",
        {
            "classname": without_controls(finding.check),
            "name": without_controls(finding.id),
            "time": "0",
        },
    )
    outcome = _outcome(finding)
    text = "\n".join(
        (
            finding.statement,
            f"observed {line.observed}, limit {line.limit}",
            f"severity {finding.severity}{', closes the gate' if finding.blocks else ''}",
            f"rationale: {finding.rationale}",
            f"clauses: {', '.join(finding.cites) or 'none'}",
        )
    )
    if outcome in ("failure", "error", "skipped"):
        place = SubElement(case, outcome, {"message": without_controls(finding.statement)})
        place.set("type", finding.severity)
        place.text = without_controls(text)
    elif finding.verdict == "warn":
        SubElement(case, "system-out").text = without_controls(f"WARNING: {text}")


def _outcome(finding: Finding) -> str:
    if finding.verdict == "fail":
        return "failure"
    if finding.verdict == "not_assessed":
        return "error" if finding.blocks else "skipped"
    return ""


def _counts(lines: list[FindingLine] | tuple[FindingLine, ...]) -> dict[str, str]:
    outcomes = [_outcome(line.finding) for line in lines]
    return {
        "tests": str(len(lines)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": "0",
    }
