"""The columns of an exhibit as drawn: numbers in their shown unit, intervals, panels by unit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from governance.record import Column, Exhibit
from reports.numbers import unit_style
from reports.tables import words


@dataclass(frozen=True)
class Series:
    """One drawn column, with the ends of its interval where the exhibit has them.

    A column ``x`` is accompanied by ``x_low`` and ``x_high``; a single column also by ``low``
    and ``high``.
    """

    column: Column
    low: Column | None = None
    high: Column | None = None

    @property
    def label(self) -> str:
        """Name in the legend."""
        return words(self.column.name)


def numbers_of(column: Column) -> np.ndarray:
    """A column as shown, shape (n,): scaled to its unit, NaN where there is nothing."""
    raw = [np.nan if value is None else float(value) for value in column.values]
    return np.array(raw, dtype=np.float64) * unit_style(column.unit).scale


def seconds_of(column: Column) -> np.ndarray:
    """ISO time stamps as seconds since 1970, shape (n,); stamps without a zone are UTC."""
    moments = [datetime.fromisoformat(str(value)) for value in column.values]
    aware = [m if m.tzinfo else m.replace(tzinfo=UTC) for m in moments]
    return np.array([m.timestamp() for m in aware], dtype=np.float64)


def series_of(exhibit: Exhibit) -> tuple[Series, ...]:
    """The columns to draw, each with its interval."""
    columns = {column.name: column for column in exhibit.columns[1:]}
    ends = {f"{name}{end}" for name in columns for end in ("_low", "_high")} & set(columns)
    drawn = [c for name, c in columns.items() if name not in ends | {"low", "high"}]
    if len(drawn) == 1 and {"low", "high"} <= set(columns):
        return (Series(drawn[0], columns["low"], columns["high"]),)
    drawn = [c for name, c in columns.items() if name not in ends]
    return tuple(
        Series(c, columns.get(f"{c.name}_low"), columns.get(f"{c.name}_high")) for c in drawn
    )


def panels_of(exhibit: Exhibit) -> tuple[tuple[str, tuple[Series, ...]], ...]:
    """Series by unit; what has another unit gets axes of its own."""
    panels: dict[str, list[Series]] = {}
    for item in series_of(exhibit):
        panels.setdefault(item.column.unit, []).append(item)
    return tuple((unit, tuple(items)) for unit, items in panels.items())


def made_mark(exhibit: Exhibit) -> str:
    """What its drawing must say where the data are no recorded market; else empty."""
    note = exhibit.note.lower()
    return next((word.upper() for word in ("reconstructed", "simulated") if word in note), "")
