"""From one rule and the evidence to findings, in words that a committee can read."""

from __future__ import annotations

from collections.abc import Sequence

from governance.amounts import amount, interval, limit
from governance.record import Evidence, Finding, Severity, Verdict
from governance.rules import Rule


def judge_rule(
    rule_id: str,
    rule: Rule,
    evidence: Sequence[Evidence],
    cites: tuple[str, ...],
    closed_by: tuple[Severity, ...],
) -> list[Finding]:
    """One finding per slice the rule concerns; one not-assessed finding if there is none.

    Parameters
    ----------
    rule_id : str
    rule : Rule
    evidence : sequence of Evidence
        In any order.
    cites : tuple of str
        Clauses that the rule serves.
    closed_by : tuple of str
        Severities whose failure closes the gate.
    """
    by_slice: dict[tuple[tuple[str, str], ...], list[Evidence]] = {}
    for item in sorted(evidence, key=lambda e: e.key):
        if rule.concerns(item):
            by_slice.setdefault(tuple(sorted(item.slice.items())), []).append(item)
    if not by_slice:
        return [_finding(rule_id, rule, (), [], cites, closed_by)]
    return [
        _finding(rule_id, rule, where, items, cites, closed_by)
        for where, items in sorted(by_slice.items())
    ]


def _observed(rule: Rule, item: Evidence) -> tuple[float | None, str]:
    """The number a rule compares, or None and why there is none."""
    if item.status != "measured" or item.value is None:
        return None, f"{item.status}: {item.reason}"
    if item.self_check is not None and not item.self_check.holds:
        residual = item.self_check
        return None, (
            f"the measurement failed its own check: {residual.what} is {residual.value:.3g}, "
            f"tolerance {residual.tolerance:.3g}"
        )
    if rule.on == "value":
        return item.value, ""
    if item.interval is None:
        return None, "the rule compares an end of an interval and none was measured"
    return (item.interval.low if rule.on == "low" else item.interval.high), ""


def _finding(
    rule_id: str,
    rule: Rule,
    where: tuple[tuple[str, str], ...],
    items: list[Evidence],
    cites: tuple[str, ...],
    closed_by: tuple[Severity, ...],
) -> Finding:
    judged = [(item, *_observed(rule, item)) for item in items]
    missing = [reason for _, value, reason in judged if value is None]
    values = [value for _, value, _ in judged if value is not None]
    breaching = [value for value in values if not rule.holds(value)]
    verdict: Verdict
    if breaching:
        verdict = rule.breach
    elif missing or not values:
        verdict = "not_assessed"
    else:
        verdict = "pass"
    # Several pieces of evidence in one slice: the worst speaks, whatever their keys.
    observed = max(breaching or values, key=rule.excess, default=None)
    judged_on = next((item for item, value, _ in judged if value == observed), None)
    blocks = (verdict == "fail" and rule.severity in closed_by) or (
        verdict == "not_assessed" and rule.when_not_assessed == "block"
    )
    suffix = "".join(f"[{key}={value}]" for key, value in where)
    return Finding(
        id=f"{rule_id}{suffix}",
        rule=rule_id,
        check=rule.check,
        metric=rule.metric,
        slice=dict(where),
        verdict=verdict,
        severity=rule.severity,
        blocks=blocks,
        evidence=tuple(item.key for item in items),
        observed=observed,
        threshold=rule.threshold,
        statement=_statement(rule, where, verdict, judged_on, missing),
        rationale=rule.rationale,
        cites=cites,
    )


def _statement(
    rule: Rule,
    where: tuple[tuple[str, str], ...],
    verdict: Verdict,
    item: Evidence | None,
    missing: list[str],
) -> str:
    """One sentence a committee can read: metric, value, unit, interval and limit."""
    metric = rule.metric.replace("_", " ")
    ordered = sorted(where, key=lambda pair: pair[0] != "scenario")  # what it is about, first
    said = ", ".join(f"{key} {value}" for key, value in ordered if not _is_digest(value))
    place = f" ({said})" if said else ""
    subject = f"{rule.check.replace('_', ' ').capitalize()}: {metric}{place}"
    if verdict == "not_assessed" or item is None or item.value is None:
        return f"{subject} was not assessed: {missing[0] if missing else 'no such evidence'}"
    value = amount(item.value, item.unit, at_least=item.at_least)
    told = "; ".join(filter(None, (interval(item), item.note)))
    which = "which" if rule.on == "value" else f"whose {rule.on} end"
    met = "meets" if verdict == "pass" else "breaches"
    bound = limit(rule.threshold, item.unit)
    return f"{subject} is {value}{f' ({told})' if told else ''}, {which} {met} the limit: {bound}"


def _is_digest(value: str) -> bool:
    """Digests tell a reader nothing; the slice itself keeps them."""
    return len(value) == 64 and value.isalnum()
