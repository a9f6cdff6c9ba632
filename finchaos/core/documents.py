"""Reading YAML documents into strict, frozen models.

YAML 1.2 by ruamel.yaml: duplicate keys are refused, ``no`` is a string and ``1e-3`` a number.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from finchaos.core.errors import DocumentError


class Document(BaseModel):
    """Base of everything read from a file or stored in a record: frozen, closed and finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


M = TypeVar("M", bound=BaseModel)


def parse_yaml(text: str, name: str) -> Any:
    """Parse one YAML 1.2 document; errors name the document, line and column."""
    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise DocumentError(
            f"{name} is not valid YAML 1.2", got=" ".join(str(error).split())
        ) from error


def validate_document(raw: Any, model: type[M], name: str) -> M:
    """Check parsed content against a model; the error lists every problem with its path."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or '(top)'}: {item['msg']}"
            for item in error.errors()
        )
        raise DocumentError(f"{name} is not a valid {model.__name__}", got=problems) from error


def read_document(path: Path, model: type[M]) -> M:
    """Read a YAML file into ``model``.

    Raises
    ------
    DocumentError
        If the file cannot be read, is not YAML 1.2 or does not fit the model.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"cannot read {path}", got=str(error)) from error
    return validate_document(parse_yaml(text, str(path)), model, str(path))
