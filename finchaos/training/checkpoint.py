"""Checkpoints: a folder with tensors, what they mean, and digests of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.files import write_atomic
from finchaos.core.provenance import canonical_json, digest, parse_json, sha256

FORMAT = 1
TENSORS, FACTS = "model.safetensors", "config.json"


def save_checkpoint(
    folder: Path, kind: str, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> None:
    """Write a checkpoint.

    The tensors come first and the facts last, each atomically: a folder without facts, as a crash
    may leave it, is no checkpoint.

    Parameters
    ----------
    folder : Path
        Must be empty or not exist.
    kind : str
        Which model this is.
    tensors : mapping of name to numpy.ndarray
    facts : mapping
        JSON values that say what the tensors are.

    Raises
    ------
    InputError
        If the folder holds anything.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} is not an empty folder",
            remedy="name a new folder; a checkpoint is never written over another",
        )
    data = safetensors_numpy.save({k: np.ascontiguousarray(tensors[k]) for k in sorted(tensors)})
    content: dict[str, Any] = {
        "format": FORMAT,
        "kind": kind,
        "files": {TENSORS: sha256(data)},
        "facts": dict(facts),
    }
    write_atomic(folder / TENSORS, data)
    write_atomic(folder / FACTS, canonical_json({**content, "digest": digest(content)}))


def load_checkpoint(folder: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a checkpoint back; tensors and facts.

    Raises
    ------
    CheckpointError
        If a file is missing, truncated or altered, or this is another kind of model or format.
    """
    content = _read_facts(folder / FACTS)
    found = (content.get("kind"), content.get("format"))
    if found != (kind, FORMAT):
        raise CheckpointError(
            f"{folder} is another kind of checkpoint",
            expected=f"{kind}, format {FORMAT}",
            got=f"{found[0]}, format {found[1]}",
        )
    path = folder / TENSORS
    data = _read(path)
    if sha256(data) != content["files"].get(TENSORS):
        raise _damaged(path, "its SHA-256 is not the recorded one")
    try:
        return safetensors_numpy.load(data), content["facts"]
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, str(error)) from error


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(_read(path))
        recorded = content.pop("digest")
        sound = recorded == digest(content) and isinstance(content["files"], dict)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(path, " ".join(str(error).split())[:200]) from error
    if not sound:
        raise _damaged(path, "its content does not have the recorded digest")
    facts: dict[str, Any] = content
    return facts


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint lacks {path.name}",
            got=str(error.strerror),
            remedy="name the folder that save wrote, complete",
        ) from error


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint's {path.name} is damaged", got=why, remedy="copy or train it again"
    )
