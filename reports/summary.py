"""The first paragraph: what was validated, what was found and why the gate stands as it does."""

from __future__ import annotations

from collections.abc import Sequence

from governance.record import SEVERITIES, Finding, Run, SignOff
from reports.judgements import AWAITS_SIGN_OFF, COVERAGE_NAMES, CoverageLine, coverage_lines
from reports.registration import lock_sentence

GATES = {
    "open": "The findings allow use within the stated limits.",
    "conditional": "Use requires that the weaknesses below are accepted or remedied.",
    "closed": "The model may not be used on the strength of this validation.",
}
INCONCLUSIVE = (
    "Inconclusive: nothing blocking failed, but something that must be assessed could not be."
)


def gate_sentence(run: Run) -> str:
    """What the gate means."""
    return INCONCLUSIVE if run.inconclusive else GATES[run.gate]


def paragraph(run: Run, signoffs: Sequence[SignOff] = ()) -> str:
    """One paragraph built from the Run's own counts."""
    sentences = (
        _subject(run),
        _measurements(run),
        _verdicts(run),
        _coverage(coverage_lines(run, signoffs)),
        lock_sentence(run),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def _subject(run: Run) -> str:
    card = run.subject.card
    bars = [item for item in run.inputs if item.role == "bars"]
    text = f"{card['name']} {card['version']} was validated"
    if bars:
        detail = bars[0].detail
        rows = detail.get("rows")
        kind = f"{detail['kind']} " if detail.get("kind") else ""
        count = f"{rows:,} " if isinstance(rows, int) else ""
        text += f" on {count}{kind}bars of {bars[0].name}"
        if detail.get("first") and detail.get("last"):
            text += f" from {str(detail['first'])[:10]} to {str(detail['last'])[:10]}"
    folds = run.plan.get("folds")
    if isinstance(folds, dict) and isinstance(folds.get("count"), int):
        text += f", in {_counted(folds['count'], 'anchored walk-forward fold')}"
    return f"{text}."


def _measurements(run: Run) -> str:
    measured = sum(item.status == "measured" for item in run.evidence)
    missing = len(run.evidence) - measured
    checks = _counted(len(run.cards), "check")
    text = f"{checks} made {_counted(measured, 'measurement')}"
    if missing:
        text += f"; {missing:,} more could not be made, for the reasons given with them"
    return f"{text}."


def _verdicts(run: Run) -> str:
    verdicts = [finding.verdict for finding in run.findings]
    parts = [
        f"{verdicts.count(verdict):,} {words}"
        for verdict, words in (
            ("pass", "passed"),
            ("warn", "gave a warning"),
            ("fail", "failed"),
            ("not_assessed", "could not be assessed"),
        )
        if verdict in verdicts
    ]
    text = (
        f"Of {_counted(len(verdicts), 'finding')}, {_listed(parts)}."
        if parts
        else "No rule applied."
    )
    blocking = [finding for finding in run.findings if finding.blocks]
    if blocking:
        text += f" The gate is closed by {_by_severity(blocking)}."
    elif run.gate == "conditional":
        text += " None of them closes the gate; the weaknesses make it conditional."
    return text


def _by_severity(findings: Sequence[Finding]) -> str:
    parts = []
    for severity in SEVERITIES:
        for verdict, word in (("fail", "failure"), ("not_assessed", "gap in assessment")):
            count = sum(f.severity == severity and f.verdict == verdict for f in findings)
            if count:
                plural = "gaps in assessment" if verdict == "not_assessed" else "failures"
                parts.append(f"{count:,} {severity}-severity {word if count == 1 else plural}")
    return _listed(parts)


def _coverage(coverage: Sequence[CoverageLine]) -> str:
    if not coverage:
        return "The policy lists no clauses."
    statuses = [line.status for line in coverage]
    waiting = statuses.count(AWAITS_SIGN_OFF)
    later = f", {waiting:,} of which {'awaits' if waiting == 1 else 'await'} sign-off"
    return (
        f"Of {_counted(len(statuses), 'clause')} of the policy, "
        f"{statuses.count(COVERAGE_NAMES['evidenced']):,} are evidenced in full, "
        f"{statuses.count(COVERAGE_NAMES['partly_evidenced']):,} in part and "
        f"{statuses.count(COVERAGE_NAMES['not_evidenced']) + waiting:,} not at all"
        f"{later if waiting else ''}."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
