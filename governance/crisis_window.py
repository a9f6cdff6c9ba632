"""The returns of a crisis, read from a CSV file with a source in every row."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from datetime import date

import numpy as np

from finchaos.core.errors import DataError

COLUMNS = ("date", "return", "source")


@dataclass(frozen=True)
class CrisisWindow:
    """Daily simple returns of one instrument through a crisis.

    Attributes
    ----------
    dates : tuple of datetime.date, length n
        Sessions, strictly increasing.
    returns : tuple of float, length n
        Return from the previous session's close to this one's; -0.2047 is minus 20.47 per cent.
    sources : tuple of str, length n
        Where each return was read.
    """

    dates: tuple[date, ...]
    returns: tuple[float, ...]
    sources: tuple[str, ...]

    @property
    def source(self) -> str:
        """The distinct sources, in order of appearance."""
        return "; ".join(dict.fromkeys(self.sources))

    @property
    def drawdown(self) -> tuple[int, int, float]:
        """Rows of the peak and trough of the deepest fall between closes here, and its depth."""
        level = np.cumprod(1.0 + np.array(self.returns))
        depth = level / np.maximum.accumulate(level) - 1.0
        trough = int(depth.argmin())
        return int(level[: trough + 1].argmax()), trough, float(depth[trough])


def parse_window(text: str, name: str) -> CrisisWindow:
    """Read a window with the columns date, return and source.

    Parameters
    ----------
    text : str
        Content of a CSV file.
    name : str
        What errors call it.

    Raises
    ------
    DataError
        If a column is missing or unknown, or a row has no source, a date that is malformed, in
        the future or out of order, or a return that leaves no positive price.

    Examples
    --------
    >>> window = parse_window("date,return,source\\n1987-10-19,-0.2047,a book\\n", "example")
    >>> window.dates[0].isoformat(), window.returns
    ('1987-10-19', (-0.2047,))
    """
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise DataError(f"{name} is not a CSV file", got=str(error)) from error
    if tuple(reader.fieldnames or ()) != COLUMNS or not rows:
        raise DataError(
            f"{name} is not a window of returns",
            expected=f"columns {', '.join(COLUMNS)} and at least one row",
            got=f"columns {', '.join(map(str, reader.fieldnames or ())) or 'none'}, "
            f"{len(rows)} rows",
        )
    dates: list[date] = []
    for line, row in enumerate(rows, start=2):
        day = _date(row["date"], f"{name}, line {line}")
        if dates and day <= dates[-1]:
            raise DataError(
                f"{name}, line {line}: dates must be strictly increasing",
                got=f"{day} after {dates[-1]}",
                remedy="sort the rows and remove duplicates",
            )
        dates.append(day)
    returns = tuple(_return(row, f"{name}, line {n}") for n, row in enumerate(rows, start=2))
    return CrisisWindow(tuple(dates), returns, tuple(row["source"].strip() for row in rows))


def _date(text: str | None, where: str) -> date:
    try:
        day = date.fromisoformat(text or "")
    except ValueError as error:
        raise DataError(
            f"{where}: not a date", expected="ISO 8601, such as 1987-10-19", got=repr(text)
        ) from error
    if day > date.today():  # a crisis that has not happened is not history
        raise DataError(f"{where}: the date lies in the future", got=str(day))
    return day


def _return(row: dict[str, str | None], where: str) -> float:
    try:
        value = float(row["return"] or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > -1.0):
        raise DataError(
            f"{where}: unusable return",
            expected="a finite fraction above -1, so that the price stays positive",
            got=repr(row["return"]),
        )
    if not (row["source"] or "").strip() or None in row:
        raise DataError(f"{where}: every row names its source, in one field", got=str(row))
    return value
