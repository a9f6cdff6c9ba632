"""The records of a validation: Evidence, Exhibit, Finding, Run and SignOff.

All are frozen, closed and finite, and have one canonical JSON form (RFC 8785), whose SHA-256 is
the record's digest. The published JSON Schema is :func:`run_schema`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from finchaos.core.documents import Document
from finchaos.core.errors import IntegrityError
from finchaos.core.provenance import canonical_json, digest, parse_json, sha256
from governance.cards import CheckCard as CheckCard
from governance.cards import FamilyPower as FamilyPower
from governance.cards import Hypothesis as Hypothesis
from governance.cards import MetricSpec as MetricSpec
from governance.cards import ValidatorPower as ValidatorPower
from governance.locks import LockChange as LockChange
from governance.locks import LockRef as LockRef
from governance.references import PolicyRef as PolicyRef
from governance.references import PolicyStatus as PolicyStatus
from governance.tiers import MaterialityRef as MaterialityRef

SCHEMA_VERSION: Literal[1] = 1

Scalar = bool | int | float | str | None
Digest = str
Status = Literal["measured", "skipped", "errored"]
Verdict = Literal["pass", "warn", "fail", "not_assessed"]
Severity = Literal["low", "moderate", "high", "critical"]
Gate = Literal["open", "conditional", "closed"]
Role = Literal["developer", "validator", "approver"]
Decision = Literal["approve", "approve_with_conditions", "reject"]

SEVERITIES: tuple[Severity, ...] = ("critical", "high", "moderate", "low")
ROLES: tuple[Role, ...] = ("developer", "validator", "approver")

R = TypeVar("R", bound="Record")


class Record(Document):
    """A document with one canonical JSON form."""

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls: type[R], data: bytes | str) -> R:
        """The record that ``data`` describes.

        Raises
        ------
        IntegrityError
            If ``data`` is not JSON or does not fit the record.
        """
        try:
            return cls.model_validate(parse_json(data))
        except (ValueError, ValidationError) as error:
            raise IntegrityError(
                f"this is not a valid {cls.__name__}", got=" ".join(str(error).split())[:600]
            ) from error

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 of the canonical JSON."""
        return sha256(self.to_json())


class Interval(Document):
    """A confidence interval."""

    low: float
    high: float
    level: float = Field(gt=0, lt=1)
    method: str


class Window(Document):
    """The time an Evidence speaks about, ISO 8601."""

    start: str
    end: str
    trained_until: str = ""
    """Last bar the subject had been trained on; empty if it was not trained."""
    refitted: bool = False
    """Each part of the window was answered by a model trained only on bars before that part;
    ``trained_until`` is then that of the last part."""


class Residual(Document):
    """How far something that should be zero was from zero."""

    what: str
    value: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the residual is within its tolerance."""
        return abs(self.value) <= self.tolerance


class Evidence(Record):
    """A measurement. It never says good or bad."""

    check: str
    check_version: int
    params: dict[str, Scalar]
    """The check's constructor arguments."""
    metric: str
    unit: str
    status: Status
    reason: str = ""
    """Why there is no value; empty if measured."""
    value: float | None = None
    at_least: bool = False
    """The value is a lower bound: what was waited for had not come when the window ended."""
    note: str = ""
    """What the value compares with what, where metric and unit alone do not say it."""
    interval: Interval | None = None
    n: int = Field(default=0, ge=0)
    """Observations actually used."""
    window: Window
    slice: dict[str, str] = Field(default_factory=dict)
    """What part of the model or data: fold, regime, scenario, feature, challenger."""
    self_check: Residual | None = None

    @model_validator(mode="after")
    def _measured_or_explained(self) -> Self:
        if self.status == "measured" and (self.value is None or self.n < 1):
            raise ValueError("measured evidence needs a value and n >= 1")
        if self.status != "measured" and (self.value is not None or not self.reason):
            raise ValueError("evidence that was not measured has no value and gives a reason")
        return self

    @cached_property
    def key(self) -> Digest:
        """Digest of check, parameters, metric, slice and window: the same for a repetition."""
        return digest(
            {
                "check": self.check,
                "params": self.params,
                "metric": self.metric,
                "slice": self.slice,
                "window": self.window.model_dump(),
            }
        )


class Column(Document):
    """One column of an Exhibit."""

    name: str
    values: tuple[float | str | None, ...]
    unit: str = ""


class Exhibit(Record):
    """A table behind a figure, recorded beside Evidence; reports draw it."""

    check: str
    name: str
    """Unique within the check."""
    title: str
    kind: Literal["time_series", "line", "bar", "scatter", "heatmap", "table"]
    """``time_series``: first column is ISO time. ``bar``: first column holds categories.
    ``heatmap``: first column holds row labels, the others are the map's columns."""
    columns: tuple[Column, ...] = Field(min_length=1)
    y_label: str = ""
    note: str = ""
    """What a reader must know, such as that a path is reconstructed, with seed and digest."""

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        if len({len(column.values) for column in self.columns}) != 1:
            raise ValueError("all columns of an exhibit have the same length")
        return self


class Threshold(Document):
    """What a rule compares with what."""

    operator: Literal["<", "<=", ">", ">=", "==", "between"]
    limit: float
    upper: float | None = None
    """Upper limit of ``between``."""
    on: Literal["value", "low", "high"] = "value"
    """The part of the evidence that is compared: the value or an end of its interval."""


class Finding(Record):
    """A judgement of Evidence under a named rule. It never computes a statistic."""

    id: str
    """Rule, metric and slice, without the window: the same weakness keeps its id."""
    rule: str
    check: str
    metric: str
    slice: dict[str, str] = Field(default_factory=dict)
    verdict: Verdict
    severity: Severity
    blocks: bool
    """Whether this verdict closes the gate."""
    evidence: tuple[Digest, ...]
    """Keys of the evidence judged."""
    observed: float | None
    threshold: Threshold
    statement: str
    """One sentence a committee can read: what was found against which limit."""
    rationale: str
    cites: tuple[str, ...]
    """Clauses this finding serves."""


class ClauseCoverage(Document):
    """One row of the coverage matrix."""

    clause: str
    section: str
    summary: str
    status: Literal["evidenced", "partly_evidenced", "not_evidenced"]
    """``not_evidenced``: no rule serving the clause could be assessed, or none exists."""
    worst: Verdict | None
    """The worst verdict among the findings serving it."""
    findings: tuple[str, ...]
    """Ids of those findings."""
    needs: str
    """What evidence the clause asks for, in short."""
    maps_to: tuple[str, ...] = ()
    """Corresponding clauses of other guidance, as ``pack:clause``."""
    sign_off: tuple[Role, ...] = ()
    """Roles whose sign-off serves the clause; signatures come after the Run is sealed, so that
    its status here never counts them."""


class InputRef(Document):
    """Something the validation read, by digest."""

    role: Literal["bars", "scenario", "challenger", "plan", "trials", "signals", "reference"]
    name: str
    digest: Digest
    detail: dict[str, Scalar] = Field(default_factory=dict)
    """Source, rows, first and last time, kind (real, replay, reconstructed), licence."""


class Environment(Document):
    """What else the numbers depend on."""

    finchaos: str
    python: str
    commit: str
    """Commit of the code, with ``-dirty``, or empty where it is installed from a wheel."""
    code: Digest = ""
    """SHA-256 over the code and data files of the toolkit itself."""
    machine: str = ""
    """Processor and numerical library: sums may differ in the last bits between kinds of them."""
    packages: dict[str, str]
    """Versions of the packages that compute."""
    backend: str
    """Scan backend and device of the subject."""
    seed: int


class GuidanceCoverage(Document):
    """A further guidance beside the one the Run was judged under: its clauses, and no verdict."""

    policy: PolicyRef
    coverage: tuple[ClauseCoverage, ...]
    """What the findings of the judging policy say about its clauses."""


class SubjectRef(Document):
    """The model that was validated."""

    card: dict[str, Any]
    """:meth:`finchaos.core.subject.ModelCard.as_json`."""
    digest: Digest
    source: Digest = ""
    """SHA-256 of the file that defines the subject's class; empty if there is none."""
    capabilities: tuple[str, ...]


class ExhibitRef(Document):
    """An exhibit stored beside the Run."""

    check: str
    name: str
    digest: Digest


_ADDED = frozenset({"materiality", "lock", "also", "validator"})
"""Fields of a Run that came after Runs had been sealed without them."""


class Run(Record):
    """The sealed record of one validation. Reports read it and nothing else; never edited.

    Wall times and facts of the host stand beside it, outside the digest, so that the same
    validation repeated gives the same digest.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    plan: dict[str, Any]
    """The plan as it was run, every default written out."""
    subject: SubjectRef
    inputs: tuple[InputRef, ...]
    policy: PolicyRef
    environment: Environment
    cards: tuple[CheckCard, ...]
    evidence: tuple[Evidence, ...]
    exhibits: tuple[ExhibitRef, ...]
    findings: tuple[Finding, ...]
    coverage: tuple[ClauseCoverage, ...]
    gate: Gate
    gate_reasons: tuple[str, ...]
    inconclusive: bool
    """The gate is closed only because something that must be assessed could not be."""
    materiality: MaterialityRef | None = None
    """The tier it was made at; None where the plan states no exposure and purpose."""
    lock: LockRef | None = None
    """The lock of the plan that was there before anything was measured; None if it had none."""
    also: tuple[GuidanceCoverage, ...] = ()
    """Further guidances whose coverage is shown."""
    validator: ValidatorPower | None = None
    """How good this validator was found to be; None if nobody measured it."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what a Run does not have of ``_ADDED``, so that old ones keep their digest."""
        said: dict[str, Any] = handler(self)
        return {key: value for key, value in said.items() if value or key not in _ADDED}


class SignedCopy(Document):
    """The PDF that people see, as it stood right after one person had signed it.

    Later signatures only append, so these bytes stay the beginning of the file; a file cut back
    to fewer signatures is shorter than the last of these lengths.
    """

    path: str
    """Path within the run's folder."""
    length: int = Field(gt=0)
    """Bytes."""
    digest: Digest
    """SHA-256 of the first ``length`` bytes."""
    certificate: Digest
    """SHA-256 of the certificate that signed the PDF, DER."""
    public_key: Digest
    """SHA-256 of that certificate's SubjectPublicKeyInfo, DER."""


class SignOff(Record):
    """A person's decision on a Run: the payload of a signed envelope."""

    schema_version: Literal[1] = SCHEMA_VERSION
    run: Digest
    role: Role
    person: str = Field(min_length=1)
    decision: Decision
    conditions: str = ""
    manifest: dict[str, Digest]
    """Path within the run's folder to SHA-256 of every file signed, ``run.json`` among them."""
    certificate: Digest
    """SHA-256 of the signer's certificate, DER."""
    trust: str
    """``demo`` or the subject of the issuing root."""
    at: str
    """When, ISO 8601 UTC, by the signer's clock."""
    previous: Digest | None
    """Digest of the previous sign-off of this Run."""
    audit_head: Digest = "0" * 64
    """Hash of the last entry of the store's audit chain when this was signed; zeros if none."""
    pdf: SignedCopy | None = None
    """The signed PDF; None where the Run was reported without one."""

    @model_validator(mode="after")
    def _conditions_said(self) -> Self:
        if self.decision == "approve_with_conditions" and not self.conditions.strip():
            raise ValueError("an approval with conditions must state them")
        return self


def run_schema() -> dict[str, Any]:
    """JSON Schema of :class:`Run`."""
    return Run.model_json_schema()
