"""Pack files: what ships, where a pack is found, and everything that it extends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from finchaos.core.documents import parse_yaml, read_document, validate_document
from finchaos.core.errors import DocumentError, UnknownNameError
from governance.rules import Crosswalk, PolicyDocument


def policy_names() -> tuple[str, ...]:
    """Names of the packs that ship."""
    return tuple(
        sorted(
            item.name.removesuffix(".yaml")
            for item in files("policies").iterdir()
            if item.name.endswith(".yaml") and item.name != "crosswalk.yaml"
        )
    )


def load_crosswalk() -> Crosswalk:
    """What moved between the superseded guidance and the one that replaced it."""
    text = files("policies").joinpath("crosswalk.yaml").read_text(encoding="utf-8")
    return validate_document(parse_yaml(text, "crosswalk"), Crosswalk, "policies/crosswalk.yaml")


@dataclass(frozen=True)
class _Named:
    """A pack as it was asked for, and the file it is; None for one that ships."""

    name: str
    file: Path | None

    @property
    def identity(self) -> str:
        return self.name if self.file is None else str(self.file.resolve())

    def read(self) -> PolicyDocument:
        if self.file is not None:
            return read_document(self.file, PolicyDocument)
        if self.name not in policy_names():
            raise UnknownNameError(
                f"no policy named {self.name!r}",
                expected=f"one of {', '.join(policy_names())}, or the path of a YAML file",
            )
        return _shipped(self.name)


@cache
def _shipped(name: str) -> PolicyDocument:
    """A pack of this installation; read once, since every other pack extends one of them."""
    text = files("policies").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return validate_document(parse_yaml(text, f"policies/{name}.yaml"), PolicyDocument, name)


def _named(name: str, beside: Path | None) -> _Named:
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return _Named(name, None)
    return _Named(name, path if path.is_absolute() or beside is None else beside / path)


def read_with_extended(name: str, beside: Path | None) -> tuple[PolicyDocument, ...]:
    """A pack and the packs it extends, nearest first.

    Parameters
    ----------
    name : str
        A shipped pack, or a path ending in ``.yaml``.
    beside : Path, optional
        Folder that a relative path starts from. A path under ``extends`` starts from the folder
        of the file that says it.

    Raises
    ------
    DocumentError, UnknownNameError
        If a file is malformed or missing, or the packs extend each other in a loop.
    """
    documents: list[PolicyDocument] = []
    followed: list[_Named] = []
    wanted: _Named | None = _named(name, beside)
    while wanted is not None:
        _refuse_loop(followed, wanted)
        followed.append(wanted)
        documents.append(wanted.read())
        extends = documents[-1].extends
        home = wanted.file.parent if wanted.file is not None else None
        wanted = None if extends is None else _named(extends, home)
    return tuple(documents)


def _refuse_loop(followed: list[_Named], wanted: _Named) -> None:
    known = [pack.identity for pack in followed]
    if wanted.identity not in known:
        return
    loop = [pack.name for pack in followed[known.index(wanted.identity) :]]
    raise DocumentError(
        f"policy {loop[0]!r} extends itself{' through others' if len(loop) > 1 else ''}",
        expected="a chain of 'extends' that ends at a pack which extends nothing",
        got=" -> ".join([*loop, loop[0]]),
        remedy=f"take 'extends' out of {loop[-1]!r}, or let it name 'baseline'",
    )
