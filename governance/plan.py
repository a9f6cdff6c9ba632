"""The plan: what to validate, on what, how and under which policy. A YAML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.documents import Document, read_document
from finchaos.core.errors import DocumentError
from finchaos.core.provenance import digest
from governance.record import Digest, Scalar
from governance.splits import Fold, anchored_folds
from governance.tiers import MaterialityPlan

Params = dict[str, Any]

LEAST_TRAINING_BARS, LEAST_TEST_BARS = 100, 20


class SubjectPlan(Document):
    """The model under validation: one of finchaos' own, or somebody's through an adapter."""

    model: str | None = None
    """A model of the stack, by name: ``mamba_regime``."""
    checkpoint: str | None = None
    """Folder of a saved model of that name, instead of building it."""
    adapter: Literal["function", "estimator", "signals_file"] | None = None
    """How to make a subject of what you have."""
    params: Params = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model is None) == (self.adapter is None):
            raise ValueError("name either a model or an adapter")
        if self.checkpoint is not None and (self.model is None or self.params):
            raise ValueError("a checkpoint needs the name of its model, and brings its own params")
        return self


class DataPlan(Document):
    """The bars."""

    source: str
    """``spx``, ``skfolio``, ``great_tables``, or the path of a CSV or Parquet file."""
    start: date | None = None
    """First date, ISO 8601; all there is if left out."""
    end: date | None = None
    """Last date, ISO 8601."""
    symbol: str | None = None
    bars_per_year: float | None = Field(default=None, gt=0)
    """Needed for files whose bars are not daily."""


class FoldPlan(Document):
    """Anchored walk-forward."""

    count: int = Field(default=6, ge=1, le=200)
    first_test: date | float = 0.35
    """Date of the first test bar, or the share of the bars before it."""
    gap_bars: int = Field(default=10, ge=0)
    """Purge and embargo between training and test: label horizon plus execution delay."""


class TradingPlan(Document):
    """How decisions become positions."""

    cost_bps: float = Field(default=10.0, ge=0)
    """One-way cost in basis points of traded notional."""
    delay_bars: int = Field(default=1, ge=0)
    """Bars between decision and execution."""


class TrialsPlan(Document):
    """What was tried before the model was chosen."""

    record: str
    """Path of the register of trials that the search appended to."""
    study: str = ""
    """Of which trials count; all of the register if left out."""
    sharpe_scores: bool = False
    """Whether its scores are Sharpe ratios a year."""
    returns: str | None = None
    """Path of a CSV file: dates, then one column of returns a trial."""


class LimitsPlan(Document):
    """What one check may use before it is killed and recorded as errored."""

    seconds_per_check: float = Field(default=900.0, gt=0)
    """Wall time, waiting for a fit that another check makes included."""
    memory_mb: float = Field(default=8192.0, gt=0)
    """Memory of its process and those that it started, where the system tells it (Linux)."""


class Plan(Document):
    """Everything that determines a validation."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$")
    seed: int = Field(default=7, ge=0, lt=2**53)
    policy: str = "sr_26_2"
    """A pack's name, or the path of a YAML file."""
    also: tuple[str, ...] = ()
    """Further packs whose clauses are shown beside, served by the findings under ``policy``."""
    materiality: MaterialityPlan | None = None
    """Exposure and purpose, from which the policy derives the tier; none if left out."""
    subject: SubjectPlan
    data: DataPlan
    folds: FoldPlan = FoldPlan()
    trading: TradingPlan = TradingPlan()
    trials: TrialsPlan | None = None
    since: str | None = None
    """Folder of the run of the last full validation, to measure what has changed since."""
    challengers: tuple[str, ...] = ("buy_and_hold", "volatility_threshold")
    scenarios: tuple[str, ...] | Literal["all"] = "all"
    """Names of shipped scenarios, paths of YAML files, or ``all`` that ship."""
    checks: dict[str, dict[str, Scalar]] | Literal["all"] = "all"
    """Check names with their parameters, ``{}`` for defaults; or ``all``."""
    limits: LimitsPlan = LimitsPlan()
    formats: tuple[str, ...] = ("html", "pdf", "json", "junit", "markdown")

    @field_validator("challengers", "scenarios", "formats", "also")
    @classmethod
    def _named_once(cls, names: Any) -> Any:
        if not isinstance(names, str) and len(set(names)) != len(names):
            raise ValueError("a name appears twice")
        return names

    @field_validator("checks")
    @classmethod
    def _something_to_check(cls, checks: Any) -> Any:
        if not checks:
            raise ValueError("no check is named; leave the key out for all of them")
        return checks

    @property
    def identity(self) -> Digest:
        """Digest of the model and the bars: what results there are belong to them."""
        return digest(
            {
                "subject": self.subject.model_dump(mode="json"),
                "data": self.data.model_dump(mode="json"),
            }
        )

    @model_validator(mode="after")
    def _beside_the_judge(self) -> Self:
        if self.policy in self.also:
            raise ValueError(f"policy {self.policy!r} judges, so 'also' need not name it")
        return self

    def make_folds(self, bars: Bars) -> tuple[Fold, ...]:
        """The folds over these bars.

        Raises
        ------
        DocumentError
            If the first test date lies outside the bars.
        """
        first = self.folds.first_test
        if isinstance(first, date):
            row = len(bars) - len(bars.between(first.isoformat(), None))
        else:
            row = int(first * len(bars)) if 0 < first < 1 else -1
        if not 0 < row < len(bars):
            raise DocumentError(
                "folds.first_test is outside the bars",
                expected=f"a date between {bars.index[0].date()} and {bars.index[-1].date()}, "
                "or a share between 0 and 1",
                got=str(first),
            )
        folds = anchored_folds(
            len(bars), first_test=row, count=self.folds.count, gap=self.folds.gap_bars
        )
        shortest = min(fold.test_end - fold.test_start for fold in folds)
        if folds[0].train_end < LEAST_TRAINING_BARS or shortest < LEAST_TEST_BARS:
            raise DocumentError(
                "the folds are too short to say anything",
                expected=f"at least {LEAST_TRAINING_BARS} bars of training and "
                f"{LEAST_TEST_BARS} in every test",
                got=f"{folds[0].train_end} and {shortest}",
                remedy="use more bars or fewer folds",
            )
        return folds

    def make_checks(self, least: Mapping[str, Mapping[str, int]] | None = None) -> tuple[Any, ...]:
        """The checks, constructed, in a fixed order.

        Parameters
        ----------
        least : mapping of check to parameters, optional
            Least values that the tier of the model asks for; taken where the plan sets none.

        Raises
        ------
        UnknownNameError, DocumentError
            If a check does not exist, does not take a parameter, or is set to less than that.
        """
        if self.checks == "all":
            wanted: dict[str, dict[str, Scalar]] = {
                name: {} for name in registry.names("governance.checks")
            }
        else:
            wanted = self.checks
        floors = least or {}
        return tuple(
            _construct(name, _deep_enough(name, wanted[name], floors.get(name, {})))
            for name in sorted(wanted)
        )


def _deep_enough(
    name: str, params: Mapping[str, Scalar], least: Mapping[str, int]
) -> dict[str, Scalar]:
    """The plan's parameters over those of the tier; a plan cannot go below its tier."""
    for key, floor in least.items():
        said = params.get(key, floor)
        if isinstance(said, int | float) and said < floor:
            raise DocumentError(
                f"the plan measures {name} less deeply than the model's tier asks for",
                expected=f"{key} of at least {floor}",
                got=str(said),
                remedy="raise it, or leave it out to take that of the tier",
            )
    return {**least, **params}


def _construct(name: str, params: dict[str, Scalar]) -> Any:
    kind = registry.public_class("governance.checks", name)
    known = {field.name for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    try:
        if unknown := sorted(set(params) - known):
            raise ValueError(f"no parameter {', '.join(unknown)}")
        typed = {key: _typed(key, value, hints[key]) for key, value in params.items()}
        return kind(**typed)
    except (TypeError, ValueError) as error:
        raise DocumentError(
            f"check {name} does not take these parameters",
            expected=f"some of: {', '.join(sorted(known)) or 'none'}",
            got=str(error),
        ) from error


def _typed(name: str, value: Scalar, hint: Any) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}: {error.errors()[0]['msg']}") from error


def read_plan(path: Path) -> Plan:
    """Read and check a plan file."""
    return read_document(path, Plan)
