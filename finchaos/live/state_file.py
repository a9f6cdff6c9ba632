"""A session's state in one file, complete or the one before, with a digest over all of it.

The first line says format, version and SHA-256 of the second, which is JSON: arrays as base64,
tuples marked as such, floats in the shortest form that gives the same double back. Nothing in it
is executed when it is read.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from finchaos.core.errors import CheckpointError, StorageError
from finchaos.core.files import write_atomic
from finchaos.core.provenance import sha256

FORMAT, VERSION = "finchaos.live_state", 1
_KINDS = "biuf"
_SCALARS = frozenset((type(None), bool, int, float, str))


def save_state(path: Path, content: dict[str, Any], *, sync: bool = True) -> None:
    """Replace the file by ``content``.

    Parameters
    ----------
    path : pathlib.Path
    content : dict
        Numbers, text, None, arrays of numbers, and lists, tuples and dicts of these.
    sync : bool
        Flush it to the disk, so that it survives a loss of power too.

    Raises
    ------
    StorageError
        If the disk does not take it; the file is then as it was.
    """
    body = json.dumps(_plain(content), separators=(",", ":")).encode()
    head = {"format": FORMAT, "version": VERSION, "sha256": sha256(body)}
    data = json.dumps(head).encode() + b"\n" + body + b"\n"
    try:
        write_atomic(path, data, sync=sync)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written",
            got=str(error),
            remedy="make room on the disk and start again; nothing was lost",
        ) from error


def load_state(path: Path) -> dict[str, Any]:
    """What :func:`save_state` wrote.

    Raises
    ------
    CheckpointError
        If the file is absent, damaged or of another version.
    """
    try:
        head, body = path.read_bytes().rstrip(b"\n").split(b"\n")
        said = json.loads(head)
        known = (said["format"], said["version"]) == (FORMAT, VERSION)
        sound = known and said["sha256"] == sha256(body)
        content: dict[str, Any] = _rich(json.loads(body)) if sound else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read as a state", got=str(error)) from error
    if not sound:
        raise CheckpointError(
            f"{path} is damaged" if known else f"{path} is of another version",
            expected=f"{FORMAT} of version {VERSION} with the digest that it states",
            remedy="restore the folder from a copy, or start a new one",
        )
    return content


def same_state(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two contents would be written as the same bytes."""
    return json.dumps(_plain(one)) == json.dumps(_plain(other))


def _plain(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(entry) for entry in value]}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _KINDS:
            raise TypeError(f"an array of {value.dtype} is no part of a state")
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        text = base64.b64encode(little.tobytes()).decode()
        return {"array": text, "dtype": little.dtype.str, "shape": list(value.shape)}
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"tuple"}:
        return tuple(_rich(entry) for entry in value["tuple"])
    if set(value) == {"array", "dtype", "shape"}:
        data = np.frombuffer(base64.b64decode(value["array"]), np.dtype(value["dtype"]))
        array: np.ndarray = data.reshape(value["shape"]).copy()
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return {name: _rich(entry) for name, entry in value.items()}
