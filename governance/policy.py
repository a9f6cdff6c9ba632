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

from finchaos.core import registry
from finchaos.core.documents import parse_yaml, read_document, validate_document
from finchaos.core.errors import DocumentError, UnknownNameError
from finchaos.core.provenance import digest
from governance.judgement import judge_rule
from governance.record import (
    SEVERITIES,
    CheckCard,
    ClauseCoverage,
    Digest,
    Evidence,
    Finding,
    Gate,
    PolicyRef,
    Severity,
    Verdict,
)
from governance.rules import Crosswalk, PolicyDocument, Rule

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
                    sign_off=clause.sign_off,
                )
            )
        return tuple(rows)


def _weight(finding: Finding) -> tuple[bool, int]:
    """Sort key of the reasons for a gate: what failed first, then by severity."""
    return finding.verdict != "fail", SEVERITIES.index(finding.severity)


def policy_names() -> tuple[str, ...]:
    """Names of the packs that ship."""
    return tuple(
        sorted(
            item.name.removesuffix(".yaml")
            for item in files("policies").iterdir()
            if item.name.endswith(".yaml") and item.name != "crosswalk.yaml"
        )
    )


def load_crosswalk() -> Crosswalk:
    """What moved between the superseded guidance and the one that replaced it."""
    text = files("policies").joinpath("crosswalk.yaml").read_text(encoding="utf-8")
    return validate_document(parse_yaml(text, "crosswalk"), Crosswalk, "policies/crosswalk.yaml")


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
    _check_document(chain[0], name, rules)
    policy = Policy(chain[0], dict(sorted(rules.items())), closed_by)
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
