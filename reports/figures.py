"""Exhibits of a Run, verified and ready to draw."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from finchaos.core.errors import IntegrityError
from governance.record import Column, Exhibit, Run
from reports.numbers import aligned, unit_style
from reports.series import seconds_of
from reports.tables import Cell, Head, Table, words


@dataclass(frozen=True)
class Figure:
    """A drawn exhibit.

    Attributes
    ----------
    number : int
        Place in the report, from 1.
    anchor : str
        Identifier, safe within HTML and SVG.
    exhibit : Exhibit
    """

    number: int
    anchor: str
    exhibit: Exhibit

    @cached_property
    def svg(self) -> str:
        """The chart, the same bytes for the same exhibit and place."""
        from reports.charts import draw

        return draw(self.exhibit, self.anchor, self.description)

    @property
    def description(self) -> str:
        """What the picture shows, for those who cannot see it."""
        exhibit = self.exhibit
        shown = [column for column in exhibit.columns[1:] if numeric(column)]
        parts = [f"{exhibit.title}."]
        for column in shown[:4]:
            values = [v for v in column.values if isinstance(v, int | float)]
            low, high = aligned((min(values), max(values)), column.unit)
            unit = unit_style(column.unit).heading
            parts.append(f"{words(column.name)}: {low} to {high}{f' {unit}' if unit else ''}.")
        if len(shown) > len(parts) - 1:
            parts.append(f"{len(shown) - len(parts) + 1} more columns.")
        return " ".join(parts)


def numeric(column: Column) -> bool:
    """Whether a column holds numbers, with gaps at most."""
    present = [value for value in column.values if value is not None]
    return bool(present) and not any(isinstance(value, str) for value in present)


def undrawable(exhibit: Exhibit) -> str:
    """Why an exhibit cannot be drawn as its kind; empty if it can. Then it is shown as a table."""
    first, others = exhibit.columns[0], exhibit.columns[1:]
    if exhibit.kind == "table":
        return "it is a table"
    if not others or not first.values:
        return "it has no values to draw"
    text = [column.name for column in others if not numeric(column)]
    if text:
        return f"{', '.join(text)} holds no numbers"
    if exhibit.kind == "scatter" and not numeric(first):
        return f"{first.name} holds no numbers"
    if exhibit.kind == "time_series":
        try:
            seconds_of(first)
        except ValueError:
            return f"{first.name} holds no ISO 8601 times"
    return ""


def verified(run: Run, exhibits: Mapping[str, Exhibit]) -> tuple[Exhibit, ...]:
    """The exhibits that the Run names, in its order.

    Raises
    ------
    IntegrityError
        If one is missing, or is not what its digest says.
    """
    found = []
    for ref in run.exhibits:
        exhibit = exhibits.get(ref.digest)
        if exhibit is None:
            raise IntegrityError(
                f"the exhibit {ref.check}/{ref.name} of this run is missing",
                expected=f"an exhibit with digest {ref.digest}",
                remedy="restore the run's exhibits folder from a copy, or validate again",
            )
        if exhibit.digest != ref.digest or (exhibit.check, exhibit.name) != (ref.check, ref.name):
            raise IntegrityError(
                f"the exhibit {ref.check}/{ref.name} is not the one that was sealed",
                expected=f"digest {ref.digest}",
                got=f"{exhibit.check}/{exhibit.name} with digest {exhibit.digest}",
                remedy="restore the run's exhibits folder from a copy, or validate again",
            )
        found.append(exhibit)
    return tuple(found)


def anchor(exhibit: Exhibit) -> str:
    """An identifier made of check, name and digest; letters, digits and hyphens only."""
    text = re.sub(r"[^a-z0-9]+", "-", f"{exhibit.check}-{exhibit.name}".lower()).strip("-")
    return f"fig-{text[:60]}-{exhibit.digest[:6]}"


def exhibit_table(exhibit: Exhibit) -> Table:
    """An exhibit as a table."""
    columns = [_cells(column) for column in exhibit.columns]
    heads = tuple(
        Head(words(column.name), unit_style(column.unit).heading, numeric(column))
        for column in exhibit.columns
    )
    notes: tuple[str, ...] = (exhibit.note,) if exhibit.note else ()
    if exhibit.kind != "table":
        notes += (
            f"Recorded as a {exhibit.kind.replace('_', ' ')}; shown as a table because "
            f"{undrawable(exhibit)}.",
        )
    return Table(exhibit.title, heads, tuple(zip(*columns, strict=True)), notes)


def _cells(column: Column) -> list[Cell]:
    if not numeric(column):
        return [Cell("" if value is None else str(value)) for value in column.values]
    present = [float(v) for v in column.values if isinstance(v, int | float)]
    texts = iter(aligned(present, column.unit))
    return [
        Cell("none", tone="quiet") if value is None else Cell(next(texts), exact=repr(value))
        for value in column.values
    ]
