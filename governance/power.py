"""How good the validator itself was found to be, as it is printed in every report.

The figures are those of ``finchaos selftest``, kept as a data file of this package. They name the
code that they were measured with, so that a report says when that has changed since.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from finchaos.core.errors import IntegrityError
from finchaos.core.provenance import parse_json, sha256
from governance.cards import PowerFigures, ValidatorPower

FILE = "selftest.json"
_JUDGING = ("governance", "policies")


class Kept(PowerFigures):
    """What the data file holds."""

    judging: str
    """:func:`judging_digest` of the code that found it."""


@cache
def judging_digest() -> str:
    """SHA-256 over what measures and judges: the harness's code and the policies.

    Of code the syntax counts, without comments and docstrings, which measure nothing.
    """
    hasher = hashlib.sha256()
    for package in _JUDGING:
        home = Path(str(files(package)))
        for path in sorted(home.rglob("*")):
            if path.suffix in (".py", ".yaml") and "__pycache__" not in path.parts:
                name = path.relative_to(home).as_posix()
                hasher.update(f"{package}/{name}\0{sha256(_content(path))}\n".encode())
    return hasher.hexdigest()


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".py":
        return data
    tree = ast.parse(data)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            del node.body[0]
    return ast.dump(tree).encode()


def validator_power() -> ValidatorPower | None:
    """The figures kept with this version; None if there are none.

    Raises
    ------
    IntegrityError
        If the file is damaged.
    """
    place = files("governance") / FILE
    if not place.is_file():
        return None
    try:
        kept = Kept.model_validate(parse_json(place.read_bytes()))
    except ValueError as error:
        raise IntegrityError(
            f"{FILE} of governance is damaged",
            got=" ".join(str(error).split())[:300],
            remedy="install finchaos again, or write it anew with 'finchaos selftest --keep'",
        ) from error
    facts: dict[str, Any] = kept.model_dump()
    same = facts.pop("judging") == judging_digest()
    return ValidatorPower(**facts, same_code=same)
