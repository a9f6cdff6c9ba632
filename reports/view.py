"""A Run as plain tables and figures: everything a page shows, and no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from finchaos.core.errors import IntegrityError
from governance.record import ROLES, CheckCard, Exhibit, PolicyRef, Run, Scalar, SignOff, Verdict
from reports.concerns import Concern, concerns
from reports.figures import Figure, anchor, exhibit_table, undrawable, verified
from reports.judgements import (
    VERDICTS,
    CoverageLine,
    FindingLine,
    SeveritySection,
    coverage_lines,
    finding_lines,
    severity_sections,
    verdict_counts,
    worst_verdicts,
)
from reports.measurements import evidence_tables, self_checks
from reports.provenance import appendix_tables, plan_text
from reports.registration import SHOWN_CHANGES, lock_changes, lock_text, materiality_text
from reports.summary import gate_sentence, paragraph
from reports.tables import Table, words

SHORT_DIGEST = 12
PILLARS = {
    "conceptual_soundness": "Conceptual soundness",
    "outcomes_analysis": "Outcomes analysis",
    "ongoing_monitoring": "Ongoing monitoring",
}
_DECISIONS = {
    "approve": "Approved",
    "approve_with_conditions": "Approved with conditions",
    "reject": "Rejected",
}


@dataclass(frozen=True)
class SignOffLine:
    """One role's decision, or that it is pending."""

    role: str
    person: str
    decision: str
    conditions: str
    at: str
    trust: str
    signed: bool


@dataclass(frozen=True)
class CheckSection:
    """Everything about one check."""

    card: CheckCard
    pillar: str
    params: tuple[tuple[str, str], ...]
    """Constructor arguments, as recorded with the evidence."""
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    findings: tuple[FindingLine, ...]
    """Worst first."""
    measured: int
    unmeasured: int

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict, or None if no rule of the policy speaks about this check."""
        return min(
            (line.finding.verdict for line in self.findings), key=VERDICTS.index, default=None
        )

    @property
    def lead(self) -> Figure | None:
        """The first figure of a check with a failure or a warning, which the main part shows."""
        weak = any(line.finding.verdict in ("fail", "warn") for line in self.findings)
        return self.figures[0] if weak and self.figures else None

    @property
    def counts(self) -> dict[Verdict, int]:
        """Findings by verdict."""
        found = [line.finding.verdict for line in self.findings]
        return {verdict: found.count(verdict) for verdict in VERDICTS}


@dataclass(frozen=True)
class FurtherGuidance:
    """A guidance that did not judge, and what the findings say about its clauses."""

    policy: PolicyRef
    lines: tuple[CoverageLine, ...]

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """Clauses by status, in the order they first appear."""
        said = [line.status for line in self.lines]
        return tuple((status, said.count(status)) for status in dict.fromkeys(said))


@dataclass(frozen=True)
class ReportView:
    """What the formats render.

    Attributes
    ----------
    run : Run
    model : str
        Name and version.
    gate_sentence, summary : str
    counts : Table
        Findings by severity and verdict.
    concerns : tuple of Concern
        Rules that did not pass in plain words, what closes the gate first.
    findings : tuple of FindingLine
        Worst first.
    severities : tuple of SeveritySection
    coverage : tuple of CoverageLine
    also : tuple of FurtherGuidance
    materiality, lock : str
        How material the model is; whether the plan was locked.
    lock_changes : Table or None
        The first things that were changed after the lock.
    checks : tuple of CheckSection
    signoffs : tuple of SignOffLine
        One per role, in order.
    appendix : tuple of Table
    plan_text : str
        The plan as YAML.
    dated : datetime or None
        Date of the report, where the caller knows one, else of the last signature.
    date_label : str
        What that date is.
    demo : bool
        Whether a demonstration root of trust stands behind a signature.
    program : str
        How the reader calls the command.
    reproduction : str
        The command that makes the record anew.
    """

    run: Run
    model: str
    gate_sentence: str
    summary: str
    counts: Table
    concerns: tuple[Concern, ...]
    findings: tuple[FindingLine, ...]
    severities: tuple[SeveritySection, ...]
    coverage: tuple[CoverageLine, ...]
    also: tuple[FurtherGuidance, ...]
    materiality: str
    lock: str
    lock_changes: Table | None
    checks: tuple[CheckSection, ...]
    signoffs: tuple[SignOffLine, ...]
    appendix: tuple[Table, ...]
    plan_text: str
    dated: datetime | None
    date_label: str
    demo: bool
    program: str
    reproduction: str

    @property
    def signed(self) -> bool:
        """Whether this rendering names anybody who has signed."""
        return any(line.signed for line in self.signoffs)

    @property
    def limits(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What the developer says the model is for and not for, and what is wrong with it."""
        card = self.run.subject.card
        said = (
            ("Intended use", (card.get("intended_use"),)),
            ("Prohibited use", (card.get("prohibited_use"),)),
            ("Limitations", tuple(card.get("limitations") or ())),
        )
        return tuple(
            (title, tuple(str(item) for item in items if item) or ("undeclared",))
            for title, items in said
        )

    @property
    def short_digest(self) -> str:
        """First characters of the Run's digest, enough to name it."""
        return self.run.digest[:SHORT_DIGEST]

    @property
    def weak(self) -> tuple[FindingLine, ...]:
        """Findings that did not pass, worst first."""
        return tuple(line for line in self.findings if line.finding.verdict != "pass")

    @property
    def unmeasured(self) -> int:
        """Measurements that could not be made."""
        return sum(section.unmeasured for section in self.checks)


def report_view(
    run: Run,
    exhibits: Mapping[str, Exhibit],
    *,
    signoffs: Sequence[SignOff] = (),
    dated: datetime | None = None,
    program: str = "finchaos",
    reproduction: str = "validate plan.yaml",
) -> ReportView:
    """The view of a Run.

    Raises
    ------
    IntegrityError
        If an exhibit is missing or altered, or a sign-off belongs to another Run.
    """
    run = Run.from_json(run.to_json())  # what is stored, not the order it was built in
    lines = finding_lines(run)
    severities = severity_sections(lines, run.cards)
    label = "Date of report"
    if dated is None and signoffs:
        label = "Last signed"
        dated = max(datetime.fromisoformat(item.at) for item in signoffs)
    return ReportView(
        run=run,
        model=f"{run.subject.card['name']} {run.subject.card['version']}",
        gate_sentence=gate_sentence(run),
        summary=paragraph(run, signoffs),
        counts=verdict_counts(run.findings),
        concerns=concerns(run, severities),
        findings=lines,
        severities=severities,
        coverage=coverage_lines(run, signoffs),
        also=tuple(
            FurtherGuidance(item.policy, coverage_lines(run, signoffs, item.coverage))
            for item in run.also
        ),
        materiality=materiality_text(run),
        lock=lock_text(run),
        lock_changes=lock_changes(run, SHOWN_CHANGES),
        checks=_checks(run, verified(run, exhibits), lines),
        signoffs=_signoffs(run, signoffs),
        appendix=appendix_tables(run),
        plan_text=plan_text(run),
        dated=dated,
        date_label=label,
        demo=any(item.trust == "demo" for item in signoffs),
        program=program,
        reproduction=f"{program} {reproduction}",
    )


def _checks(
    run: Run, exhibits: Sequence[Exhibit], lines: Sequence[FindingLine]
) -> tuple[CheckSection, ...]:
    verdicts = worst_verdicts(run.findings)
    sections, drawn = [], 0
    for card in run.cards:
        evidence = [item for item in run.evidence if item.check == card.name]
        mine = [item for item in exhibits if item.check == card.name]
        charts = [item for item in mine if not undrawable(item)]
        figures = tuple(
            Figure(drawn + k, anchor(item), item) for k, item in enumerate(charts, start=1)
        )
        drawn += len(charts)
        residuals = self_checks(evidence)
        tables = [
            *evidence_tables(card, evidence, verdicts),
            *(exhibit_table(item) for item in mine if undrawable(item)),
            *([residuals] if residuals else []),
        ]
        measured = sum(item.status == "measured" for item in evidence)
        params: dict[str, Scalar] = evidence[0].params if evidence else {}
        sections.append(
            CheckSection(
                card=card,
                pillar=PILLARS[card.pillar],
                params=tuple((name, _scalar(value)) for name, value in params.items()),
                tables=tuple(tables),
                figures=figures,
                findings=tuple(line for line in lines if line.finding.check == card.name),
                measured=measured,
                unmeasured=len(evidence) - measured,
            )
        )
    return tuple(sections)


def _scalar(value: Scalar) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _signoffs(run: Run, signoffs: Sequence[SignOff]) -> tuple[SignOffLine, ...]:
    """The latest decision of every role."""
    for item in signoffs:
        if item.run != run.digest:
            raise IntegrityError(
                "a sign-off belongs to another run", expected=run.digest, got=item.run
            )
    latest = {item.role: item for item in signoffs}
    lines = []
    for role in ROLES:
        made = latest.get(role)
        if made is None:
            lines.append(SignOffLine(words(role), "", "Pending", "", "", "", signed=False))
            continue
        lines.append(
            SignOffLine(
                role=words(role),
                person=made.person,
                decision=_DECISIONS[made.decision],
                conditions=made.conditions,
                at=made.at[:16].replace("T", " ") + " UTC",
                trust="DEMO TRUST" if made.trust == "demo" else made.trust,
                signed=True,
            )
        )
    return tuple(lines)
