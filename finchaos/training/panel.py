"""A table of float32 on disk that is read through the page cache and never loaded.

A panel is a folder with two files: ``values.f32``, rows one after the other in little-endian
float32, and ``panel.json``, which says what the columns are, where one path ends and the next
begins, and what the digest of the values is. Both are written into a temporary folder that gets
its name only when everything is on the disk.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from finchaos.core.errors import DataError, InputError
from finchaos.core.files import sync_directory, write_atomic
from finchaos.core.provenance import canonical_json, digest, parse_json

FORMAT = 1
KIND = "finchaos panel"
HEADER, VALUES = "panel.json", "values.f32"
DTYPE = np.dtype("<f4")


@dataclass(frozen=True)
class PanelHeader:
    """What the numbers of a panel are.

    Attributes
    ----------
    features, targets : tuple of str
        Names of the columns: features first, targets after them.
    schema : str
        Digest of the feature schema.
    path_ends : tuple of int
        Row after the last of each path, increasing; the last is the number of rows.
    content : str
        SHA-256 of the values.
    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    schema: str
    path_ends: tuple[int, ...]
    content: str

    def __post_init__(self) -> None:
        names = self.columns
        if not self.features or len(set(names)) != len(names) or "" in names:
            raise InputError(
                "the columns of a panel need different names",
                expected="at least one feature, no name twice",
                got=", ".join(names) or "none",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """All names in the order of the columns."""
        return self.features + self.targets

    @property
    def rows(self) -> int:
        """Rows of all paths together."""
        return self.path_ends[-1] if self.path_ends else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.rows * len(self.columns) * DTYPE.itemsize


class PanelWriter:
    """Writes a panel chunk by chunk; in memory is one chunk at a time.

    Use it as a context: leaving the block gives the panel its name, an exception inside it
    leaves nothing behind. A process killed meanwhile leaves a hidden folder ``.name.*.tmp``
    beside the place, which is no panel.

    Parameters
    ----------
    folder : Path
        Must not exist, or be empty.
    features, targets : sequence of str
        Names of the columns.
    schema : str
        Digest of the feature schema.

    Raises
    ------
    InputError
        If the place is taken or names repeat.

    Examples
    --------
    >>> place = Path(tempfile.mkdtemp()) / "panel"
    >>> with PanelWriter(place, ["x"], ["y"], schema="none") as writer:
    ...     writer.append(np.zeros((3, 2)))
    ...     writer.append(np.ones((2, 2)), new_path=True)
    >>> Panel.open(place).header.path_ends
    (3, 5)
    """

    def __init__(
        self, folder: Path, features: Sequence[str], targets: Sequence[str] = (), *, schema: str
    ) -> None:
        self._header = PanelHeader(tuple(features), tuple(targets), schema, (), "")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(
                f"{folder} is not an empty folder",
                remedy="name a new folder; a panel is never written over anything",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._temporary = Path(
            tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent)
        )
        self._file = (self._temporary / VALUES).open("wb")
        self._hasher = hashlib.sha256()
        self._ends: list[int] = []

    def append(self, rows: np.ndarray, *, new_path: bool = False) -> None:
        """Add rows, shape (n, c), to the current path or to a new one.

        Values that float32 cannot hold are refused; NaN says that a value is unknown, and is for
        targets.

        Raises
        ------
        DataError
            If the rows have other columns, are infinite, or a feature is NaN.
        """
        columns, found = len(self._header.columns), np.shape(rows)
        if len(found) != 2 or found[1] != columns or not found[0]:
            raise DataError(
                "these rows do not fit the panel",
                expected=f"shape (n, {columns}), n >= 1",
                got=str(found),
            )
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(rows, dtype=DTYPE)
        sound = not np.isinf(values).any()
        if not sound or np.isnan(values[:, : len(self._header.features)]).any():
            raise DataError(
                "a panel holds finite features, and targets that are finite or NaN",
                got=f"{np.size(values) - np.isfinite(values).sum()} values that are neither",
                remedy="cut off the rows before the features are known",
            )
        data = values.tobytes()
        self._file.write(data)
        self._hasher.update(data)
        before = self._ends[-1] if self._ends else 0
        if new_path or not self._ends:
            self._ends.append(before)
        self._ends[-1] = before + len(values)

    def close(self) -> None:
        """Give the panel its name.

        Raises
        ------
        DataError
            If nothing was appended.
        """
        if not self._ends:
            self.discard()
            raise DataError("a panel needs at least one row")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        content = {
            "format": FORMAT,
            "kind": KIND,
            "dtype": DTYPE.str,
            "features": list(self._header.features),
            "targets": list(self._header.targets),
            "schema": self._header.schema,
            "rows": self._ends[-1],
            "path_ends": self._ends,
            "content": self._hasher.hexdigest(),
        }
        write_atomic(
            self._temporary / HEADER, canonical_json({**content, "digest": digest(content)})
        )
        self._temporary.chmod(0o755)
        try:
            self._temporary.rename(self._folder)
        except OSError as error:
            self.discard()
            raise InputError(
                f"{self._folder} was taken while the panel was written", got=str(error.strerror)
            ) from error
        sync_directory(self._folder.parent)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


class Panel:
    """A panel on disk, mapped and not read; from :meth:`open`.

    Attributes
    ----------
    header : PanelHeader
    values : numpy.ndarray, shape (r, c)
        Read-only float32 over the file itself.
    """

    def __init__(self, header: PanelHeader, mapped: mmap.mmap) -> None:
        self.header = header
        self._map = mapped
        self.values = np.frombuffer(mapped, DTYPE).reshape(header.rows, len(header.columns))

    @classmethod
    def open(cls, folder: Path, *, schema: str | None = None, verify: bool = True) -> Panel:
        """Map a panel.

        Parameters
        ----------
        folder : Path
        schema : str, optional
            Digest of the feature schema that the caller works with.
        verify : bool
            Whether the values are hashed, about a second a gigabyte; their number always counts.

        Raises
        ------
        DataError
            If a file is missing, truncated or altered, this is no panel or another format, or
            its features follow another schema.
        """
        header = _read_header(folder / HEADER)
        if schema is not None and schema != header.schema:
            raise DataError(
                f"the panel {folder} has features of another schema",
                expected=schema[:12],
                got=header.schema[:12],
                remedy="write it again with the schema of this model",
            )
        path = folder / VALUES
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                if size != header.nbytes:
                    raise _damaged(path, f"{size} bytes instead of {header.nbytes}")
                file.seek(0)
                if verify and hashlib.file_digest(file, "sha256").hexdigest() != header.content:
                    raise _damaged(path, "its SHA-256 is not the recorded one")
                return cls(header, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise _unreadable(path, error) from error

    @property
    def paths(self) -> tuple[tuple[int, int], ...]:
        """First row and row after the last of each path."""
        return tuple(pairwise((0, *self.header.path_ends)))

    def release(self) -> None:
        """Take the rows that were read out of this process's resident memory.

        They stay in the system's page cache, and views stay valid: reading maps rows again.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _read_header(path: Path) -> PanelHeader:
    try:
        content = parse_json(path.read_bytes())
        recorded = content.pop("digest")
        if recorded != digest(content):
            raise ValueError("its content does not have the recorded digest")
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(path, " ".join(str(error).split())[:200]) from error
    found = tuple(content.get(key) for key in ("kind", "format", "dtype"))
    if found != (KIND, FORMAT, DTYPE.str):
        raise DataError(
            f"{path} does not belong to a panel that this version reads",
            expected=f"{KIND}, format {FORMAT}, {DTYPE.str}",
            got=", ".join(map(str, found)),
        )
    header = _header(content, path)
    ends = header.path_ends
    if not ends or any(b <= a for a, b in pairwise((0, *ends))) or ends[-1] != content.get("rows"):
        raise _damaged(path, "its paths do not add up to its rows")
    return header


def _header(content: Mapping[str, Any], path: Path) -> PanelHeader:
    try:
        return PanelHeader(
            tuple(map(str, content["features"])),
            tuple(map(str, content["targets"])),
            str(content["schema"]),
            tuple(map(int, content["path_ends"])),
            str(content["content"]),
        )
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"the panel's {path.name} is damaged", got=why, remedy="copy or write the panel again"
    )


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"the panel lacks {path.name}",
        got=str(error.strerror),
        remedy="name the folder that the writer made, complete",
    )
