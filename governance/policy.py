"""Policies: versioned packs of rules, and the judgement of Evidence under them.

A pack is a YAML file in ``policies/``. Its rules compare metrics with limits; its clauses say
which rules serve which expectation of a guidance. :meth:`Policy.judge` is pure and total: every
rule yields at least one Finding, and what was not measured can never pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from finchaos.core import registry
from finchaos.core.documents import Document, parse_yaml, read_document, validate_document
from finchaos.core.errors import DocumentError, UnknownNameError
from finchaos.core.provenance import digest
from governance.record import (
    CheckCard,
    ClauseCoverage,
    Digest,
    Evidence,
    Finding,
    Gate,
    PolicyRef,
    Severity,
    Threshold,
    Verdict,
)

NotAssessed = Literal["block", "warn", "ignore"]
_WORST_FIRST: tuple[Verdict, ...] = ("fail", "not_assessed", "warn", "pass")


class Rule(Document):
    """One comparison of one metric with one limit."""

    check: str
    metric: str
    where: dict[str, str] = Field(default_factory=dict)
    """Slice the rule speaks about: exact values, ``*`` for "has this key", ``-`` for "has not"."""
    on: Literal["value", "low", "high"] = "value"
    operator: Literal["<", "<=", ">", ">=", "==", "between"]
    limit: float
    upper: float | None = None
    severity: Severity
    breach: Literal["fail", "warn"] = "fail"
    when_not_assessed: NotAssessed = "warn"
    rationale: str = Field(min_length=20)

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Rule:
        between = self.operator == "between"
        if between != (self.upper is not None) or (between and self.limit > (self.upper or 0.0)):
            raise ValueError("operator 'between' needs limit <= upper; the others take no upper")
        return self

    @property
    def threshold(self) -> Threshold:
        """The comparison as recorded in findings."""
        return Threshold(operator=self.operator, limit=self.limit, upper=self.upper, on=self.on)

    def concerns(self, evidence: Evidence) -> bool:
        """Whether the rule speaks about this evidence."""
        if (evidence.check, evidence.metric) != (self.check, self.metric):
            return False
        for key, wanted in self.where.items():
            got = evidence.slice.get(key)
            if wanted == "-":
                matches = got is None
            else:
                matches = got is not None and (wanted == "*" or wanted == got)
            if not matches:
                return False
        return True

    def holds(self, observed: float) -> bool:
        """Whether the observed number satisfies the limit."""
        limit, upper = self.limit, self.upper
        return {
            "<": observed < limit,
            "<=": observed <= limit,
            ">": observed > limit,
            ">=": observed >= limit,
            "==": observed == limit,
            "between": upper is not None and limit <= observed <= upper,
        }[self.operator]


class Clause(Document):
    """One expectation of a guidance, paraphrased."""

    id: str
    section: str
    summary: str
    needs: str
    """What evidence would serve it."""
    rules: tuple[str, ...] = ()
    """Rule ids, or patterns such as ``walk_forward.*``."""
    extent: Literal["full", "part"] = "part"
    """Whether those rules, all assessed, cover the whole clause."""
    maps_to: tuple[str, ...] = ()


class PolicyDocument(Document):
    """What a policy file may say."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    status: Literal["active", "superseded", "draft", "voluntary"]
    source: str
    extends: str | None = None
    rules: dict[str, Rule] = Field(default_factory=dict)
    closed_by: tuple[Severity, ...] | None = None
    """Severities of failed findings that close the gate; other failures make it conditional."""
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What a policy makes of the evidence."""

    findings: tuple[Finding, ...]
    coverage: tuple[ClauseCoverage, ...]
    gate: Gate
    reasons: tuple[str, ...]
    inconclusive: bool


@dataclass(frozen=True)
class Policy:
    """A pack with everything it extends merged in, checked against the checks that exist."""

    document: PolicyDocument
    rules: Mapping[str, Rule]
    closed_by: tuple[Severity, ...]

    @property
    def digest(self) -> Digest:
        """SHA-256 over the merged rules, the clauses and the gate."""
        return digest(
            {
                "document": self.document.model_dump(mode="json"),
                "rules": {key: rule.model_dump(mode="json") for key, rule in self.rules.items()},
                "closed_by": list(self.closed_by),
            }
        )

    @property
    def reference(self) -> PolicyRef:
        """How a Run names this policy."""
        doc = self.document
        return PolicyRef(
            name=doc.name,
            version=doc.version,
            title=doc.title,
            status=doc.status,
            source=doc.source,
            digest=self.digest,
        )

    def judge(self, evidence: Sequence[Evidence]) -> Judgement:
        """Findings, clause coverage and gate for this evidence.

        Depends on nothing but its arguments; the order of the evidence does not matter.
        """
        cites = self._cites()
        findings = tuple(
            finding
            for rule_id, rule in self.rules.items()
            for finding in _judge_rule(
                rule_id, rule, evidence, cites.get(rule_id, ()), self.closed_by
            )
        )
        gate, reasons, inconclusive = self._gate(findings)
        return Judgement(findings, self._coverage(findings), gate, reasons, inconclusive)

    def _cites(self) -> dict[str, tuple[str, ...]]:
        return {
            rule_id: tuple(
                clause.id
                for clause in self.document.clauses
                if any(fnmatchcase(rule_id, pattern) for pattern in clause.rules)
            )
            for rule_id in self.rules
        }

    def _gate(self, findings: Iterable[Finding]) -> tuple[Gate, tuple[str, ...], bool]:
        blocking, conditional, unassessed = [], [], []
        for finding in findings:
            reason = f"{finding.severity}: {finding.statement}"
            if finding.verdict == "not_assessed" and finding.blocks:
                unassessed.append(reason)
            elif finding.blocks:
                blocking.append(reason)
            elif finding.verdict in ("fail", "warn") or (
                finding.verdict == "not_assessed"
                and self.rules[finding.rule].when_not_assessed == "warn"
            ):
                conditional.append(reason)
        if blocking or unassessed:
            return "closed", tuple(blocking + unassessed), not blocking
        if conditional:
            return "conditional", tuple(conditional), False
        return "open", (), False

    def _coverage(self, findings: Sequence[Finding]) -> tuple[ClauseCoverage, ...]:
        rows = []
        for clause in self.document.clauses:
            serving = [f for f in findings if clause.id in f.cites]
            assessed = [f for f in serving if f.verdict != "not_assessed"]
            whole = clause.extent == "full" and len(assessed) == len(serving)
            worst = min((f.verdict for f in serving), key=_WORST_FIRST.index, default=None)
            rows.append(
                ClauseCoverage(
                    clause=clause.id,
                    section=clause.section,
                    summary=clause.summary,
                    status="not_evidenced"
                    if not assessed
                    else ("evidenced" if whole else "partly_evidenced"),
                    worst=worst,
                    findings=tuple(f.id for f in serving),
                    needs=clause.needs,
                    maps_to=clause.maps_to,
                )
            )
        return tuple(rows)


def _judge_rule(
    rule_id: str,
    rule: Rule,
    evidence: Sequence[Evidence],
    cites: tuple[str, ...],
    closed_by: tuple[Severity, ...],
) -> list[Finding]:
    """One finding per slice the rule concerns; one not-assessed finding if there is none."""
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
    observed = breaching[0] if breaching else (values[0] if values else None)
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


def policy_names() -> tuple[str, ...]:
    """Names of the packs that ship."""
    return tuple(
        sorted(
            item.name.removesuffix(".yaml")
            for item in files("policies").iterdir()
            if item.name.endswith(".yaml") and item.name != "crosswalk.yaml"
        )
    )


def _read(name: str, beside: Path | None) -> PolicyDocument:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        located = path if path.is_absolute() or beside is None else beside / path
        return read_document(located, PolicyDocument)
    if name not in policy_names():
        raise UnknownNameError(
            f"no policy named {name!r}",
            expected=f"one of {', '.join(policy_names())}, or the path of a YAML file",
        )
    text = files("policies").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return validate_document(parse_yaml(text, f"policies/{name}.yaml"), PolicyDocument, name)


def load_policy(name: str, *, beside: Path | None = None) -> Policy:
    """Load a pack by name or by the path of a YAML file, with everything it extends.

    Parameters
    ----------
    name : str
        A shipped pack, or a path ending in ``.yaml``.
    beside : Path, optional
        Folder that relative paths start from.

    Raises
    ------
    DocumentError
        If the file is malformed, extends itself, or a rule or clause names what does not exist.
    """
    chain: list[PolicyDocument] = []
    seen: list[str] = []
    wanted: str | None = name
    while wanted is not None:
        if wanted in seen:
            raise DocumentError(f"policy {name!r} extends itself", got=" -> ".join([*seen, wanted]))
        seen.append(wanted)
        chain.append(_read(wanted, beside))
        wanted = chain[-1].extends
    rules: dict[str, Rule] = {}
    closed_by: tuple[Severity, ...] = ("critical", "high")
    for document in reversed(chain):
        rules.update(document.rules)
        closed_by = document.closed_by if document.closed_by is not None else closed_by
    policy = Policy(chain[0], dict(sorted(rules.items())), closed_by)
    _check_names(policy)
    return policy


def _check_names(policy: Policy) -> None:
    """Every rule names an existing check and metric; every clause an existing rule."""
    problems = []
    cards: dict[str, CheckCard | None] = {}
    for rule_id, rule in policy.rules.items():
        if rule.check not in cards:
            cards[rule.check] = _card(rule.check)
        card = cards[rule.check]
        if card is None:
            problems.append(f"rule {rule_id} names the unknown check {rule.check!r}")
        elif rule.metric not in {spec.name for spec in card.metrics}:
            problems.append(f"rule {rule_id}: check {rule.check} has no metric {rule.metric!r}")
    ids = [clause.id for clause in policy.document.clauses]
    problems += [
        f"clause id {i} appears twice" for i in sorted({i for i in ids if ids.count(i) > 1})
    ]
    for clause in policy.document.clauses:
        problems += [
            f"clause {clause.id} names {pattern!r}, which matches no rule"
            for pattern in clause.rules
            if not any(fnmatchcase(rule_id, pattern) for rule_id in policy.rules)
        ]
    if problems:
        raise DocumentError(
            f"policy {policy.document.name!r} names things that do not exist",
            got="; ".join(problems),
            remedy="run 'finchaos checks' for the checks and their metrics",
        )


def _card(check: str) -> CheckCard | None:
    if check not in registry.names("governance.checks"):
        return None
    card: CheckCard = registry.public_class("governance.checks", check).card
    return card
