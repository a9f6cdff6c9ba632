"""The model card: who answers for a model, what it is for, what it promises and claims."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from finchaos.core.errors import InputError

Materiality = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Claim:
    """A figure that the developer states of a model, net of costs.

    Attributes
    ----------
    metric : str
        A figure of the walk-forward check, such as ``sharpe`` or ``max_drawdown``.
    value : float
        In the unit that the check states.
    start, end : str
        First and last day of what it was measured on, ISO 8601; empty if that is not said.

    Raises
    ------
    InputError
        If the value is no number or a day is none.
    """

    metric: str
    value: float
    start: str = ""
    end: str = ""

    def __post_init__(self) -> None:
        if not (self.metric.strip() and np.isfinite(self.value)):
            raise InputError(
                "a claim needs the name of a figure and a finite value",
                got=f"{self.metric!r}, {self.value}",
            )
        try:
            days = [date.fromisoformat(day) for day in (self.start, self.end) if day]
        except ValueError as error:
            raise InputError(
                f"the claim of {self.metric} does not say when",
                expected="first and last day as YYYY-MM-DD, or neither",
                got=str(error),
            ) from error
        if len(days) == 1 or days != sorted(days):
            raise InputError(
                f"the claim of {self.metric} does not say when",
                expected="first and last day in order, or neither",
                got=f"{self.start or 'nothing'} to {self.end or 'nothing'}",
            )


@dataclass(frozen=True)
class ModelCard:
    """Who answers for a model, what it is for and what it promises.

    Attributes
    ----------
    name, version : str
    purpose, intended_use, prohibited_use : str
    owner, developer : str
        Names of persons or teams; the developer may not validate.
    limitations : tuple of str
        What the developer knows to be weak.
    materiality : {"low", "medium", "high"}
    min_position, max_position : float
        Declared limits of exposure as a fraction of capital.
    warmup_bars : int
        Leading rows of any signals that are warm-up: position 0 and not judged.
    feature_names : tuple of str
    backend : str
        Library, scan backend and device that compute the signals.
    predictions_only : bool
        Signals were recorded beforehand and no model can be asked about other bars; checks that
        require ``model`` are then not assessed.
    claims : tuple of Claim
        Figures the developer states of it; the validation computes them anew.
    approved_digest : str
        Digest of the subject that the card was written for; empty if it names none.
    """

    name: str
    version: str
    purpose: str = ""
    intended_use: str = ""
    prohibited_use: str = ""
    owner: str = "undeclared"
    developer: str = "undeclared"
    limitations: tuple[str, ...] = ()
    materiality: Materiality = "high"
    min_position: float = 0.0
    max_position: float = 1.0
    warmup_bars: int = 0
    feature_names: tuple[str, ...] = ()
    backend: str = "numpy"
    predictions_only: bool = False
    claims: tuple[Claim, ...] = ()
    approved_digest: str = ""

    def __post_init__(self) -> None:
        if not (self.name.strip() and self.version.strip()):
            raise InputError("a model card needs a name and a version")
        if not (
            np.isfinite([self.min_position, self.max_position]).all()
            and self.min_position <= self.max_position
        ):
            raise InputError(
                "a model card declares impossible position limits",
                expected="finite min_position <= max_position",
                got=f"{self.min_position} and {self.max_position}",
            )
        if self.warmup_bars < 0:
            raise InputError("warmup_bars must not be negative", got=str(self.warmup_bars))

    def as_json(self) -> dict[str, Any]:
        """The card as a JSON object.

        Without ``approved_digest``: a digest that covers the card could not name itself.
        """
        raw = asdict(self)
        del raw["approved_digest"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in raw.items()}
