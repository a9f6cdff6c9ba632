"""Loading bars from a CSV or Parquet file; the schema is in docs/data.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bars, Provenance
from finchaos.core.errors import DataError, MissingDependencyError
from finchaos.core.extras import installing
from finchaos.core.provenance import sha256
from finchaos.markets.faults import Fault
from finchaos.markets.quality import QualityReport, inspect
from finchaos.markets.stamps import read_stamps
from finchaos.markets.table import STAMP, RawTable, column_problem

OPTIONAL = ("symbol", "known_at")
DAILY_BARS_PER_YEAR = 252.0
_SHOWN = 3


def read_raw(path: Path) -> pd.DataFrame:
    """A file's cells as they are: text from a CSV, typed columns from Parquet.

    Raises
    ------
    DataError
        If the file is absent, unreadable, empty or of another kind.
    MissingDependencyError
        If Parquet cannot be read because pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DataError(
            f"cannot tell the kind of {path.name}", expected="a name ending in .csv or .parquet"
        )
    try:
        frame = _read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files need pyarrow", remedy=installing("data")
        ) from error
    except (OSError, ValueError, KeyError) as error:  # pandas' and pyarrow's parsing errors
        raise DataError(
            f"cannot read {path.name}",
            expected=f"a {suffix[1:].upper()} file of bars",
            got=" ".join(str(error).split()) or type(error).__name__,
        ) from error
    if STAMP not in frame.columns and frame.index.name == STAMP:
        frame = frame.reset_index()
    if frame.empty:
        raise DataError(f"{path.name} has no rows", remedy="write at least one bar")
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    """All cells as text. The header is read as a row: pandas would rename columns that repeat."""
    cells = pd.read_csv(
        path, header=None, dtype=str, encoding="utf-8-sig", keep_default_na=False, na_values=[""]
    )
    frame = cells.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index([str(name).strip() for name in cells.iloc[0]])
    return frame


def load_bars(
    path: str | Path, *, symbol: str | None = None, bars_per_year: float | None = None
) -> Bars:
    """Bars from a file, refused with every problem named if they cannot be used as they are.

    Parameters
    ----------
    path : str or Path
        CSV or Parquet with columns ts, open, high, low, close, volume; optionally symbol and
        known_at. Files with closes only leave open, high and low out, all three.
    symbol : str, optional
        Which of several symbols to take, or how to call bars without a symbol column; else the
        file's name.
    bars_per_year : float, optional
        252 if bars are daily; must be given otherwise.

    Raises
    ------
    DataError
        Naming all problems with the first offending rows.
    MissingDependencyError
        If Parquet cannot be read because pyarrow is not installed.
    """
    path = Path(path)
    frame = read_raw(path)
    columns = [str(name).strip() for name in frame.columns]
    frame.columns = pd.Index(columns)
    problem = column_problem(columns, indexed=False)
    if problem:
        raise DataError(
            f"{path.name}: {problem}",
            expected=f"columns {STAMP}, {', '.join(BAR_FIELDS)}",
            got=", ".join(columns),
            remedy="rename or add the columns; see docs/data.md",
        )
    frame, name = _choose_symbol(frame, symbol, path)
    table = RawTable.from_frame(frame, name)
    report = inspect(table)
    known_at, late = _known_at(frame, table)
    problems = [*report.refusals, *late]
    if problems:
        raise _refusal(path, problems, report)
    per_year = _annualisation(path, report, bars_per_year)
    return Bars(
        index=table.stamps.instants,
        **table.fields,
        symbol=name,
        bars_per_year=per_year,
        has_range=table.has_range,
        known_at=known_at,
        provenance=Provenance(
            f"file {path.name}, SHA-256 {sha256(path.read_bytes())}", notes=_notes(frame, table)
        ),
    )


def _choose_symbol(frame: pd.DataFrame, symbol: str | None, path: Path) -> tuple[pd.DataFrame, str]:
    if "symbol" not in frame.columns:
        return frame, symbol or path.stem
    present = sorted(frame["symbol"].dropna().astype(str).unique())
    if symbol is None and len(present) == 1 and not frame["symbol"].isna().any():
        return frame, present[0]
    if symbol is None or symbol not in present:
        raise DataError(
            f"{path.name} holds bars of several symbols" if symbol is None
            else f"{path.name} has no bars of {symbol!r}",
            expected=f"one of {', '.join(present[:20]) or 'none'}",
            got="rows without a symbol" if frame["symbol"].isna().any() else repr(symbol),
            remedy="name one symbol that the file has",
        )  # fmt: skip
    chosen = frame["symbol"].astype(str) == symbol
    return frame[chosen].reset_index(drop=True), symbol


def _known_at(frame: pd.DataFrame, table: RawTable) -> tuple[pd.DatetimeIndex | None, list[Fault]]:
    """When bars were known, and the rows where that cannot be."""
    if "known_at" not in frame.columns:
        return None, []
    stamps = read_stamps(frame["known_at"])
    bad = np.asarray(stamps.instants.isna()) | stamps.naive
    early = ~bad & np.asarray(stamps.instants < table.stamps.instants)
    found = np.flatnonzero(bad | early)
    if not len(found):
        return stamps.instants, []
    fault = Fault(
        "impossible_known_at",
        "Rows whose known_at is unreadable, without a zone or before the bar's close",
        len(found),
        len(frame),
        refused=True,
        examples=tuple(f"row {row + 1}" for row in found[:_SHOWN].tolist()),
    )
    return None, [fault]


def _refusal(path: Path, problems: list[Fault], report: QualityReport) -> DataError:
    lines = [
        f"{fault.name}: {fault.count} ({fault.meaning.lower()}), "
        f"first {'; '.join(fault.examples[:_SHOWN])}"
        for fault in problems
    ]
    stamped = {fault.name for fault in problems} & {"naive_stamps", "mixed_zones"}
    remedy = "repair those rows at their source"
    if stamped:
        remedy += "; write every stamp in UTC, such as 2018-01-02T21:00:00Z"
    count = "a problem" if len(lines) == 1 else f"{len(lines)} problems"
    return DataError(
        f"{path.name} cannot be loaded: {count} in {report.rows} rows",
        got="\n  " + "\n  ".join(lines),
        remedy=f"{remedy} (rows count from 1 below the header)",
    )


def _annualisation(path: Path, report: QualityReport, given: float | None) -> float:
    if given is not None:
        return given
    if report.spacing != "daily":
        raise DataError(
            f"{path.name} does not hold daily bars, so their number per year must be told",
            expected="bars_per_year, such as 98280 for minutes of a New York session",
            got=f"{report.spacing} bars",
        )
    return DAILY_BARS_PER_YEAR


def _notes(frame: pd.DataFrame, table: RawTable) -> tuple[str, ...]:
    unread = [c for c in frame.columns if c not in (STAMP, *BAR_FIELDS, *OPTIONAL)]
    notes = []
    notes += [f"columns not read: {', '.join(unread)}"] if unread else []
    notes += [] if table.has_range else ["closes only"]
    notes += [] if "volume" in frame.columns else ["volume unknown"]
    return tuple(notes)
