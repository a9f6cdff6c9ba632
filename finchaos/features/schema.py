"""Versioned feature schemas: which features, in which order, with which parameters.

A schema is a YAML file in ``finchaos/features/schemas``; its file name is its name. A published
file is never edited: whoever needs other features adds a file. Models carry the schema's digest
and refuse to load under another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from finchaos.core.bars import Bars
from finchaos.core.documents import Document, parse_yaml, read_document, validate_document
from finchaos.core.errors import DataError, DocumentError, UnknownNameError
from finchaos.core.features import Features
from finchaos.core.provenance import digest
from finchaos.features import (
    derivative,
    fractal,
    manifold,
    microstructure,
    phase_space,
    price,
    technical,
    trend,
    volatility,
    window_volatility,
)
from finchaos.features.formula import (
    PRIOR_VOLATILITY,
    VOLATILITY_FLOOR,
    Fittable,
    Formula,
    needs_volume,
)
from finchaos.features.stream import FeatureStream

FORMULAS: Mapping[str, type[Formula]] = {
    **price.FORMULAS,
    **derivative.FORMULAS,
    **volatility.FORMULAS,
    **window_volatility.FORMULAS,
    **technical.FORMULAS,
    **trend.FORMULAS,
    **manifold.FORMULAS,
    **microstructure.FORMULAS,
    **fractal.FORMULAS,
    **phase_space.FORMULAS,
}


class FeatureSpec(Document):
    """One feature of a schema file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Unique within the schema."""
    formula: str
    """A formula's name."""
    params: dict[str, float] = Field(default_factory=dict)
    """Half-lives and the like, in bars."""


class SchemaDocument(Document):
    """A schema file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str
    features: tuple[FeatureSpec, ...] = Field(min_length=1)


@dataclass(frozen=True)
class FeatureSchema:
    """Features in a fixed order.

    Attributes
    ----------
    name : str
    specs : tuple of FeatureSpec, length f
    constants : mapping of str to float
        Parameters measured on a training window, as ``feature.parameter``; see :meth:`fitted`.
        Like a scaler they belong to the checkpoint and not to the digest.

    Raises
    ------
    UnknownNameError
        If a formula does not exist.
    DocumentError
        If two features share a name or a formula does not take its parameters.
    """

    name: str
    specs: tuple[FeatureSpec, ...]
    constants: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise DocumentError(f"schema {self.name} names a feature twice", got=str(self.names))
        if not self.formulas:
            raise DocumentError(f"schema {self.name} has no features")
        unknown = {key.partition(".")[0] for key in self.constants} - set(self.names)
        if unknown:
            raise DocumentError(
                f"constants of features that schema {self.name} does not have",
                expected=", ".join(self.names),
                got=", ".join(sorted(unknown)),
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in order."""
        return tuple(spec.name for spec in self.specs)

    @cached_property
    def formulas(self) -> tuple[Formula, ...]:
        """The formulas behind the features, in order."""
        return tuple(_formula(self.name, spec, self._constants_of(spec)) for spec in self.specs)

    def _constants_of(self, spec: FeatureSpec) -> dict[str, float]:
        start = f"{spec.name}."
        return {k[len(start) :]: v for k, v in self.constants.items() if k.startswith(start)}

    @property
    def lookbacks(self) -> tuple[int, ...]:
        """Bars after which what came before weighs little, for each feature."""
        return tuple(formula.lookback for formula in self.formulas)

    @property
    def lookback(self) -> int:
        """The longest look-back, in bars."""
        return max(self.lookbacks)

    @property
    def needs_range(self) -> bool:
        """Whether any feature needs highs and lows."""
        return any(formula.needs_range for formula in self.formulas)

    @property
    def bounded(self) -> tuple[bool, ...]:
        """Whether each feature is bounded by construction, so that it needs no scaling."""
        return tuple(formula.bounded for formula in self.formulas)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names, order, parameters and versions of formulas."""
        rows: list[dict[str, Any]] = [
            {"name": s.name, "formula": s.formula, "version": f.version, "params": dict(s.params)}
            for s, f in zip(self.specs, self.formulas, strict=True)
        ]
        shared = {"prior_volatility": PRIOR_VOLATILITY, "volatility_floor": VOLATILITY_FLOOR}
        return digest({"name": self.name, "features": rows, **shared})

    @property
    def needs_volume(self) -> bool:
        """Whether any feature needs the traded volume."""
        return any(needs_volume(formula) for formula in self.formulas)

    def fitted(self, bars: Bars) -> FeatureSchema:
        """The schema with the constants of its formulas measured on training bars.

        Parameters
        ----------
        bars : Bars
            The training window only: a bar after it here is look-ahead.

        Returns
        -------
        FeatureSchema
            Of the same digest; the constants travel by :meth:`to_arrays`.

        Raises
        ------
        DataError
            If there are fewer bars than the look-back, or a constant cannot be measured.
        """
        self._require_lookback(bars)
        moves = self.open().moves(bars)
        found: dict[str, float] = {}
        for name, formula in zip(self.names, self.formulas, strict=True):
            if isinstance(formula, Fittable):
                found |= {f"{name}.{key}": value for key, value in formula.fit(moves).items()}
        return replace(self, constants=found)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The constants as named arrays, for a checkpoint."""
        return {name: np.array([value]) for name, value in self.constants.items()}

    def with_arrays(self, arrays: Mapping[str, np.ndarray]) -> FeatureSchema:
        """The schema with the constants that :meth:`to_arrays` described.

        Raises
        ------
        DocumentError
            If they are not constants of this schema.
        """
        return replace(self, constants={name: float(v[0]) for name, v in arrays.items()})

    def build(self, bars: Bars) -> Features:
        """Features of bars, one row per bar.

        Raises
        ------
        DataError
            If there are fewer bars than the look-back, or none with a range where one is needed.
        """
        self._require_lookback(bars)
        return Features(bars.index, self.open().replay(bars), self.names, self.digest)

    def _require_lookback(self, bars: Bars) -> None:
        if len(bars) < self.lookback:
            raise DataError(
                f"too few bars for features {self.name}",
                expected=f"at least {self.lookback}, the look-back",
                got=str(len(bars)),
                remedy="load more bars, or continue a warmed-up stream with replay",
            )

    def compute(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Features of many independent paths, each from its first bar.

        Parameters
        ----------
        arrays : mapping of str to numpy.ndarray, shape (..., t)
            open, high, low and close; close alone is enough without range features.

        Returns
        -------
        numpy.ndarray, shape (..., t, f)

        Raises
        ------
        DataError
            If a field is missing, has another shape, or holds a price that is not positive.
        """
        if "close" not in arrays:
            raise DataError("prices are missing", expected="close", got=", ".join(sorted(arrays)))
        paths = int(np.prod(np.shape(arrays["close"])[:-1], dtype=np.int64))
        return FeatureStream(self.formulas, paths, self.names).advance(arrays)

    def open(self) -> FeatureStream:
        """A live session that has seen nothing."""
        return FeatureStream(self.formulas, names=self.names)


def _formula(schema: str, spec: FeatureSpec, constants: Mapping[str, float]) -> Formula:
    if spec.formula not in FORMULAS:
        raise UnknownNameError(
            f"schema {schema}: no formula {spec.formula!r}",
            expected=f"one of {', '.join(sorted(FORMULAS))}",
        )
    kind: Any = FORMULAS[spec.formula]
    try:
        made: Formula = kind(**{**spec.params, **constants})
    except (TypeError, DataError) as error:
        raise DocumentError(
            f"schema {schema}: feature {spec.name} cannot be made", got=str(error)
        ) from error
    return made


def schema_names() -> tuple[str, ...]:
    """Names of the schemas that ship, sorted."""
    folder = files("finchaos.features").joinpath("schemas")
    found = (item.name for item in folder.iterdir())
    return tuple(sorted(name[:-5] for name in found if name.endswith(".yaml")))


def load_schema(name: str | Path) -> FeatureSchema:
    """The schema that ships under a name, or the one in a file.

    Raises
    ------
    UnknownNameError
        If no schema or formula has that name.
    DocumentError
        If the file is not a valid schema.

    Examples
    --------
    >>> load_schema("regime_v1").names[:2]
    ('log_return', 'absolute_return')
    """
    if isinstance(name, Path):
        document = read_document(name, SchemaDocument)
        return FeatureSchema(document.name, document.features)
    if name not in schema_names():
        raise UnknownNameError(
            f"no feature schema {name!r}", expected=f"one of {', '.join(schema_names())}"
        )
    document = _shipped(name)
    return FeatureSchema(document.name, document.features)


@cache
def _shipped(name: str) -> SchemaDocument:
    """Read once: a live session is opened in less time than the file is parsed in."""
    text = files("finchaos.features").joinpath("schemas", f"{name}.yaml").read_text("utf-8")
    return validate_document(parse_yaml(text, name), SchemaDocument, name)
