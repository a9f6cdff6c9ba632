"""Adapter: a Python callable from bars to positions, or an object that is a Subject already."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from finchaos.core.bars import Bars
from finchaos.core.documents import validate_document
from finchaos.core.errors import InputError, SubjectFault
from finchaos.core.hyper_parameters import Number, differing, is_number
from finchaos.core.provenance import digest, sha256
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard, Subject
from governance.adapters import Declared

_REGIME_COLUMNS = ("stress_probability", "regime")
_OPTIONAL_COLUMNS = (*_REGIME_COLUMNS, "forecast_mean", "forecast_volatility")


class FunctionParams(Declared):
    """Where the callable is and what it returns."""

    target: str | None = Field(default=None, pattern=r"^[\w.]+:[\w.]+$")
    """``module:attribute`` of an importable module."""
    path: str | None = None
    """Instead of a module: a Python file. Then ``attribute`` names the callable in it."""
    attribute: str | None = None
    returns: Literal["positions", "subject"] = "positions"
    """``positions``: called with a DataFrame of open, high, low, close, volume on a UTC index.
    ``subject``: a Subject, or a callable that makes one."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the callable."""
    regimes: bool = False
    """The callable returns a DataFrame with position, stress_probability and regime."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        from_file = self.path is not None and self.attribute is not None
        if (self.target is not None) == from_file or (self.path is None) != (
            self.attribute is None
        ):
            raise ValueError("give either target, or path and attribute")
        return self

    @property
    def names(self) -> tuple[str, str]:
        """Module or file, and attribute."""
        if self.target is not None:
            module, attribute = self.target.split(":")
            return module, attribute
        return str(self.path), str(self.attribute)


def build(params: Mapping[str, Any], *, seed: int) -> Subject:
    """The subject that ``params`` describe; imports the module or file they name.

    Parameters
    ----------
    params : mapping
        See :class:`FunctionParams`.
    seed : int
        Unused: a callable brings its own state.

    Raises
    ------
    DocumentError
        If a parameter is unknown, missing or of the wrong type.
    InputError
        If the module, file or attribute cannot be used.

    Notes
    -----
    The digest covers the source file of the callable and its arguments, not what that file
    imports. Nothing here can make a callable causal: the point-in-time check finds out.
    """
    said = validate_document(dict(params), FunctionParams, "the function adapter")
    place, attribute = said.names
    module = _from_file(Path(place)) if said.path is not None else _from_name(place)
    found = _attribute(module, attribute, place)
    if said.returns == "subject":
        return _subject(found, said, f"{place}:{attribute}")
    if not callable(found):
        raise InputError(
            f"{attribute} of {place} cannot be called", expected="a callable", got=repr(found)[:80]
        )
    capabilities = {Capability.REGIMES} if said.regimes else set()
    if _numbers(found, said.arguments):
        capabilities.add(Capability.HYPER_PARAMETERS)
    return Function(
        call=found,
        arguments=dict(said.arguments),
        source_digest=_source_digest(module, found, place),
        card=said.model_card(attribute.rsplit(".", 1)[-1], backend="Python callable"),
        capabilities=frozenset(capabilities),
        attribute=attribute,
    )


@dataclass(frozen=True)
class Function:
    """A callable ``f(frame, **arguments)`` that returns one position per row.

    It may return an array, a Series on the frame's index, or a DataFrame with column position and
    optionally stress_probability and regime, and forecast_mean and forecast_volatility (of the
    simple return to the next bar's close, per bar). Rows of the declared warm-up are set to
    position 0. It cannot be refitted.
    """

    call: Callable[..., Any]
    arguments: Mapping[str, Any]
    source_digest: str
    card: ModelCard
    capabilities: frozenset[Capability]
    attribute: str

    @property
    def digest(self) -> str:
        """SHA-256 of source file, attribute, arguments and card."""
        return digest(
            {
                "adapter": "function",
                "source": self.source_digest,
                "attribute": self.attribute,
                "arguments": {key: repr(value) for key, value in self.arguments.items()},
                "card": self.card.as_json(),
            }
        )

    @property
    def hyper_parameters(self) -> dict[str, Number]:
        """Numeric arguments: those given first, then defaults of the callable's signature."""
        return _numbers(self.call, self.arguments)

    def with_hyper_parameters(self, changed: Mapping[str, Number]) -> Function:
        """The same callable with these arguments.

        Raises
        ------
        InputError
            If there is no such numeric argument.
        """
        changed = differing(self.card.name, changed, self.hyper_parameters)
        return replace(self, arguments={**self.arguments, **changed})

    def fit(self, bars: Bars, *, seed: int) -> Function:
        """Itself: a callable has nothing that could be trained from here."""
        return self

    def signals(self, bars: Bars) -> Signals:
        """What the callable says to a fresh copy of the bars."""
        answer = self.call(bars.frame(), **self.arguments)
        if isinstance(answer, pd.Series):
            answer = answer.to_frame("position")
        if isinstance(answer, pd.DataFrame):
            columns = self._columns(answer, bars)
        else:
            columns = {"position": np.array(answer, dtype=np.float64)}
        for name, values in columns.items():
            if values.shape != (len(bars),):
                raise SubjectFault(
                    f"{self.card.name} returned {name} of the wrong shape",
                    expected=f"({len(bars)},), one per bar",
                    got=str(values.shape),
                )
        if not np.isfinite(columns.get("regime", np.zeros(1))).all():
            raise SubjectFault(f"{self.card.name} returned regimes that are not whole numbers")
        columns["position"][: self.card.warmup_bars] = 0.0
        return Signals(bars.index, **columns)

    def _columns(self, answer: pd.DataFrame, bars: Bars) -> dict[str, np.ndarray]:
        wanted = ("position", *_REGIME_COLUMNS) if Capability.REGIMES in self.capabilities else ()
        missing = {"position", *wanted} - set(answer.columns)
        if missing or not answer.index.equals(bars.index):
            raise SubjectFault(
                f"{self.card.name} returned a frame that does not fit",
                expected="the index of the bars and columns " + ", ".join(wanted or ("position",)),
                got=f"{len(answer)} rows, columns {', '.join(map(str, answer.columns))}",
            )
        present = [name for name in ("position", *_OPTIONAL_COLUMNS) if name in answer.columns]
        return {name: np.array(answer[name], dtype=np.float64) for name in present}


def _numbers(call: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Number]:
    """Numbers among the arguments, then among the defaults of what can be given by name."""
    try:
        signature = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # a few callables written in C say nothing of themselves
        signature = {}.values()
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    defaults = {
        one.name: one.default
        for one in signature
        if one.kind in named and one.name not in arguments
    }
    known = {**arguments, **defaults}
    return {name: value for name, value in known.items() if is_number(value)}


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the user's module raises when imported
        raise InputError(
            f"cannot import {name}",
            got=f"{type(error).__name__}: {error}",
            remedy="install the package, or give path and attribute instead of target",
        ) from error


def _from_file(path: Path) -> ModuleType:
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{path} is not a Python file", expected="an existing .py file")
    # Named by place and content, so that two files called the same do not meet.
    name = f"finchaos_user_{sha256(bytes(path.resolve()) + path.read_bytes())[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there while it is executed
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises when executed
        del sys.modules[name]
        raise InputError(
            f"{path} cannot be executed", got=f"{type(error).__name__}: {error}"
        ) from error
    return module


def _attribute(module: ModuleType, attribute: str, place: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = sorted(name for name in vars(module) if not name.startswith("_"))
            raise InputError(
                f"{place} has no {attribute}",
                got=f"public names: {', '.join(public[:20]) or 'none'}",
            )
        found = getattr(found, part)
    return found


def _source_digest(module: ModuleType, found: Any, place: str) -> str:
    """SHA-256 over the module named and, where it is another, the one that defines the callable."""
    home = sys.modules.get(getattr(found, "__module__", None) or type(found).__module__, module)
    files = [getattr(module, "__file__", None), getattr(home, "__file__", None)]
    if any(file is None or not file.endswith(".py") or not Path(file).is_file() for file in files):
        raise InputError(
            f"{place} has no Python source to take a digest of",
            remedy="wrap the callable in a .py file of your own",
        )
    return digest([sha256(Path(str(file)).read_bytes()) for file in dict.fromkeys(files)])


def _subject(found: Any, said: FunctionParams, name: str) -> Subject:
    made = found
    if isinstance(found, type) or not isinstance(found, Subject):
        if not callable(found):
            raise InputError(f"{name} is neither a Subject nor makes one", got=repr(found)[:80])
        try:
            made = found(**said.arguments)
        except Exception as error:  # whatever the user's factory raises
            raise InputError(
                f"{name} failed to make a subject", got=f"{type(error).__name__}: {error}"
            ) from error
    elif said.arguments:
        raise InputError(f"{name} is a finished subject and takes no arguments")
    if not isinstance(made, Subject) or isinstance(made, type):
        raise InputError(
            f"{name} made no Subject",
            expected="card, capabilities, digest, fit and signals",
            got=type(made).__name__,
        )
    declared = said.model_fields_set & set(Declared.model_fields)
    if declared:
        raise InputError(
            f"{name} brings its own model card",
            got=f"declared beside it: {', '.join(sorted(declared))}",
            remedy="set these in the subject's card",
        )
    return made
