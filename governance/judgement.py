"""From one rule and the evidence to findings, in words that a committee can read."""

from __future__ import annotations

from collections.abc import Sequence

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
    blocks = (verdict == "fail" and rule.severity in closed_by) or (
        verdict == "not_assessed" and rule.when_not_assessed == "block"
    )
    unit = items[0].unit if items else ""
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
        statement=_statement(rule, where, verdict, observed, unit, missing),
        rationale=rule.rationale,
        cites=cites,
    )


_PARTS = {"value": "{}", "low": "low end of the {} interval", "high": "high end of the {} interval"}


def _statement(
    rule: Rule,
    where: tuple[tuple[str, str], ...],
    verdict: Verdict,
    observed: float | None,
    unit: str,
    missing: list[str],
) -> str:
    """One sentence a committee can read."""
    metric = _PARTS[rule.on].format(rule.metric.replace("_", " "))
    place = f" ({', '.join(f'{key} {_short(value)}' for key, value in where)})" if where else ""
    subject = f"{rule.check.replace('_', ' ').capitalize()}: {metric}{place}"
    if verdict == "not_assessed" or observed is None:
        return f"{subject} was not assessed: {missing[0] if missing else 'no such evidence'}"
    bare = "fraction" if unit.startswith(("fraction", "share")) else ""
    limit = f"{rule.operator} {_amount(rule.limit, bare)}"
    if rule.upper is not None:
        limit = f"between {_amount(rule.limit, bare)} and {_amount(rule.upper, bare)}"
    met = "meets" if verdict == "pass" else "breaches"
    return f"{subject} is {_amount(observed, unit)}, which {met} the limit {limit}"


def _short(value: str) -> str:
    """Digests cut to what a reader can compare; the slice itself keeps them whole."""
    return value[:12] if len(value) == 64 and value.isalnum() else value


def _amount(value: float, unit: str) -> str:
    """A number with its unit; fractions and shares as percentages."""
    kind, _, rest = unit.partition(" ")
    if kind in ("fraction", "share"):
        return f"{100 * value:.4g} % {rest}".rstrip()
    if kind == "ratio":
        return f"{value:.4g} {rest}".rstrip()
    return f"{value:.4g} {unit}".rstrip()
