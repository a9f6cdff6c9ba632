"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from finchaos.core.errors import InputError


def sync_directory(folder: Path) -> None:
    """Flush a directory's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_synced(path: Path, data: bytes) -> None:
    """Write bytes to a path in place and flush them to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace ``path`` by ``data``: temporary file beside it, flush, rename, flush the folder.

    On any failure, a full disk included, the old file stays and the temporary one is removed.
    Without ``sync`` nothing is flushed: the death of the process loses nothing, that of the
    machine may.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        if sync:
            write_synced(temporary, data)
        else:
            temporary.write_bytes(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def lock_exclusively(path: Path, *, busy: str, remedy: str) -> int:
    """A lock that one process has, on a file that is made if absent.

    Closing what is returned lets go of it, as the end of the process does, however it ends.

    Parameters
    ----------
    path : pathlib.Path
    busy, remedy : str
        What the error says where another process has it.

    Raises
    ------
    InputError
        If another process has it, or the file cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"{path} cannot be opened", got=str(error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise InputError(busy, got=str(error), remedy=remedy) from error
    return handle
