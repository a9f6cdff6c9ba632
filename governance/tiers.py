"""Materiality: exposure and purpose of a model's use, and the depth of validation they ask for.

The plan states exposure and purpose, the policy pack publishes the table that makes a tier of
them and what each tier asks for. Following the idea of SR 26-2 that materiality is exposure and
purpose together; the table and its amounts are this project's or the institution's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from finchaos.core.documents import Document
from finchaos.core.subject import Materiality

Purpose = Literal["research", "advice", "decision"]
"""``research``: nobody acts on it; ``advice``: a person decides with it; ``decision``: it does."""

LEVELS: tuple[Materiality, ...] = get_args(Materiality)
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class MaterialityPlan(Document):
    """What depends on the model, as the institution states it."""

    exposure_usd: float | None = Field(default=None, ge=0)
    """Largest amount the model moves or informs, in US dollars; the policy makes a level of it."""
    exposure: Materiality | None = None
    """The level itself, where no amount says it."""
    purpose: Purpose

    @model_validator(mode="after")
    def _one_exposure(self) -> Self:
        if (self.exposure_usd is None) == (self.exposure is None):
            raise ValueError("state either exposure_usd or exposure")
        return self


class MaterialityRef(Document):
    """The tier a Run was made at, and what it was derived from."""

    tier: Materiality
    exposure: Materiality
    exposure_usd: float | None = None
    purpose: Purpose
    declared: Materiality
    """What the model card declares."""


class ExposureSteps(Document):
    """From which amount an exposure is no longer low, in US dollars."""

    medium: float = Field(gt=0)
    high: float = Field(gt=0)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.high <= self.medium:
            raise ValueError("the amount of 'high' must be above that of 'medium'")
        return self


class Depth(Document):
    """What a tier asks of a validation."""

    checks: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Least values of parameters that count something, by check: repetitions, windows."""
    required: tuple[str, ...] = ()
    """Rules, or patterns of rules, that close the gate where they could not be assessed."""
    rationale: str = Field(min_length=20)


class TierTable(Document):
    """From exposure and purpose to a tier, and from a tier to the depth of validation."""

    exposure_usd: ExposureSteps
    table: dict[Materiality, dict[Purpose, Materiality]]
    """Tier by level of exposure and purpose."""
    depth: dict[Materiality, Depth]
    rationale: str = Field(min_length=20)

    @model_validator(mode="after")
    def _complete_and_rising(self) -> Self:
        if set(self.table) != set(LEVELS) or any(
            set(row) != set(PURPOSES) for row in self.table.values()
        ):
            raise ValueError("'table' needs every level of exposure with every purpose")
        if set(self.depth) != set(LEVELS):
            raise ValueError(f"'depth' needs each of {', '.join(LEVELS)}")
        ranks = [[LEVELS.index(self.table[e][p]) for p in PURPOSES] for e in LEVELS]
        lines = [*ranks, *(list(column) for column in zip(*ranks, strict=True))]
        if any(after < before for line in lines for before, after in pairwise(line)):
            raise ValueError("a tier must not fall as exposure or purpose rises")
        for lower, upper in pairwise(LEVELS):
            self._require_deeper(lower, upper)
        return self

    def _require_deeper(self, lower: Materiality, upper: Materiality) -> None:
        below, above = self.depth[lower], self.depth[upper]
        for check, params in below.checks.items():
            for name, least in params.items():
                if above.checks.get(check, {}).get(name, -1) < least:
                    raise ValueError(f"depth of {upper} asks less of {check}.{name} than {lower}")
        if missing := sorted(set(below.required) - set(above.required)):
            raise ValueError(f"depth of {upper} does not require {', '.join(missing)}")

    def derive(self, stated: MaterialityPlan, declared: Materiality) -> MaterialityRef:
        """The tier of what the plan states, beside what the model card declares."""
        level = stated.exposure
        if level is None:
            amount, steps = stated.exposure_usd or 0.0, self.exposure_usd
            level = "high" if amount >= steps.high else "low"
            level = "medium" if steps.medium <= amount < steps.high else level
        return MaterialityRef(
            tier=self.table[level][stated.purpose],
            exposure=level,
            exposure_usd=stated.exposure_usd,
            purpose=stated.purpose,
            declared=declared,
        )
