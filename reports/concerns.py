"""What page one says is wrong: each breached rule in plain words, with figure and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from governance.record import (
    SEVERITIES,
    CheckCard,
    ClauseCoverage,
    Evidence,
    Finding,
    Run,
    Severity,
    Verdict,
)
from governance.record import Threshold as Limit
from reports.judgements import FindingLine, RuleBlock, SeveritySection
from reports.numbers import quantity
from reports.tables import lower_words, short_digest, words

SHOWN_CONCERNS = 5
"""Those that page one tells in full; the others are named there and told in section 2."""
_MOST_SEEN = 6
_ORDER = ("fail", "warn", "not_assessed")
_DEFAULT_REMEDY = {
    "fail": "Mend the cause or restrict the use, then validate again.",
    "warn": "Weigh it, and record who accepts it and why.",
    "not_assessed": "Supply what is missing, or record who accepts the gap and why.",
}


@dataclass(frozen=True)
class Concern:
    """One rule that something breaches, as a committee is told of it.

    Attributes
    ----------
    rule : str
    check : str
        Whose section has the evidence.
    headline : str
        What is wrong, in a sentence.
    severity : str
    verdict : str
        The worst of the rule.
    blocks : bool
        Whether it closes the gate.
    measured : str
        What was measured, the figure and the limit.
    seen : str
        In which parts of the measurement it shows; empty where there are no parts.
    why : str
        The policy's rationale.
    clauses : tuple of str
        Each with what it expects.
    remedy : str
        What to do.
    """

    rule: str
    check: str
    headline: str
    severity: Severity
    verdict: Verdict
    blocks: bool
    measured: str
    seen: str
    why: str
    clauses: tuple[str, ...]
    remedy: str

    @property
    def sentence(self) -> str:
        """Headline, figure and where it was seen, for a list without markup."""
        return " ".join(filter(None, (self.headline, self.measured, self.seen)))


@cache
def plain_words() -> Mapping[str, Mapping[str, str]]:
    """What a breach means and what to do about it, by rule."""
    text = files("reports").joinpath("plain_words.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = YAML(typ="safe", pure=True).load(text)
    return found


def concerns(run: Run, sections: Sequence[SeveritySection]) -> tuple[Concern, ...]:
    """Rules that did not pass: those that close the gate first, what was found before gaps."""
    cards = {card.name: card for card in run.cards}
    clauses = {clause.clause: clause for clause in run.coverage}
    blocks = [(section.severity, block) for section in sections for block in section.weak]
    blocks.sort(key=lambda pair: _rank(*pair))
    return tuple(_concern(severity, block, run, cards, clauses) for severity, block in blocks)


def _rank(severity: Severity, block: RuleBlock) -> tuple[bool, int, int, bool]:
    """Answers that break the contract come before what other checks make of such answers."""
    broken = block.lines[0].finding.check == "signal_integrity"
    weight = SEVERITIES.index(severity)
    return not block.blocks, _ORDER.index(_worst(block)), weight, not broken


def _worst(block: RuleBlock) -> Verdict:
    """The worst verdict; what was found comes before what could not be looked at."""
    found = {line.finding.verdict for line in block.weak}
    return next(verdict for verdict in ("fail", "warn", "not_assessed") if verdict in found)


def _concern(
    severity: Severity,
    block: RuleBlock,
    run: Run,
    cards: Mapping[str, CheckCard],
    clauses: Mapping[str, ClauseCoverage],
) -> Concern:
    verdict = _worst(block)
    lines = [line for line in block.weak if line.finding.verdict == verdict]
    finding = lines[0].finding
    known = plain_words().get(block.rule, {})
    headline = known.get("says", f"{block.title}.")
    remedy = known.get("do", _DEFAULT_REMEDY[verdict])
    if verdict == "not_assessed":
        headline, remedy = f"{block.title} was not assessed.", _DEFAULT_REMEDY[verdict]
    return Concern(
        rule=block.rule,
        check=finding.check,
        headline=headline,
        severity=severity,
        verdict=verdict,
        blocks=block.blocks,
        measured=_measured(lines, block, run, cards.get(finding.check)),
        seen=_seen(finding, run.evidence) if verdict != "not_assessed" else "",
        why=block.rationale,
        clauses=tuple(
            f"{name} ({clauses[name].summary.rstrip('.')})" if name in clauses else name
            for name in block.cites
        ),
        remedy=remedy,
    )


def _measured(
    lines: Sequence[FindingLine], block: RuleBlock, run: Run, card: CheckCard | None
) -> str:
    """What the measure means, its worst figure with what is said of it, and the limit."""
    worst = max(lines, key=lambda line: _distance(line.finding))
    if worst.finding.observed is None:
        return _reason(worst.finding)
    specs = card.metrics if card else ()
    metric = worst.finding.metric
    meaning = next((spec.meaning for spec in specs if spec.name == metric), words(metric))
    notes = [
        item.note
        for item in run.evidence
        if item.key in worst.finding.evidence and item.note and item.value is not None
    ]
    parts = [worst.where] if worst.where else []
    parts += notes[:1]
    about = f" ({'; '.join(parts)})" if parts else ""
    also = f", the worst of {len(lines)} breaches" if len(lines) > 1 else ""
    return (
        f"{meaning.rstrip('.')}: {worst.observed}{about}{also}. Limit: {worst.limit.rstrip('.')}."
    )


def _reason(finding: Finding) -> str:
    """Why there is no figure; the statement ends with it."""
    _, _, reason = finding.statement.partition(" was not assessed: ")
    return f"{(reason or finding.statement).rstrip('.')}."


def _distance(finding: Finding) -> float:
    """How far the observation is from the limit, for choosing among parts of one measure."""
    return 0.0 if finding.observed is None else abs(finding.observed - finding.threshold.limit)


def _seen(finding: Finding, evidence: Sequence[Evidence]) -> str:
    """Parts of the measurement judged that breach the limit by themselves.

    A total over alterations of the future, say, is measured for each of them too.
    """
    if finding.threshold.on != "value":
        return ""
    by_key: dict[str, list[tuple[str, Evidence]]] = {}
    for item in evidence:
        if (item.check, item.metric) != (finding.check, finding.metric) or item.value is None:
            continue
        more = [key for key in item.slice if key not in finding.slice]
        same = all(item.slice.get(key) == value for key, value in finding.slice.items())
        if same and len(more) == 1 and not _holds(finding.threshold, item.value):
            by_key.setdefault(more[0], []).append((item.slice[more[0]], item))
    said = []
    for key, parts in by_key.items():
        parts.sort(key=lambda part: -abs(part[1].value or 0.0))
        named = [
            f"{lower_words(short_digest(name))} ({quantity(item.value or 0.0, item.unit)})"
            for name, item in parts[:_MOST_SEEN]
        ]
        more_parts = len(parts) - len(named)
        rest = f" and {more_parts} more" if more_parts else ""
        said.append(f"Seen by {lower_words(key)}: {', '.join(named)}{rest}.")
    return " ".join(said)


def _holds(limit: Limit, value: float) -> bool:
    tests: dict[str, Any] = {
        "<": value < limit.limit,
        "<=": value <= limit.limit,
        ">": value > limit.limit,
        ">=": value >= limit.limit,
        "==": value == limit.limit,
    }
    if limit.upper is not None:
        return limit.limit <= value <= limit.upper
    return bool(tests[limit.operator])
