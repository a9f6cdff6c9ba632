"""The space that a sweep searches: numbers within limits, and choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from finchaos.core.errors import InputError


@dataclass(frozen=True)
class Real:
    """A number between two others, both included.

    Attributes
    ----------
    low, high : float
    log : bool
        Searched by its logarithm.

    Raises
    ------
    InputError
        If the limits are not finite, fall, or are not positive with ``log``.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise _impossible(self)
        if not self.low < self.high or (self.log and self.low <= 0):
            raise _impossible(self)


@dataclass(frozen=True)
class Whole:
    """A whole number between two others, both included; see :class:`Real`."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise _impossible(self)


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes
    ----------
    options : tuple of str, int, float or bool
        Two at least, all different.

    Raises
    ------
    InputError
        If they are not.
    """

    options: tuple[str | int | float | bool, ...]

    def __post_init__(self) -> None:
        kinds = all(isinstance(option, str | int | float) for option in self.options)
        if len(self.options) < 2 or not kinds or len(set(self.options)) < len(self.options):
            raise _impossible(self)


Parameter = Real | Whole | Choice


def described(parameter: Parameter) -> dict[str, Any]:
    """A parameter in JSON."""
    content = asdict(parameter)
    if isinstance(parameter, Choice):
        content["options"] = list(parameter.options)
    return {"kind": type(parameter).__name__, **content}


def distributions(space: Mapping[str, Parameter], optuna: ModuleType) -> dict[str, Any]:
    """A space as optuna has it, in the order of names: draws must not depend on another."""
    return {name: _distribution(space[name], optuna.distributions) for name in sorted(space)}


def _distribution(parameter: Parameter, kinds: Any) -> Any:
    if isinstance(parameter, Choice):
        return kinds.CategoricalDistribution(parameter.options)
    if isinstance(parameter, Whole):
        return kinds.IntDistribution(parameter.low, parameter.high, log=parameter.log)
    return kinds.FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _impossible(parameter: object) -> InputError:
    return InputError(
        "impossible parameter of a sweep",
        expected="limits that rise and are finite, above zero if searched by their logarithm; "
        "two or more different options",
        got=repr(parameter),
    )
