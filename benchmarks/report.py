"""What a benchmark gives back, and its Markdown, JSON and figures on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.timing import STANDARD, Protocol
from finchaos.core.files import write_atomic

Cell = str | int | float | None


@dataclass(frozen=True)
class Options:
    """What a run of benchmarks is asked for.

    Attributes
    ----------
    backend : str
        Our backend, see :mod:`finchaos.ssm.backends`.
    protocol : Protocol
    """

    backend: str = "auto"
    protocol: Protocol = STANDARD


@dataclass(frozen=True)
class Table:
    """Rows under named columns; units stand in the column names.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : tuple of tuple of str, int, float or None
    notes : tuple of str
        Sentences below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of {self.title!r} does not have {len(self.columns)} cells")

    def column(self, name: str) -> list[Cell]:
        """The cells below a column's name."""
        return [row[self.columns.index(name)] for row in self.rows]

    def markdown(self) -> str:
        """Title, table and notes."""
        lines = [self.columns, ("---",) * len(self.columns)]
        lines += [tuple(_text(cell) for cell in row) for row in self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "".join(f"\n- {note}" for note in self.notes)
        return f"### {self.title}\n\n{table}\n" + (f"{notes}\n" if notes else "")


@dataclass(frozen=True)
class Report:
    """One benchmark's tables and figures.

    Attributes
    ----------
    name : str
        Of the benchmark; also of its files.
    tables : tuple of Table
    figures : mapping of str to bytes
        By the ending of the file name, such as ``svg``.
    """

    name: str
    tables: tuple[Table, ...]
    figures: Mapping[str, bytes] | None = None

    def markdown(self, conditions: Mapping[str, str]) -> str:
        """All tables, and the conditions they hold under."""
        held = "; ".join(f"{key}: {value}" for key, value in conditions.items())
        tables = [table.markdown() for table in self.tables]
        shown = [f"![{self.name}]({self.name}.svg)\n"] if "svg" in (self.figures or {}) else []
        return "\n".join([*tables, *shown, f"Conditions: {held}.\n"])

    def write(self, folder: Path, conditions: Mapping[str, str]) -> None:
        """Markdown, JSON and figures into ``folder``, each complete or not at all."""
        content = {
            "conditions": dict(conditions),
            "tables": [asdict(table) for table in self.tables],
        }
        files = {
            "md": self.markdown(conditions).encode(),
            "json": (json.dumps(content, indent=1) + "\n").encode(),
            **(self.figures or {}),
        }
        for ending, data in files.items():
            write_atomic(folder / f"{self.name}.{ending}", data)


def _text(cell: Cell) -> str:
    """A cell for reading: three significant digits, a dash where nothing was measured.

    Examples
    --------
    >>> _text(0.0123456), _text(1234.5), _text(3.2e-7), _text(None), _text(7)
    ('0.0123', '1234', '3.2e-07', '-', '7')
    """
    if cell is None:
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.0f}" if 1000.0 <= abs(cell) < 1e6 else f"{cell:.3g}"
