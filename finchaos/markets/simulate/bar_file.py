"""Simulated bars and their labels in one Parquet file, written row group by row group."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from finchaos.core.bars import Provenance
from finchaos.core.errors import DataError, InputError, MissingDependencyError
from finchaos.core.extras import installing
from finchaos.core.files import sync_directory
from finchaos.core.provenance import canonical_json, digest
from finchaos.markets.simulate.labelled import FIELDS, LabelledBars, SimulatedRows

KEY = b"finchaos.simulated_bars"
VERSION = 1
_TYPES = {"regime": "int16", "switch": "bool"}


@dataclass(frozen=True)
class Description:
    """What the metadata of a file of simulated bars say.

    Attributes
    ----------
    simulator : str
        Name of the simulator.
    parameters : mapping
        Its parameters, as JSON.
    scheme : str
        How it steps through time; empty where it draws exactly.
    seed : int
        Root seed of the random stream.
    stream : str
        Name of the random stream.
    bars_per_year : float
    package : str
        Package and version that wrote the file.
    """

    simulator: str
    parameters: Mapping[str, Any]
    seed: int
    stream: str
    bars_per_year: float = 252.0
    scheme: str = ""
    package: str = ""

    def provenance(self, notes: tuple[str, ...] = ()) -> Provenance:
        """The same as Bars carry it."""
        stepped = (self.scheme,) if self.scheme else ()
        law = f"parameters {digest(dict(self.parameters))[:16]}"
        return Provenance(
            f"finchaos {self.simulator} simulator",
            kind="simulated",
            seed=self.seed,
            notes=(*stepped, f"stream {self.stream}", law, *notes),
        )


def write_bars(path: Path, rows: Iterable[SimulatedRows], description: Description) -> int:
    """Write one path's bars and labels, a row group for every stretch that comes.

    Memory holds one stretch at a time. The file gets its name once it is complete and on the
    disk: an interrupted write leaves a hidden temporary file and under ``path`` whatever was there
    before.

    Parameters
    ----------
    path : pathlib.Path
    rows : iterable of SimulatedRows
        Stretches that follow one another from row 0.
    description : Description

    Returns
    -------
    int
        Number of bars written.

    Raises
    ------
    InputError
        If there are no rows or stretches do not follow one another.
    MissingDependencyError
        If pyarrow is not installed.
    """
    with _temporary(path) as temporary:
        return _write(temporary, rows, description)


def read_description(path: Path) -> Description:
    """What a file of simulated bars says of itself.

    Raises
    ------
    DataError
        If the file is missing, truncated or not one of simulated bars.
    """
    with _opened(path) as file:
        return _description(path, file)


def read_bars(
    path: Path, start: int = 0, stop: int | None = None, *, symbol: str = "SIMULATED"
) -> LabelledBars:
    """Rows ``start:stop`` of a file as Bars with their labels.

    Time stamps count from 2000-01-03 for the first row read: simulated time has no date.

    Raises
    ------
    DataError
        If the file is missing, truncated or not one of simulated bars; if it lacks these rows; if
        they are too many for a calendar, see :meth:`SimulatedRows.labelled`.
    MissingDependencyError
        If pyarrow is not installed.
    """
    with _opened(path) as file:
        description = _description(path, file)
        count = file.metadata.num_rows
        last = count if stop is None else stop
        if not 0 <= start < last <= count:
            raise DataError(
                f"{path} does not hold the rows asked for",
                expected=f"0 <= start < stop <= {count}",
                got=f"{start}:{last}",
            )
        table = file.read_row_groups(_groups_of(file, start, last), columns=list(FIELDS))
        offset = _first_row(file, _groups_of(file, start, last)[0])
    rows = _rows(table.slice(start - offset, last - start), start)
    provenance = description.provenance((f"rows {start} to {last} of {count}",))
    return rows.labelled(provenance, symbol=symbol, bars_per_year=description.bars_per_year)


def stream_rows(path: Path) -> Iterator[SimulatedRows]:
    """The stretches of a file as they were written, one in memory at a time.

    Raises
    ------
    DataError
        At the first stretch, if the file is missing, truncated or not one of simulated bars.
    """
    with _opened(path) as file:
        _description(path, file)
        first = 0
        for group in range(file.metadata.num_row_groups):
            rows = _rows(file.read_row_group(group, columns=list(FIELDS)), first)
            yield rows
            first += len(rows)


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files need pyarrow", remedy=installing("data")
        ) from error
    return pyarrow, pyarrow.parquet


def _write(path: Path, rows: Iterable[SimulatedRows], description: Description) -> int:
    arrow, parquet = _pyarrow()
    schema = arrow.schema([(name, _type(arrow, name)) for name in FIELDS])
    count = 0
    with closing(parquet.ParquetWriter(path, schema, compression="zstd")) as writer:
        for stretch in rows:
            if stretch.first_row != count:
                raise InputError(
                    "simulated rows that do not follow one another",
                    expected=f"row {count}",
                    got=f"row {stretch.first_row}",
                )
            arrays = [arrow.array(getattr(stretch, n), _type(arrow, n)) for n in FIELDS]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(stretch)
        if count == 0:
            raise InputError("no simulated rows to write")
        writer.add_key_value_metadata({KEY: _metadata(description, count)})
    return count


def _type(arrow: ModuleType, name: str) -> Any:
    return arrow.type_for_alias(_TYPES.get(name, "float64"))


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A hidden path beside ``path`` that takes its name if all goes well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        yield temporary
        os.fsync(handle)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    sync_directory(path.parent)


def _metadata(description: Description, count: int) -> bytes:
    from finchaos import __version__

    said = {**vars(description), "package": f"finchaos {__version__}"}
    return canonical_json({"version": VERSION, "rows": count, **said})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, with pyarrow's complaints about its content as a DataError."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (OSError, arrow.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read as a file of simulated bars",
            expected="a complete Parquet file",
            got=f"{type(error).__name__}: {error}",
            remedy="generate it again",
        ) from error


def _description(path: Path, file: Any) -> Description:
    raw = (file.metadata.metadata or {}).get(KEY)
    columns = tuple(file.schema_arrow.names)
    try:
        said = json.loads(raw) if raw else {}
        whole = said.pop("version", None) == VERSION and columns == FIELDS
        whole = whole and said.pop("rows", None) == file.metadata.num_rows
        found = Description(**said) if whole else None
    except (ValueError, TypeError, AttributeError):  # not JSON, not an object, other names
        found = None
    if found is None:
        raise DataError(
            f"{path} does not hold simulated bars",
            expected=f"metadata {KEY.decode()} of version {VERSION} that agree with the rows, "
            f"columns {', '.join(FIELDS)}",
            got=f"columns {', '.join(columns)}, "
            + ("no such metadata" if raw is None else repr(raw[:80])),
            remedy="read other bars with finchaos.markets.load",
        )
    return found


def _groups_of(file: Any, start: int, stop: int) -> list[int]:
    """Row groups that hold rows ``start:stop``."""
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    first, last = np.searchsorted(ends, [start, stop - 1], side="right")
    return list(range(int(first), int(last) + 1))


def _first_row(file: Any, group: int) -> int:
    return sum(file.metadata.row_group(k).num_rows for k in range(group))


def _rows(table: Any, first_row: int) -> SimulatedRows:
    arrays = {name: table.column(name).to_numpy() for name in FIELDS}
    arrays["regime"] = arrays["regime"].astype(np.int64)
    return SimulatedRows(**arrays, first_row=first_row)
