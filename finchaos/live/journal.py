"""The journal of a session: decisions, fills and the account, one JSON object a line.

It only grows. A session's state remembers how long it was and a digest chained over its lines, so
that what a dying process wrote beyond its last saved state, half a line or several whole ones, is
cut off at the next start and written again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from finchaos.core.errors import IntegrityError, StorageError

START = "0" * 64


class Journal:
    """An open journal.

    Parameters
    ----------
    path : pathlib.Path
        Made if absent.
    length : int
        Bytes that the last saved state knows of.
    chain : str
        Digest over their lines, see :attr:`chain`.
    sync : bool
        Flush every entry to the disk.

    Attributes
    ----------
    length : int
    chain : str
        SHA-256 over the digest before and the newest line, from 64 zeros on.
    repaired_bytes : int
        Bytes cut off because no saved state knew of them.

    Raises
    ------
    IntegrityError
        If the file is shorter than the state says, or its lines are others.
    """

    def __init__(
        self, path: Path, length: int = 0, chain: str = START, *, sync: bool = True
    ) -> None:
        self.path, self.length, self.chain, self._sync = path, length, chain, sync
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self.repaired_bytes = self._cut_back()
        except BaseException:
            self.close()
            raise

    def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add lines.

        Raises
        ------
        StorageError
            If the disk does not take them; the journal is then as it was.
        """
        lines = [json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries]
        data = b"".join(lines)
        if not data:
            return
        try:
            written = os.pwrite(self._file, data, self.length)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
            if self._sync:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self.length)
            raise StorageError(
                f"{self.path.name} does not take an entry",
                got=str(error),
                remedy="make room on the disk and start again; nothing was lost",
            ) from error
        self.length += len(data)
        for line in lines:
            self.chain = _linked(self.chain, line)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _cut_back(self) -> int:
        size = os.fstat(self._file).st_size
        known = os.pread(self._file, self.length, 0)
        chain = START
        for line in known.splitlines(keepends=True):
            chain = _linked(chain, line)
        if size < self.length or chain != self.chain:
            raise IntegrityError(
                f"{self.path} is not the journal of the saved state",
                expected=f"{self.length} bytes with digest {self.chain[:12]}",
                got=f"{min(size, self.length)} bytes with digest {chain[:12]}",
            )
        if size > self.length:
            os.ftruncate(self._file, self.length)
        return size - self.length


def read_journal(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Entries of a journal, and how many bytes of a half-written line follow them.

    Raises
    ------
    IntegrityError
        If a line further up is not JSON.
    """
    data = path.read_bytes()
    whole, _, torn = data.rpartition(b"\n")
    entries = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            raise IntegrityError(f"line {number} of {path} is damaged", got=str(error)) from error
    return entries, len(torn)


def _linked(chain: str, line: bytes) -> str:
    return hashlib.sha256(chain.encode() + line).hexdigest()
