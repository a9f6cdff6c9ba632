"""A store that only grows: the bars a session warmed up on, and everything that reached it since.

A header of 512 bytes (JSON, padded), then records of 128 bytes, little-endian: kind (u4), CRC-32 of
the rest (u4), time in nanoseconds since 1970 UTC (i8), open, high, low, close and volume (f8 each),
text (72 bytes of UTF-8, padded with zeros). A record that was half written when a process died is
cut off when the store is opened next; a damaged one further up is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bars, Provenance
from finchaos.core.errors import DataError, InputError, IntegrityError, StorageError
from finchaos.core.files import write_atomic
from finchaos.core.provenance import canonical_json

FORMAT, VERSION = "finchaos.bar_store", 1
HEADER_BYTES, TEXT_BYTES = 512, 72
RECORD = np.dtype(
    [("kind", "<u4"), ("crc", "<u4"), ("ts", "<i8"), ("values", "<f8", (5,)),
     ("text", f"V{TEXT_BYTES}")]
)  # fmt: skip
NO_VALUES = (float("nan"),) * 5


class Kind(IntEnum):
    """What a record says."""

    HISTORY = 0
    """A bar known before the session."""
    BAR = 1
    """A bar as the feed delivered it, right or wrong."""
    SILENCE = 2
    """The feed had nothing to say; the time is the clock's."""
    REFUSED = 3
    """A frame that is no bar of this instrument; the text says why."""
    TRIP = 4
    """Somebody outside the session stops it; the text says why."""
    REARM = 5
    """A person clears the latch; the text is the name."""


@dataclass(frozen=True)
class Record:
    """One entry of a store.

    Attributes
    ----------
    kind : Kind
    ts : int
        Nanoseconds since 1970 UTC.
    numbers : tuple of float, length 5
        Open, high, low, close, volume; NaN where the kind has none.
    text : str
    """

    kind: Kind
    ts: int
    numbers: tuple[float, ...] = NO_VALUES
    text: str = ""

    def packed(self) -> bytes:
        """The 128 bytes of the record."""
        row = np.zeros((), RECORD)
        row["kind"], row["ts"], row["values"] = self.kind, self.ts, self.numbers
        row["text"] = shortened(self.text).encode()
        row["crc"] = _crc(row.tobytes())
        return row.tobytes()


class BarStore:
    """An open store; one process at a time.

    Parameters
    ----------
    path : pathlib.Path
        Made by :meth:`create`.
    sync : bool
        Flush every record to the disk, so that it survives a loss of power too.

    Attributes
    ----------
    repaired_bytes : int
        Bytes of a half-written record that were cut off.

    Raises
    ------
    InputError
        If another process has it open.
    IntegrityError
        If it is damaged other than at its end.
    """

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        self.path, self._sync = path, sync
        self._file = _locked(path)
        try:
            self.symbol, self._about = _header(path, os.pread(self._file, HEADER_BYTES, 0))
            self._records, self.repaired_bytes = self._whole_records()
        except BaseException:
            os.close(self._file)
            raise

    @classmethod
    def create(cls, path: Path, history: Bars, *, sync: bool = True) -> BarStore:
        """A new store that holds ``history``: what a subject warms up on.

        Raises
        ------
        InputError
            If there is one already.
        StorageError
            If the disk does not take it; there is none then.
        """
        if path.exists():
            raise InputError(f"{path} exists already", remedy="open it, or choose another folder")
        said = {
            "format": FORMAT,
            "version": VERSION,
            "symbol": history.symbol,
            "bars_per_year": float(history.bars_per_year),
            "has_range": history.has_range,
        }
        header = canonical_json(said)
        if len(header) >= HEADER_BYTES:
            raise InputError("the name of an instrument is too long", got=history.symbol[:80])
        rows = np.zeros(len(history), RECORD)
        rows["ts"] = history.index.as_unit("ns").asi8
        rows["values"] = np.column_stack([getattr(history, name) for name in BAR_FIELDS])
        rows["crc"] = [_crc(row.tobytes()) for row in rows]
        try:
            write_atomic(path, header.ljust(HEADER_BYTES - 1) + b"\n" + rows.tobytes())
        except OSError as error:
            raise StorageError(f"{path} cannot be written", got=str(error)) from error
        return cls(path, sync=sync)

    def __len__(self) -> int:
        return self._records

    @property
    def history_records(self) -> int:
        """How many records the history takes; it comes first."""
        return int((self._rows(0, None)["kind"] == Kind.HISTORY).sum())

    def append(self, record: Record) -> None:
        """Add a record; it is kept once this returns.

        Raises
        ------
        StorageError
            If the disk does not take it; the store is then as it was.
        """
        data, at = record.packed(), self._end(self._records)
        try:
            written = os.pwrite(self._file, data, at)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
            if self._sync:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, at)
            raise StorageError(
                f"{self.path.name} does not take a bar",
                got=str(error),
                remedy="make room on the disk and start again; nothing was lost",
            ) from error
        self._records += 1

    def records(self, start: int = 0, stop: int | None = None) -> list[Record]:
        """Records ``start:stop``."""
        return [
            Record(
                Kind(int(row["kind"])),
                int(row["ts"]),
                tuple(row["values"].tolist()),
                row["text"].tobytes().rstrip(b"\0").decode(),
            )
            for row in self._rows(start, stop)
        ]

    def history(self, stop: int | None = None) -> Bars:
        """The history among the first ``stop`` records as Bars.

        Raises
        ------
        DataError
            If there is none.
        """
        rows = self._rows(0, stop)
        rows = rows[rows["kind"] == Kind.HISTORY]
        if not len(rows):
            raise DataError(f"{self.path.name} holds no history")
        columns: dict[str, Any] = dict(zip(BAR_FIELDS, rows["values"].T, strict=True))
        index = pd.DatetimeIndex(rows["ts"].astype("datetime64[ns]")).tz_localize("UTC")
        return Bars(
            index=index,
            symbol=self.symbol,
            provenance=Provenance(f"bar store {self.path.name}"),
            **self._about,
            **columns,
        )

    def close(self) -> None:
        """Let other processes have it."""
        os.close(self._file)

    def __enter__(self) -> BarStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _rows(self, start: int, stop: int | None) -> np.ndarray:
        last = self._records if stop is None else min(stop, self._records)
        size = max(0, last - start) * RECORD.itemsize
        return np.frombuffer(os.pread(self._file, size, self._end(start)), RECORD)

    def _whole_records(self) -> tuple[int, int]:
        """Number of sound records and bytes cut off behind them."""
        size = os.fstat(self._file).st_size - HEADER_BYTES
        whole = size // RECORD.itemsize
        self._records = whole
        rows = self._rows(0, whole)
        known = max(Kind)
        bad = [
            n for n, row in enumerate(rows)
            if row["crc"] != _crc(row.tobytes()) or row["kind"] > known
        ]  # fmt: skip
        if bad and bad != [whole - 1]:
            raise IntegrityError(f"{self.path} is damaged", got=f"record {bad[0]} of {whole}")
        whole -= len(bad)
        torn = size - whole * RECORD.itemsize
        if torn:
            os.ftruncate(self._file, self._end(whole))
        return whole, torn

    @staticmethod
    def _end(records: int) -> int:
        return HEADER_BYTES + records * RECORD.itemsize


def shortened(text: str) -> str:
    """Text as a record can hold it: cut after 72 bytes of UTF-8."""
    return text.replace("\0", " ").encode()[:TEXT_BYTES].decode(errors="ignore")


def _crc(record: bytes) -> int:
    return zlib.crc32(record[8:], zlib.crc32(record[:4]))


def _locked(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR)
    except OSError as error:
        raise InputError(f"{path} cannot be opened", got=str(error)) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise InputError(
            f"{path} is in use", got=str(error), remedy="stop the other session first"
        ) from error
    return file


def _header(path: Path, data: bytes) -> tuple[str, dict[str, Any]]:
    try:
        said = json.loads(data)
        about = {name: said[name] for name in ("bars_per_year", "has_range")}
        sound = (said["format"], said["version"]) == (FORMAT, VERSION)
        symbol = str(said["symbol"])
    except (ValueError, KeyError, TypeError):
        sound, symbol, about = False, "", {}
    if not sound:
        raise IntegrityError(f"{path} is no bar store of version {VERSION}", got=repr(data[:60]))
    return symbol, about
