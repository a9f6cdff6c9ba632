"""Policies: versioned packs of rules, and the judgement of Evidence under them.

A pack is a YAML file in ``policies/``. Its rules compare metrics with limits; its clauses say
which rules serve which expectation of a guidance. :meth:`Policy.judge` is pure and total: every
rule yields at least one Finding, and what was not measured can never pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from finchaos.core import registry
from finchaos.core.errors import DocumentError, UnknownNameError
from finchaos.core.provenance import digest
from finchaos.core.subject import Materiality
from governance.judgement import judge_rule
from governance.packs import load_crosswalk as load_crosswalk
from governance.packs import policy_names as policy_names
from governance.packs import read_with_extended
from governance.record import (
    SEVERITIES,
    ClauseCoverage,
    Digest,
    Evidence,
    Finding,
    Gate,
    MaterialityRef,
    PolicyRef,
    Severity,
    Verdict,
)
from governance.rules import Clause, PolicyDocument, Rule
from governance.tiers import Depth, MaterialityPlan

_WORST_FIRST: tuple[Verdict, ...] = ("fail", "not_assessed", "warn", "pass")


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
            for finding in judge_rule(
                rule_id, rule, evidence, cites.get(rule_id, ()), self.closed_by
            )
        )
        gate, reasons, inconclusive = self._gate(findings)
        return Judgement(findings, self.coverage(findings), gate, reasons, inconclusive)

    def derive(
        self, stated: MaterialityPlan | None, declared: Materiality
    ) -> MaterialityRef | None:
        """The tier of what a plan states; None if it states nothing.

        Raises
        ------
        DocumentError
            If the pack has no table of tiers.
        """
        if stated is None:
            return None
        if self.document.tiers is None:
            raise DocumentError(
                f"the plan states a materiality, and policy {self.document.name!r} has no tiers",
                remedy="extend 'baseline', or write a table under 'tiers'",
            )
        return self.document.tiers.derive(stated, declared)

    def depth(self, found: MaterialityRef | None) -> Depth | None:
        """What the tier asks of a validation; None where no tier was derived."""
        if found is None or self.document.tiers is None:
            return None
        return self.document.tiers.depth[found.tier]

    def at(self, found: MaterialityRef | None) -> Policy:
        """This policy with the rules that the tier requires blocking where not assessed."""
        depth = self.depth(found)
        if depth is None:
            return self
        rules = {
            rule_id: rule.model_copy(update={"when_not_assessed": "block"})
            if _matches(rule_id, depth.required)
            else rule
            for rule_id, rule in self.rules.items()
        }
        return dataclasses.replace(self, rules=rules)

    def _cites(self) -> dict[str, tuple[str, ...]]:
        return {
            rule_id: tuple(
                clause.id for clause in self.document.clauses if _matches(rule_id, clause.rules)
            )
            for rule_id in self.rules
        }

    def _gate(self, findings: Iterable[Finding]) -> tuple[Gate, tuple[str, ...], bool]:
        blocking, conditional, unassessed = [], [], []
        for finding in sorted(findings, key=_weight):
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

    def coverage(self, findings: Sequence[Finding]) -> tuple[ClauseCoverage, ...]:
        """What findings, under this policy or another, say about every clause of this one."""
        rows = []
        for clause in self.document.clauses:
            serving = [f for f in findings if _matches(f.rule, clause.rules)]
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
                    sign_off=clause.sign_off,
                )
            )
        return tuple(rows)


def _weight(finding: Finding) -> tuple[bool, int]:
    """Sort key of the reasons for a gate: what failed first, then by severity."""
    return finding.verdict != "fail", SEVERITIES.index(finding.severity)


def _matches(rule_id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(rule_id, pattern) for pattern in patterns)


def load_policy(name: str, *, beside: Path | None = None) -> Policy:
    """Load a pack by name or by the path of a YAML file, with everything it extends.

    Parameters
    ----------
    name : str
        A shipped pack, or a path ending in ``.yaml``.
    beside : Path, optional
        Folder that a relative path starts from; one under ``extends`` starts from its own file.

    Raises
    ------
    DocumentError
        If the file is malformed, extends itself, or a rule or clause names what does not exist.
    """
    chain = read_with_extended(name, beside)
    rules: dict[str, Rule] = {}
    clauses: dict[str, Clause] = {}
    closed_by: tuple[Severity, ...] = ("critical", "high")
    for document in reversed(chain):
        _check_clause_ids(document)
        rules.update(document.rules)
        clauses.update({clause.id: clause for clause in document.clauses})
        closed_by = document.closed_by if document.closed_by is not None else closed_by
    tiers = next((document.tiers for document in chain if document.tiers is not None), None)
    _check_document(chain[0], name, rules)
    whole = chain[0].model_copy(update={"clauses": tuple(clauses.values()), "tiers": tiers})
    policy = Policy(whole, dict(sorted(rules.items())), closed_by)
    _check_names(policy)
    return policy


def _check_document(document: PolicyDocument, asked: str, rules: Mapping[str, Rule]) -> None:
    """A pack without rules would open every gate; one under another's name would mislead."""
    if not rules:
        raise DocumentError(
            f"policy {document.name!r} has no rules", remedy="extend 'baseline' or write rules"
        )
    if document.name in policy_names() and asked != document.name:
        raise DocumentError(
            f"the file {asked} calls itself {document.name!r}, the name of a pack that ships",
            remedy="give it a name of its own; 'extends' may still name the shipped pack",
        )


def _check_clause_ids(document: PolicyDocument) -> None:
    ids = [clause.id for clause in document.clauses]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise DocumentError(
            f"policy {document.name!r} has a clause id twice",
            got=", ".join(twice),
            remedy="give every clause an id of its own",
        )


def _check_names(policy: Policy) -> None:
    """Every rule names an existing check and metric; every clause an existing rule."""
    problems = []
    for rule_id, rule in policy.rules.items():
        kind = _check_class(rule.check)
        if kind is None:
            problems.append(f"rule {rule_id} names the unknown check {rule.check!r}")
        elif rule.metric not in {spec.name for spec in kind.card.metrics}:
            problems.append(f"rule {rule_id}: check {rule.check} has no metric {rule.metric!r}")
    for clause in policy.document.clauses:
        problems += [
            f"clause {clause.id} names {pattern!r}, which matches no rule"
            for pattern in clause.rules
            if not any(fnmatchcase(rule_id, pattern) for rule_id in policy.rules)
        ]
    problems += _unknown_depths(policy)
    if problems:
        raise DocumentError(
            f"policy {policy.document.name!r} names things that do not exist",
            got="; ".join(problems),
            remedy="run 'finchaos checks' for the checks and their metrics",
        )


def _unknown_depths(policy: Policy) -> list[str]:
    """What the tiers ask of checks, parameters and rules that there are not."""
    problems = []
    tiers = policy.document.tiers
    for level, depth in tiers.depth.items() if tiers is not None else ():
        for check, params in depth.checks.items():
            kind = _check_class(check)
            if kind is None:
                problems.append(f"tier {level} names the unknown check {check!r}")
                continue
            fields = dataclasses.fields(kind)
            problems += [
                f"tier {level}: check {check} has no parameter {name!r}"
                for name in sorted(set(params) - {field.name for field in fields})
            ]
        problems += [
            f"tier {level} requires {pattern!r}, which matches no rule"
            for pattern in depth.required
            if not any(fnmatchcase(rule_id, pattern) for rule_id in policy.rules)
        ]
    return problems


def _check_class(name: str) -> Any:
    try:
        return _known_check_class(name)
    except UnknownNameError:
        return None


@cache
def _known_check_class(name: str) -> Any:
    """The class of a check; looked up once, since asking for outside checks scans all packages."""
    return registry.public_class("governance.checks", name)
