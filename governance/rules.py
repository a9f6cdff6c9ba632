"""What a policy file may say: rules that compare metrics with limits, and clauses they serve."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from finchaos.core.documents import Document
from governance.record import Evidence, PolicyStatus, Role, Severity, Threshold
from governance.tiers import TierTable

NotAssessed = Literal["block", "warn", "ignore"]


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

    def excess(self, observed: float) -> float:
        """How far the observed number lies beyond the limit; negative where it is within."""
        limit, upper = self.limit, self.upper
        return {
            "<": observed - limit,
            "<=": observed - limit,
            ">": limit - observed,
            ">=": limit - observed,
            "==": abs(observed - limit),
            "between": max(limit - observed, observed - (limit if upper is None else upper)),
        }[self.operator]

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
    sign_off: tuple[Role, ...] = ()
    """Roles whose sign-off is evidence for the clause."""


class PolicyDocument(Document):
    """What a policy file may say."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    status: PolicyStatus
    source: str
    extends: str | None = None
    rules: dict[str, Rule] = Field(default_factory=dict)
    closed_by: tuple[Severity, ...] | None = None
    """Severities of failed findings that close the gate; other failures make it conditional."""
    clauses: tuple[Clause, ...] = ()
    """Its own; those of the packs it extends come before, one of the same id is replaced."""
    tiers: TierTable | None = None
    """How materiality is derived and what it asks for; that of the nearest pack that has one."""


class Topic(Document):
    """One matter that two guidances treat differently."""

    topic: str
    was: str
    now: str


class Crosswalk(Document):
    """Topics that moved from one guidance to the next; clause links stand at the clauses."""

    old: str
    new: str
    topics: tuple[Topic, ...] = Field(min_length=1)
