"""Findings and coverage of the sample Run, judged by a few fixed rules."""

from __future__ import annotations

from governance.record import CheckCard, ClauseCoverage, Evidence, Finding, Threshold

# check metric slice operator limit part severity breach when-not-assessed clauses
RULES = """
walk_forward sharpe - > 0 low high fail block A7,A11
walk_forward sharpe fold > 0 value moderate warn warn A7
walk_forward max_drawdown - <= 0.273 value high fail block A7,A12
walk_forward false_alarm_rate - <= 0.1 value low fail warn A7
drift psi feature <= 0.061 value moderate warn warn A12,A13
attribution completeness - <= 0.01 value critical fail block A10
kill_switch trip_rate fault >= 1 value critical fail block A8,A13
kill_switch latency fault <= 1 value critical fail block A8
kill_switch false_trip_rate - <= 0.001 value moderate fail warn A8
stress loss_saved scenario >= 0 value moderate fail warn A7,A11
point_in_time breaches - == 0 value critical fail block A7,A10
data_quality breaches - == 0 value high fail block A2
reproducibility distance - <= 0.01 value high fail block A7
"""
CLAUSES = (
    (
        "A1",
        "II, note 3",
        "Decide whether the model is in scope.",
        "A scope determination with its reason.",
    ),
    ("A2", "III", "Judge the inherent risk.", "A scored assessment."),
    (
        "A3",
        "III",
        "Derive materiality from exposure and purpose.",
        "A materiality tier with its inputs.",
    ),
    (
        "A5",
        "III",
        "Have the model challenged by able, independent people.",
        "Sign-off by a validator who is not the developer.",
    ),
    (
        "A7",
        "IV.1",
        "Test in sample, out of sample and out of time.",
        "Walk-forward over eras held out of training.",
    ),
    (
        "A8",
        "IV.2",
        "Use the model within stated limits.",
        "A record of limits and a test that they are enforced.",
    ),
    (
        "A10",
        "V.1.a",
        "Where theory is opaque, interpret or benchmark the model.",
        "Attribution with sanity checks.",
    ),
    (
        "A11",
        "V.1.b",
        "Compare outcomes with the model's statements by back-testing.",
        "Out-of-sample outcomes with intervals.",
    ),
    (
        "A12",
        "V.1.b",
        "Hold thresholds of one's own, whose breach leads to adjustment.",
        "A register of thresholds with rationale.",
    ),
    (
        "A13",
        "V.2",
        "Monitor the model in use, as often as risk, change and data demand.",
        "A monitoring plan and drift evidence.",
    ),
)
RATIONALE = (
    "A model that does not clear this limit has not shown on unseen data that it does what its "
    "card says; the limit was set before any result was seen."
)


def judged(cards: list[CheckCard], evidence: list[Evidence]) -> tuple[Finding, ...]:
    """One finding per rule and slice, for the checks that ran."""
    names = {card.name for card in cards}
    found = []
    for rule in (line.split() for line in RULES.strip().splitlines()):
        check, metric, sliced_by = rule[:3]
        if check not in names:
            continue
        for item in evidence:
            sliced = sliced_by in item.slice if sliced_by != "-" else not item.slice
            if (item.check, item.metric) == (check, metric) and sliced:
                found.append(_finding(rule, item))
    return tuple(found)


def _finding(rule: list[str], item: Evidence) -> Finding:
    check, metric, sliced_by, operator, limit_said, on, severity, breach, missing, cites = rule
    rule_id = f"{check}.{metric}" + (f"_by_{sliced_by}" if sliced_by != "-" else "")
    limit = float(limit_said)
    observed = item.interval.low if on == "low" and item.interval else item.value
    if observed is None:
        verdict = "not_assessed"
        tail = f"was not assessed: {item.status}: {item.reason}"
    else:
        holds = {
            ">": observed > limit, ">=": observed >= limit,
            "<=": observed <= limit, "==": observed == limit,
        }[operator]  # fmt: skip
        verdict = "pass" if holds else breach
        met = "meets" if holds else "breaches"
        tail = f"is {observed:.4g} {item.unit}, which {met} the limit {operator} {limit:g}"
    where = "".join(f"[{k}={v}]" for k, v in item.slice.items())
    said = f" ({', '.join(f'{k} {v}' for k, v in item.slice.items())})" if item.slice else ""
    part = "low end of " if on == "low" else ""
    return Finding(
        id=f"{rule_id}{where}",
        rule=rule_id,
        check=check,
        metric=metric,
        slice=item.slice,
        verdict=verdict,
        severity=severity,
        blocks=(verdict == "fail" and severity in ("critical", "high"))
        or (verdict == "not_assessed" and missing == "block"),
        evidence=(item.key,),
        observed=observed,
        threshold=Threshold(operator=operator, limit=limit, on=on),
        statement=f"{part}{check}.{metric}{said} {tail}",
        rationale=RATIONALE,
        cites=tuple(cites.split(",")),
    )


def coverage(findings: tuple[Finding, ...]) -> tuple[ClauseCoverage, ...]:
    """The matrix over a few clauses."""
    order = ("fail", "not_assessed", "warn", "pass")
    rows = []
    for clause, section, summary, needs in CLAUSES:
        serving = [f for f in findings if clause in f.cites]
        assessed = [f for f in serving if f.verdict != "not_assessed"]
        rows.append(
            ClauseCoverage(
                clause=clause,
                section=section,
                summary=summary,
                status="not_evidenced"
                if not assessed
                else "partly_evidenced"
                if len(assessed) < len(serving) or clause == "A13"
                else "evidenced",
                worst=min((f.verdict for f in serving), key=order.index, default=None),
                findings=tuple(f.id for f in serving),
                needs=needs,
                maps_to=("sr_11_7:8",) if clause == "A7" else (),
            )
        )
    return tuple(rows)
