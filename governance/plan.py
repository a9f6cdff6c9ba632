"""The plan: what to validate, on what, how and under which policy. A YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.documents import Document, read_document
from finchaos.core.errors import DocumentError
from governance.record import Scalar
from governance.splits import Fold, anchored_folds

Params = dict[str, Any]


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
        if self.checkpoint is not None and self.model is None:
            raise ValueError("a checkpoint needs the name of its model")
        return self


class DataPlan(Document):
    """The bars."""

    source: str
    """``spx``, ``skfolio``, ``great_tables``, or the path of a CSV or Parquet file."""
    start: str | None = None
    """First date, ISO 8601; all there is if left out."""
    end: str | None = None
    """Last date, ISO 8601."""
    symbol: str | None = None
    bars_per_year: float | None = Field(default=None, gt=0)
    """Needed for files whose bars are not daily."""


class FoldPlan(Document):
    """Anchored walk-forward."""

    count: int = Field(default=6, ge=1, le=200)
    first_test: str | float = 0.35
    """Date of the first test bar, or the share of the bars before it."""
    gap_bars: int = Field(default=10, ge=0)
    """Purge and embargo between training and test: label horizon plus execution delay."""


class TradingPlan(Document):
    """How decisions become positions."""

    cost_bps: float = Field(default=10.0, ge=0)
    """One-way cost in basis points of traded notional."""
    delay_bars: int = Field(default=1, ge=0)
    """Bars between decision and execution."""


class Plan(Document):
    """Everything that determines a validation."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$")
    seed: int = Field(default=7, ge=0, lt=2**53)
    policy: str = "sr_26_2"
    """A pack's name, or the path of a YAML file."""
    subject: SubjectPlan
    data: DataPlan
    folds: FoldPlan = FoldPlan()
    trading: TradingPlan = TradingPlan()
    challengers: tuple[str, ...] = ("buy_and_hold", "volatility_threshold")
    scenarios: tuple[str, ...] | Literal["all"] = "all"
    """Names of shipped scenarios, paths of YAML files, or ``all`` that ship."""
    checks: dict[str, dict[str, Scalar]] | Literal["all"] = "all"
    """Check names with their parameters, ``{}`` for defaults; or ``all``."""
    formats: tuple[str, ...] = ("html", "pdf", "json", "junit", "markdown")

    def make_folds(self, bars: Bars) -> tuple[Fold, ...]:
        """The folds over these bars.

        Raises
        ------
        DocumentError
            If the first test date lies outside the bars.
        """
        first = self.folds.first_test
        if isinstance(first, str):
            row = len(bars) - len(bars.between(first, None))
        else:
            row = int(first * len(bars)) if 0 < first < 1 else -1
        if not 0 < row < len(bars):
            raise DocumentError(
                "folds.first_test is outside the bars",
                expected=f"a date between {bars.index[0].date()} and {bars.index[-1].date()}, "
                "or a share between 0 and 1",
                got=repr(first),
            )
        return anchored_folds(
            len(bars), first_test=row, count=self.folds.count, gap=self.folds.gap_bars
        )

    def make_checks(self) -> tuple[Any, ...]:
        """The checks, constructed, in a fixed order.

        Raises
        ------
        UnknownNameError, DocumentError
            If a check does not exist or does not take a parameter.
        """
        if self.checks == "all":
            wanted: dict[str, dict[str, Scalar]] = {
                name: {} for name in registry.names("governance.checks")
            }
        else:
            wanted = self.checks
        return tuple(_construct(name, wanted[name]) for name in sorted(wanted))


def _construct(name: str, params: dict[str, Scalar]) -> Any:
    kind = registry.public_class("governance.checks", name)
    try:
        return kind(**params)
    except (TypeError, ValueError) as error:
        fields = ", ".join(getattr(kind, "__dataclass_fields__", {})) or "none"
        raise DocumentError(
            f"check {name} does not take these parameters",
            expected=f"some of: {fields}",
            got=str(error),
        ) from error


def read_plan(path: Path) -> Plan:
    """Read and check a plan file."""
    return read_document(path, Plan)
