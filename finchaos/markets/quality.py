"""The data-quality report: what is wrong or odd with bars, before and after loading."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError
from finchaos.markets.faults import Fault, row_faults
from finchaos.markets.gaps import YearRow, session_faults
from finchaos.markets.suspicions import price_faults
from finchaos.markets.table import RawTable
from finchaos.markets.usable import Settings, Spacing, UsableRows


@dataclass(frozen=True)
class QualityReport:
    """What was found in bars.

    Attributes
    ----------
    name : str
    rows, usable : int
        Rows in all, and those with a readable stamp of their own and positive prices.
    first, last : str
        First and last usable stamp, ISO 8601; empty if there is none.
    spacing : {"intraday", "daily", "longer"}
    calendar : str
        The days that were expected: ``nyse``, ``weekdays``, ``every_day`` or ``own rhythm``.
    faults : tuple of Fault
        Every fault that was looked for, found or not, in a fixed order.
    missing_by_year : tuple of (year, sessions expected, sessions missing)
    """

    name: str
    rows: int
    usable: int
    first: str
    last: str
    spacing: Spacing
    calendar: str
    faults: tuple[Fault, ...]
    missing_by_year: tuple[YearRow, ...]

    def fault(self, name: str) -> Fault:
        """One fault by name.

        Raises
        ------
        KeyError
        """
        for fault in self.faults:
            if fault.name == name:
                return fault
        raise KeyError(name)

    def count(self, name: str) -> int:
        """How often a fault was found."""
        return self.fault(name).count

    @property
    def found(self) -> tuple[Fault, ...]:
        """The faults that occur."""
        return tuple(fault for fault in self.faults if fault.count)

    @property
    def refusals(self) -> tuple[Fault, ...]:
        """The faults that occur and forbid loading."""
        return tuple(fault for fault in self.found if fault.refused)

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.rows} rows, {self.usable} usable, {self.first} to {self.last}",
            f"{self.spacing} bars, calendar: {self.calendar}",
        ]
        for fault in self.found:
            mark = "refused" if fault.refused else "noted"
            lines.append(f"{mark:8} {fault.name}: {fault.count} of {fault.of}. {fault.meaning}")
            lines += [f"{'':9}{example}" for example in fault.examples]
        if not self.found:
            lines.append("nothing found")
        return "\n".join(lines)


def inspect(
    data: pd.DataFrame | Bars | RawTable, *, name: str = "bars", settings: Settings | None = None
) -> QualityReport:
    """Look bars over, be they raw or loaded.

    Parameters
    ----------
    data : pandas.DataFrame, Bars or RawTable
        A frame has ``ts`` as a column or a time index, and the five fields in any state.
    name : str
        For a frame; bars have their symbol.
    settings : Settings, optional
        Calendar and limits of what counts.

    Raises
    ------
    DataError
        If a frame lacks columns: there is nothing to look at.

    Examples
    --------
    >>> frame = pd.DataFrame({"ts": ["2018-01-02T21:00:00Z"] * 2, "close": [10.0, 10.5]})
    >>> inspect(frame).count("duplicate_stamps")
    1
    """
    if isinstance(data, Bars):
        table = RawTable.from_bars(data)
    elif isinstance(data, RawTable):
        table = data
    else:
        table = RawTable.from_frame(data, name)
    chosen = settings or Settings()
    if chosen.stale_run < 2 or not chosen.extreme_multiple > 0:
        raise DataError(
            "impossible quality settings",
            expected="stale_run >= 2 and extreme_multiple > 0",
            got=repr(chosen),
        )
    rows = UsableRows.of(table)
    calendar, gaps, years = session_faults(rows, chosen)
    return QualityReport(
        name=table.name,
        rows=len(table),
        usable=len(rows),
        first=rows.index[0].isoformat() if len(rows) else "",
        last=rows.index[-1].isoformat() if len(rows) else "",
        spacing=rows.spacing,
        calendar=calendar,
        faults=(*row_faults(table), *gaps, *price_faults(rows, chosen)),
        missing_by_year=years,
    )
