"""The files a plan names, by key and content, whatever way their paths are spelled."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from finchaos.core.documents import Document
from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import digest
from governance.plan import Plan, SubjectPlan
from governance.record import Digest
from governance.store import Store

ABSENT = "absent"
_CODE_KEYS = ("target", "estimator")
"""Parameters of adapters that say ``module:attribute``."""


class HeldFile(Document):
    """A file or folder by content."""

    name: str
    """Its last name, to recognise it; nothing depends on it."""
    digest: Digest
    """SHA-256 of the bytes; of a folder, over names and SHA-256 of all its files; of built-in
    bars, of the bars; ``absent`` where there is nothing."""


def held_files(plan: Plan, beside: Path, *, absent: bool = False) -> dict[str, HeldFile]:
    """What the plan names and is no policy or scenario, by the path of its key in the plan.

    Data, trial register and returns, earlier run, checkpoint, the file of a model or of signals,
    the file that holds the source of a model named ``module:attribute`` (not what that imports),
    and strings among a model's arguments that name a file from the working folder.

    Parameters
    ----------
    plan : Plan
    beside : Path
        Folder that relative paths start from.
    absent : bool
        Say of what is not there that it is absent, instead of refusing.

    Raises
    ------
    DataError
        If something is not there or cannot be read.

    Notes
    -----
    Files are read in pieces. Nothing of the user's is imported or run.
    """
    found = {}
    for key, named in _named(plan, beside):
        if named is None or not named.exists():
            if absent:
                found[key] = HeldFile(name=_spelled(plan, key), digest=ABSENT)
                continue
            raise DataError(
                f"the plan names something under {key} that is not there",
                expected="a file or folder that can be read, so that its content can be compared",
                got=_spelled(plan, key),
                remedy="mend the path; relative ones start from the folder of the plan",
            )
        found[key] = HeldFile(name=named.name, digest=content_digest(named))
    if (bars := _builtin(plan)) is not None:
        found["data.source"] = bars
    return dict(sorted(found.items()))


def earlier_folder(since: str, beside: Path) -> Path:
    """The folder of the run that a plan names under ``since``.

    Parameters
    ----------
    since : str
        A folder in a store; the first six or more characters of the digest do.
    beside : Path
        Folder that a relative path starts from.

    Raises
    ------
    DataError
        If it is no run, or more than one.
    """
    folder = (beside / since).resolve()
    if (folder / "run.json").is_file():
        return folder
    store = Store(folder.parent)
    try:
        return store.folder(store.resolve(folder.name))
    except InputError as error:
        raise DataError(
            f"{since!r} under 'since' is not the folder of a run",
            expected="the folder of the last full validation in its store, such as "
            "runs/0123abcd; six characters of the digest are enough",
            got=f"in {folder.parent}: {error.got}",
            remedy="mend 'since' in the plan, or leave it out for a validation in full",
        ) from error


def content_digest(path: Path) -> Digest:
    """SHA-256 of a file, read in pieces, or over all files of a folder.

    Raises
    ------
    DataError
        If something cannot be read.
    """
    try:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.is_file())
            return digest({one.relative_to(path).as_posix(): _of_file(one) for one in inside})
        return _of_file(path)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read", got=str(error)) from error


def _of_file(path: Path) -> Digest:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(plan: Plan, beside: Path) -> Iterator[tuple[str, Path | None]]:
    from finchaos.markets import BUILTIN_NAMES

    if plan.data.source not in BUILTIN_NAMES:
        yield "data.source", beside / plan.data.source
    if plan.trials is not None:
        yield "trials.record", beside / plan.trials.record
        if plan.trials.returns is not None:
            yield "trials.returns", beside / plan.trials.returns
    if plan.since is not None:
        yield "since", _earlier_run(plan.since, beside)
    if plan.subject.checkpoint is not None:
        yield "subject.checkpoint", beside / plan.subject.checkpoint
    yield from _named_by_model(plan.subject, beside)


def _earlier_run(since: str, beside: Path) -> Path | None:
    try:
        return earlier_folder(since, beside) / "run.json"
    except DataError:  # it is not there: whoever asks says so, with all else that is not
        return None


def _named_by_model(subject: SubjectPlan, beside: Path) -> Iterator[tuple[str, Path | None]]:
    if subject.adapter is None:
        return
    params = subject.params
    if isinstance(params.get("path"), str):
        yield "subject.params.path", beside / params["path"]
    for key in _CODE_KEYS:
        if isinstance(params.get(key), str):
            yield f"subject.params.{key}", _source(params[key].partition(":")[0])
    arguments = params.get("arguments")
    for key, value in arguments.items() if isinstance(arguments, dict) else ():
        if isinstance(value, str) and value and _is_file(value):
            yield f"subject.params.arguments.{key}", Path(value)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long, or with a zero byte: no name of a file
        return False


def _source(module: str) -> Path | None:
    """File of a module, found without importing it or what it lies in; None if there is none."""
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for depth, _ in enumerate(parts):
        name = ".".join(parts[: depth + 1])
        try:
            inside = None if spec is None else spec.submodule_search_locations
            spec = PathFinder.find_spec(name, inside) if depth else importlib.util.find_spec(name)
        except (ImportError, ValueError):  # no such module, or one that was never loaded from any
            return None
        if spec is None:
            return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _builtin(plan: Plan) -> HeldFile | None:
    from finchaos.markets import BUILTIN_NAMES, load_builtin

    name = plan.data.source
    return HeldFile(name=name, digest=load_builtin(name).digest) if name in BUILTIN_NAMES else None


def _spelled(plan: Plan, key: str) -> str:
    value: Any = plan.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return repr(value)
