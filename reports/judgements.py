"""Findings as the report shows them: one block a rule, by severity, weaknesses first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from governance.record import (
    SEVERITIES,
    CheckCard,
    ClauseCoverage,
    Evidence,
    Finding,
    Run,
    Severity,
    SignOff,
    Verdict,
)
from reports.numbers import (
    AT_LEAST,
    against,
    aligned,
    limit_text,
    number,
    quantity,
    unit_style,
)
from reports.tables import Cell, Head, Table, lower_words, short_digest, words

VERDICTS: tuple[Verdict, ...] = ("fail", "not_assessed", "warn", "pass")
"""Worst first."""
VERDICT_NAMES: dict[Verdict, str] = {
    "fail": "Fail",
    "not_assessed": "Not assessed",
    "warn": "Warn",
    "pass": "Pass",
}
MOST_PLACES = 6
"""Slices that are named one by one where a rule passed; more are counted."""
COVERAGE_NAMES = {
    "evidenced": "Evidenced",
    "partly_evidenced": "Partly evidenced",
    "not_evidenced": "Not evidenced",
}
AWAITS_SIGN_OFF = "Awaits sign-off"
_COVERAGE_TONES: dict[str, Verdict] = {
    "evidenced": "pass",
    "partly_evidenced": "warn",
    "not_evidenced": "not_assessed",
}


@dataclass(frozen=True)
class FindingLine:
    """One finding.

    Attributes
    ----------
    finding : Finding
    where : str
        Its slice in words; empty for the whole model.
    observed : str
        The value with its unit, and its interval where it has one.
    limit : str
        With digits enough to tell it from what was judged.
    at_least : bool
        Whether the value is a lower bound.
    """

    finding: Finding
    where: str
    observed: str
    limit: str
    unit: str
    at_least: bool = False


@dataclass(frozen=True)
class PassedLines:
    """What passed under one rule, in one line: the exact values stand with the evidence.

    Attributes
    ----------
    where : str
        All slices.
    observed : str
        The value, or the range of values.
    limit : str
    """

    where: str
    observed: str
    limit: str


@dataclass(frozen=True)
class RuleBlock:
    """All findings of one rule that have the same severity.

    Attributes
    ----------
    rule : str
        Id of the rule.
    title : str
        Check and measure in words.
    lines : tuple of FindingLine
        Worst first.
    verdict : str
        The worst verdict.
    blocks : bool
        Whether one of them closes the gate.
    rationale : str
    cites : tuple of str
        Clauses the rule serves.
    """

    rule: str
    title: str
    lines: tuple[FindingLine, ...]
    verdict: Verdict
    blocks: bool
    rationale: str
    cites: tuple[str, ...]
    unit: str

    @property
    def weak(self) -> tuple[FindingLine, ...]:
        """Lines that did not pass."""
        return tuple(line for line in self.lines if line.finding.verdict != "pass")

    @property
    def only_gaps(self) -> bool:
        """Whether all that did not pass could not be assessed."""
        return all(line.finding.verdict == "not_assessed" for line in self.weak)

    @property
    def passed(self) -> PassedLines | None:
        """Lines that passed, as one."""
        lines = [line for line in self.lines if line.finding.verdict == "pass"]
        return _passed(lines) if lines else None


@dataclass(frozen=True)
class SeveritySection:
    """The findings of one severity."""

    severity: Severity
    weak: tuple[RuleBlock, ...]
    """Rules with at least one finding that did not pass."""
    passed: tuple[RuleBlock, ...]
    """Rules all of whose findings passed."""

    @property
    def counts(self) -> dict[Verdict, int]:
        """Findings by verdict."""
        found = [line.finding for block in (*self.weak, *self.passed) for line in block.lines]
        return {verdict: sum(f.verdict == verdict for f in found) for verdict in VERDICTS}


def rank(finding: Finding) -> tuple[bool, int, int, str]:
    """Sort key that puts the worst finding first: blocking, then verdict, then severity.

    What was found comes before what could not be looked at.
    """
    return (
        not finding.blocks,
        ("fail", "warn", "not_assessed", "pass").index(finding.verdict),
        SEVERITIES.index(finding.severity),
        finding.id,
    )


def worst_verdicts(findings: Iterable[Finding]) -> dict[str, Verdict]:
    """Worst verdict by key of the evidence judged."""
    worst: dict[str, Verdict] = {}
    for finding in findings:
        for key in finding.evidence:
            have = worst.get(key, "pass")
            worst[key] = min(have, finding.verdict, key=VERDICTS.index)
    return worst


def finding_lines(run: Run) -> tuple[FindingLine, ...]:
    """All findings, worst first."""
    cards = {card.name: card for card in run.cards}
    evidence = {item.key: item for item in run.evidence}
    return tuple(_line(finding, cards, evidence) for finding in sorted(run.findings, key=rank))


def _line(
    finding: Finding, cards: Mapping[str, CheckCard], evidence: Mapping[str, Evidence]
) -> FindingLine:
    item = _judged(finding, evidence)
    unit = item.unit if item else _unit(finding, cards)
    if finding.observed is None:
        observed, limit = "none", limit_text(finding.threshold, unit)
    else:
        observed, limit = against(finding.observed, finding.threshold, unit)
        if item is not None:
            observed = _observed(finding, item, observed)
    bound = item is not None and item.at_least
    return FindingLine(finding, _place(finding.slice), observed, limit, unit, bound)


def _judged(finding: Finding, evidence: Mapping[str, Evidence]) -> Evidence | None:
    """The evidence whose number the finding speaks about."""
    for key in finding.evidence:
        item = evidence.get(key)
        if item is not None and finding.observed == _compared(finding, item):
            return item
    return None


def _compared(finding: Finding, item: Evidence) -> float | None:
    if finding.threshold.on == "value" or item.interval is None:
        return item.value
    return item.interval.low if finding.threshold.on == "low" else item.interval.high


def _observed(finding: Finding, item: Evidence, judged: str) -> str:
    """The value and its interval; the number judged has digits enough to tell it from the limit."""
    on = finding.threshold.on
    value = judged
    if on != "value" and item.value is not None:
        value = quantity(item.value, item.unit)
    ends = ""
    if item.interval is not None:
        low, high = aligned((item.interval.low, item.interval.high), item.unit)
        exact = judged.removesuffix(unit_style(item.unit).suffix)
        limit = number(finding.threshold.limit, item.unit)
        low = exact if on == "low" and low == limit else low
        high = exact if on == "high" and high == limit else high
        ends = f" ({low} to {high})"
    return f"{AT_LEAST if item.at_least else ''}{value}{ends}"


def _unit(finding: Finding, cards: Mapping[str, CheckCard]) -> str:
    """Unit of the measure judged; none where the check did not run in this plan."""
    card = cards.get(finding.check)
    specs = card.metrics if card else ()
    return next((spec.unit for spec in specs if spec.name == finding.metric), "")


def severity_sections(
    lines: Sequence[FindingLine], cards: Sequence[CheckCard]
) -> tuple[SeveritySection, ...]:
    """Findings grouped by severity and rule; severities without findings are left out."""
    titles = {card.name: card.title for card in cards}
    sections = []
    for severity in SEVERITIES:
        rules: dict[str, list[FindingLine]] = {}
        for line in lines:
            if line.finding.severity == severity:
                rules.setdefault(line.finding.rule, []).append(line)
        blocks = [_block(rule, mine, titles) for rule, mine in rules.items()]
        if blocks:
            weak = tuple(block for block in blocks if block.verdict != "pass")
            passed = tuple(block for block in blocks if block.verdict == "pass")
            sections.append(SeveritySection(severity, weak, passed))
    return tuple(sections)


def _block(rule: str, lines: list[FindingLine], titles: Mapping[str, str]) -> RuleBlock:
    first = lines[0].finding
    check = titles.get(first.check, words(first.check))
    return RuleBlock(
        rule=rule,
        title=f"{check}: {lower_words(first.metric)}",
        lines=tuple(lines),
        verdict=min((line.finding.verdict for line in lines), key=VERDICTS.index),
        blocks=any(line.finding.blocks for line in lines),
        rationale=first.rationale,
        cites=first.cites,
        unit=lines[0].unit,
    )


def _passed(lines: Sequence[FindingLine]) -> PassedLines:
    observed = [f.observed for f in (line.finding for line in lines) if f.observed is not None]
    lowest, highest = min(observed, default=0.0), max(observed, default=0.0)
    units = {line.unit for line in lines}
    limit = lines[0].limit if len(units) == 1 else limit_text(lines[0].finding.threshold)
    if len(units) > 1:
        said = number(lowest) if lowest == highest else "each in its unit"
    elif len(lines) == 1 or lines[0].finding.threshold.on != "value":
        said = "; ".join(dict.fromkeys(line.observed for line in lines))
    elif lowest == highest:
        said = lines[0].observed
    else:
        (unit,) = units
        low, high = aligned((lowest, highest), unit)
        top = [line for line in lines if line.finding.observed == highest]
        bound = AT_LEAST if any(line.at_least for line in top) else ""
        said = f"{low} to {bound}{high}{unit_style(unit).suffix}"
    return PassedLines(_places([line.finding.slice for line in lines]), said, limit)


def _places(slices: Sequence[Mapping[str, str]]) -> str:
    """Slices in words; those along one key are listed after its name, many are counted."""
    if len(slices) > MOST_PLACES:
        return f"{len(slices)} parts, listed in the section of the check"
    keys = {tuple(where) for where in slices}
    if len(keys) == 1 and len(next(iter(keys))) == 1:
        key = next(iter(next(iter(keys))))
        return f"{lower_words(key)} {', '.join(where[key] for where in slices)}"
    return "; ".join(_place(where) or "overall" for where in slices) if any(keys) else ""


def _place(where: Mapping[str, str]) -> str:
    """A slice in words, without digests: they tell a reader nothing."""
    return ", ".join(
        f"{lower_words(key)} {value}"
        for key, value in sorted(where.items(), key=lambda pair: pair[0] != "scenario")
        if short_digest(value) == value
    )


def verdict_counts(findings: Sequence[Finding]) -> Table:
    """Findings by severity and verdict, with totals."""
    heads = (Head("Severity"), *(Head(VERDICT_NAMES[v], numeric=True) for v in VERDICTS))
    rows = []
    for severity in SEVERITIES:
        mine = [f.verdict for f in findings if f.severity == severity]
        rows.append((Cell(words(severity)), *_count_cells(mine)))
    rows.append((Cell("All"), *_count_cells([f.verdict for f in findings])))
    return Table(
        "Findings by severity and verdict", (*heads, Head("All", numeric=True)), tuple(rows)
    )


def _count_cells(verdicts: Sequence[Verdict]) -> tuple[Cell, ...]:
    counts = [(verdicts.count(verdict), verdict) for verdict in VERDICTS]
    cells = [Cell(str(count), tone=verdict if count else "quiet") for count, verdict in counts]
    return (*cells, Cell(str(len(verdicts)), tone="" if verdicts else "quiet"))


@dataclass(frozen=True)
class CoverageLine:
    """One clause of the policy and what served it."""

    clause: ClauseCoverage
    status: str
    tone: Verdict
    worst: str
    served_by: str
    """Checks whose findings serve the clause, with how many; empty if none does."""


def coverage_lines(
    run: Run,
    signoffs: Sequence[SignOff] = (),
    coverage: Sequence[ClauseCoverage] | None = None,
) -> tuple[CoverageLine, ...]:
    """The coverage matrix, every clause a row; sign-offs serve the clauses that ask for them.

    ``coverage`` is that of a further guidance; without it, that of the judging policy.
    """
    decided = {item.role: item for item in signoffs}
    checks = {finding.id: finding.check for finding in run.findings}
    lines = []
    for clause in run.coverage if coverage is None else coverage:
        served = [checks[item] for item in clause.findings if item in checks]
        by_check = [f"{name} ({served.count(name)})" for name in dict.fromkeys(served)]
        by_hand = [_signed(role, decided.get(role)) for role in clause.sign_off]
        status, tone = COVERAGE_NAMES[clause.status], _COVERAGE_TONES[clause.status]
        if clause.status == "not_evidenced" and clause.sign_off:
            whole = all(role in decided for role in clause.sign_off)
            status = COVERAGE_NAMES["partly_evidenced"] if whole else AWAITS_SIGN_OFF
            tone = "warn" if whole else tone
        lines.append(
            CoverageLine(
                clause=clause,
                status=status,
                tone=tone,
                worst=VERDICT_NAMES[clause.worst] if clause.worst else "",
                served_by=", ".join([*by_check, *by_hand]),
            )
        )
    return tuple(lines)


def _signed(role: str, made: SignOff | None) -> str:
    """What a role's sign-off contributes to a clause."""
    if made is None:
        return f"the {role}'s signature, which the signed copy shows on its first page"
    return f"sign-off of {made.person}, {role}, on {made.at[:10]}"
