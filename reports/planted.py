"""Reports of planted defects side by side: what was planted, and what page one says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.record import Exhibit, Run, Severity
from reports.concerns import SHOWN_CONCERNS, Concern
from reports.formats.markdown import plain
from reports.view import report_view

TITLE = "# Planted defects, and what page one of their reports says"
_LETTERS: dict[Severity, str] = {"critical": "C", "high": "H"}


@dataclass(frozen=True)
class PlantedReport:
    """What page one of one report says.

    Attributes
    ----------
    defect, family, about : str
        What was planted; the family is empty for the sound model.
    kind : str
        Of the sound model.
    gate : str
        How the case ended.
    sentence : str
        What that means.
    concerns : tuple of Concern
        Those of page one that close the gate; of a gate that is not closed, those to weigh.
    more : int
        How many more close it.
    digest : str
        Of the sealed run.
    """

    defect: str
    family: str
    about: str
    kind: str
    gate: str
    sentence: str
    concerns: tuple[Concern, ...]
    more: int
    digest: str


def planted_report(
    run: Run, exhibits: Mapping[str, Exhibit], *, defect: str, family: str, about: str, kind: str
) -> PlantedReport:
    """Page one of the report of a run, for :func:`planted_page`."""
    view = report_view(run, exhibits)
    closing = [item for item in view.concerns if item.blocks]
    told = closing or [item for item in view.concerns if item.verdict in ("fail", "warn")]
    return PlantedReport(
        defect=defect,
        family=family,
        about=about,
        kind=kind,
        gate=run.gate,
        sentence=view.gate_sentence,
        concerns=tuple(told[:SHOWN_CONCERNS]),
        more=max(len(told) - SHOWN_CONCERNS, 0),
        digest=run.digest,
    )


def planted_page(
    reports: Sequence[PlantedReport],
    found: Mapping[str, Any],
    severities: Mapping[str, Severity],
    *,
    command: str,
    linked: Sequence[str] = (),
) -> str:
    """A Markdown page of the reports, and of which check found which defect.

    Parameters
    ----------
    reports : sequence of PlantedReport
    found : mapping
        Summary of the self-test: ``rows``, ``checks``, ``version``, shares and intervals.
    severities : mapping of rule to severity
        Under the limits that the self-test judges by.
    command : str
        What makes this page.
    linked : sequence of str
        File extensions of the reports that lie beside the page, each in the defect's folder.
    """
    kinds = ", ".join(dict.fromkeys(f"`{item.kind}`" for item in reports))
    lines = [
        TITLE,
        "",
        f"Made by `{command}` with finchaos {found['version']}; made anew by the same command.",
        f"Known defects are planted in a sound model ({kinds}), which is then validated on a",
        "market of calm and stress with the checks of the self-test, judged, sealed and rendered",
        "as any model is. Rules of checks that the self-test does not run are left out.",
        "",
        "| Family | Defect | What was planted | Gate | Page one begins |",
        "|---|---|---|---|---|",
        *(_overview(item, linked) for item in reports),
        "",
    ]
    for item in reports:
        lines += _section(item, linked)
    lines += _matrix(found, severities)
    return "\n".join(lines) + "\n"


def _overview(item: PlantedReport, linked: Sequence[str]) -> str:
    name = f"`{item.defect}`"
    if linked:
        name = f"[{name}]({item.defect}/report.{linked[0]})"
    first = item.concerns[0].headline if item.concerns else item.sentence
    return (
        f"| {item.family or 'none'} | {name} | {plain(item.about)} | {item.gate} | {plain(first)} |"
    )


def _section(item: PlantedReport, linked: Sequence[str]) -> list[str]:
    title = f"{item.family}: `{item.defect}`" if item.family else "The sound model, for comparison"
    lines = [f"## {title[:1].upper()}{title[1:]}", ""]
    lines += [f"Planted in `{item.kind}`: {plain(item.about).rstrip('.')}.", ""]
    lines += [f"Page one: **gate {item.gate}**. {plain(item.sentence)}", ""]
    for number, concern in enumerate(item.concerns, start=1):
        weight = f"{concern.severity} severity"
        weight += ", closes the gate" if concern.blocks else f", {concern.verdict}"
        clauses = plain("; ".join(concern.clauses)) or "none of this policy"
        lines += [
            f"{number}. **{plain(concern.headline)}** ({weight})",
            f"   {plain(' '.join(filter(None, (concern.measured, concern.seen))))}",
            f"   What to do: {plain(concern.remedy)} Serves: {clauses}.",
        ]
    if item.more:
        lines.append(f"{len(item.concerns) + 1}. And {item.more} more of this kind.")
    links = [f"[{name.upper()}]({item.defect}/report.{name})" for name in linked]
    lines += ["", f"Run `{item.digest[:12]}`{'. Report: ' if links else ''}{', '.join(links)}.", ""]
    return lines


def _matrix(found: Mapping[str, Any], severities: Mapping[str, Severity]) -> list[str]:
    checks = list(found["checks"])
    heads = " | ".join(check.replace("_", " ") for check in checks)
    low, high = found["found_interval"]
    lines = [
        "## Which check finds which defect",
        "",
        f"Of {found['planted']} subjects with a defect {found['found_share']:.1%} were found "
        f"(95 % interval {low:.1%} to {high:.1%}). Of {found['sound']} sound models "
        f"{found['false_share']:.1%} were accused. C: a rule of critical severity fails, H: one of "
        "high severity; what a sound twin on the same market fails is left out.",
        "",
        f"| Defect | What was planted | Found | {heads} |",
        f"|---|---|---:|{':-:|' * len(checks)}",
    ]
    for row in found["rows"]:
        worst = {check: _worst(check, row["rules"], severities) for check in checks}
        cells = " | ".join(worst[check] for check in checks)
        name = f"`{row['defect']}`"
        share = f"{row['found']} of {row['planted']}"
        lines.append(f"| {name} | {plain(row['about'])} | {share} | {cells} |")
    return lines


def _worst(check: str, rules: Sequence[str], severities: Mapping[str, Severity]) -> str:
    """The letter of the worst rule of a check that fails; empty if none does."""
    failed = {severities[rule] for rule in rules if rule.partition(".")[0] == check}
    return next((letter for name, letter in _LETTERS.items() if name in failed), "")
