"""What a check says of itself: the card that the report prints beside its numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from finchaos.core.documents import Document

Pillar = Literal["conceptual_soundness", "outcomes_analysis", "ongoing_monitoring"]
Better = Literal["higher", "lower", "near", "two_sided", "none"]


class Hypothesis(Document):
    """What a statistical test sets against each other."""

    null: str
    alternative: str


class MetricSpec(Document):
    """One number a check can measure."""

    name: str
    unit: str
    better: Better
    meaning: str


class CheckCard(Document):
    """What the report prints beside a check's numbers."""

    name: str
    """Equal to the file name."""
    version: int = Field(ge=1)
    """Raised when the number would change for the same input."""
    title: str
    question: str
    pillar: Pillar
    hypothesis: Hypothesis | None = None
    method: str
    limitations: tuple[str, ...] = Field(min_length=1)
    references: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    """Capabilities the subject must declare; ``model`` where recorded signals are not enough."""
    metrics: tuple[MetricSpec, ...] = Field(min_length=1)

    def metric(self, name: str) -> MetricSpec:
        """The metric called ``name``; KeyError if the card has none."""
        for spec in self.metrics:
            if spec.name == name:
                return spec
        raise KeyError(f"check {self.name} has no metric {name}")


class FamilyPower(Document):
    """How many defects of a family were planted, and in how many subjects found."""

    family: str
    defects: int = Field(ge=1)
    planted: int = Field(ge=1)
    found: int = Field(ge=0)


class PowerFigures(Document):
    """How good the validator was found to be on known defects and on sound models."""

    version: str
    kinds: tuple[str, ...]
    """Kinds of sound models."""
    families: tuple[FamilyPower, ...]
    found_low: float
    found_high: float
    """Exact 95 % interval of the share found."""
    sound: int
    accused: int
    accused_low: float
    accused_high: float
    """Exact 95 % interval of the share of sound models accused."""
    missed: tuple[str, ...]
    """Defects missed, with the kind of model."""


class ValidatorPower(PowerFigures):
    """These figures in the record of a run."""

    same_code: bool
    """Whether the code and the policies are those that it was measured with."""
