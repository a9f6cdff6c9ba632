"""The audit chain: what happened in a store, each entry bound to the one before by its hash.

``<store>/audit.jsonl`` holds one canonical JSON object a line. An entry's ``hash`` is the SHA-256
of the canonical JSON of its other fields, ``prev`` among them. A chain shows edits, reordering and
gaps by itself; that its tail was cut off shows only because every sign-off records the head it was
signed at and has its own entry.

A process killed while it appends leaves a torn last line. Readers report it; the next append, or
:func:`repair`, replaces it by an entry that keeps what was there.
"""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from finchaos.core.errors import IntegrityError
from finchaos.core.files import sync_directory
from finchaos.core.provenance import canonical_json, digest, parse_json, sha256
from governance.record import Digest, Record

GENESIS = "0" * 64
"""``prev`` of the first entry."""
TORN = "discard_torn_tail"


class Entry(Record):
    """One line of the chain."""

    seq: int = Field(ge=1)
    at: str
    """When, ISO 8601 UTC."""
    action: str
    actor: str
    body: str
    """Canonical JSON as text, exactly as it was hashed."""
    prev: Digest
    hash: Digest

    def computed_hash(self) -> Digest:
        """What ``hash`` must be."""
        return digest(self.model_dump(mode="json", exclude={"hash"}))


@dataclass(frozen=True)
class Chain:
    """A chain that holds together.

    Attributes
    ----------
    entries : tuple of Entry
    torn : bytes
        What stands after the last complete line; empty unless an append was interrupted.
    """

    entries: tuple[Entry, ...]
    torn: bytes = b""

    @property
    def head(self) -> Digest:
        """Hash of the last entry."""
        return self.entries[-1].hash if self.entries else GENESIS

    def find(self, action: str, field: str, value: str) -> Entry | None:
        """The entry of this action whose body has ``value`` in ``field``."""
        for entry in self.entries:
            if entry.action == action and parse_json(entry.body).get(field) == value:
                return entry
        return None

    def of_run(self, action: str, run: Digest) -> list[dict[str, Any]]:
        """Bodies of the entries of this action about a run."""
        bodies = (parse_json(entry.body) for entry in self.entries if entry.action == action)
        return [body for body in bodies if body.get("run") == run]


def audit_path(store_root: Path) -> Path:
    """Where a store keeps its chain."""
    return Path(store_root) / "audit.jsonl"


def read_chain(store_root: Path) -> Chain:
    """The chain of a store; empty if nothing was ever recorded.

    Raises
    ------
    IntegrityError
        If an entry was changed, moved, inserted or removed.
    """
    try:
        handle = os.open(audit_path(store_root), os.O_RDONLY)
    except FileNotFoundError:
        return Chain(())
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)  # or a line being written would look torn
        return _parsed(_content(handle))
    finally:
        os.close(handle)


def append(store_root: Path, action: str, actor: str, body: Mapping[str, Any], at: str) -> Entry:
    """Add one entry and flush it to the disk.

    Parameters
    ----------
    store_root : Path
    action, actor : str
    body : mapping
        JSON values.
    at : str
        ISO 8601 UTC.
    """
    with locked_chain(store_root) as chain:
        return chain.append(action, actor, body, at)


def repair(store_root: Path, actor: str, at: str) -> Entry | None:
    """Replace a torn tail by an entry that keeps it; None if there was nothing torn."""
    with locked_chain(store_root) as chain:
        return chain.discard_torn_tail(actor, at)


class LockedChain:
    """A chain that only this process can append to; from :func:`locked_chain`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        content = _content(handle)
        self.chain = _parsed(content)
        self._end = len(content) - len(self.chain.torn)

    def append(self, action: str, actor: str, body: Mapping[str, Any], at: str) -> Entry:
        """Add an entry after dealing with a torn tail."""
        self.discard_torn_tail(actor, at)
        return self._write(action, actor, body, at)

    def discard_torn_tail(self, actor: str, at: str) -> Entry | None:
        """Replace a torn tail by an entry that keeps it; None if there was nothing torn."""
        torn = self.chain.torn
        if not torn:
            return None
        kept = {"sha256": sha256(torn), "torn": base64.b64encode(torn).decode()}
        # Written over the torn bytes before the file is cut, so that at no moment the tail is
        # gone without its entry; a crash in between leaves a torn tail again.
        return self._write(TORN, actor, kept, at)

    def _write(self, action: str, actor: str, body: Mapping[str, Any], at: str) -> Entry:
        fields = {
            "seq": len(self.chain.entries) + 1,
            "at": at,
            "action": action,
            "actor": actor,
            "body": canonical_json(dict(body)).decode(),
            "prev": self.chain.head,
        }
        entry = Entry(**fields, hash=digest(fields))
        line = entry.to_json() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._handle, line[written:], self._end + written)
            os.ftruncate(self._handle, self._end + len(line))
            os.fsync(self._handle)
        except OSError:  # a full disk: leave the file as it was
            torn = self.chain.torn
            os.pwrite(self._handle, torn, self._end)
            os.ftruncate(self._handle, self._end + len(torn))
            raise
        self._end += len(line)
        self.chain = Chain((*self.chain.entries, entry))
        return entry


@contextmanager
def locked_chain(store_root: Path) -> Iterator[LockedChain]:
    """The store's chain under an exclusive lock; waits for other processes.

    Raises
    ------
    IntegrityError
        If the chain does not hold together: nothing is appended to a broken chain.
    """
    path = audit_path(store_root)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        sync_directory(path.parent)
        yield LockedChain(handle)
    finally:
        os.close(handle)


def _content(handle: int) -> bytes:
    return os.pread(handle, os.fstat(handle).st_size, 0)


def _parsed(content: bytes) -> Chain:
    complete, newline, torn = content.rpartition(b"\n")
    entries: list[Entry] = []
    previous = GENESIS
    for number, line in enumerate(complete.split(b"\n") if newline else (), start=1):
        entries.append(_entry(line, number, previous))
        previous = entries[-1].hash
    return Chain(tuple(entries), torn)


def _entry(line: bytes, number: int, previous: Digest) -> Entry:
    where = f"line {number} of the audit chain"
    try:
        entry = Entry.from_json(line)
        if not isinstance(parse_json(entry.body), dict):
            raise ValueError("its body is not a JSON object")
    except (IntegrityError, ValueError) as error:
        raise IntegrityError(f"{where} is not an entry", got=str(error)[:200]) from error
    if entry.to_json() != line or entry.hash != entry.computed_hash():
        raise IntegrityError(f"{where} was changed after it was written")
    if entry.seq != number or entry.prev != previous:
        raise IntegrityError(
            f"{where} does not follow the one before",
            expected=f"entry {number} after {previous[:12]}",
            got=f"entry {entry.seq} after {entry.prev[:12]}",
            remedy="entries were removed, inserted or put into another order",
        )
    return entry
