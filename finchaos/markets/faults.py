"""Faults of single rows: what makes bars unusable. Every one of them is refused by Bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from finchaos.core.bars import PRICE_FIELDS
from finchaos.markets.table import RawTable

EXAMPLES = 5


@dataclass(frozen=True)
class Fault:
    """How often one thing is wrong with bars.

    Attributes
    ----------
    name : str
    meaning : str
    count : int
    of : int
        What the count is out of: rows, expected sessions or pairs of neighbours.
    refused : bool
        Whether bars with this fault cannot be loaded. The others are facts to weigh.
    examples : tuple of str
        The first few.
    """

    name: str
    meaning: str
    count: int
    of: int
    refused: bool = False
    examples: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Count over what it is out of; 0 where there is nothing."""
        return self.count / self.of if self.of else 0.0


def _row(table: RawTable, row: int, detail: str) -> str:
    instant = table.stamps.instants[row]
    when = table.stamps.text[row] if instant is None or instant != instant else ""
    when = when or (instant.isoformat() if instant == instant else "no stamp")
    return f"row {row + 1} ({when}){': ' if detail else ''}{detail}"


def _rows(
    table: RawTable,
    name: str,
    meaning: str,
    bad: np.ndarray,
    detail: Callable[[int], str] = lambda row: "",
) -> Fault:
    found = np.flatnonzero(bad)
    shown = tuple(_row(table, int(row), detail(int(row))) for row in found[:EXAMPLES])
    return Fault(name, meaning, len(found), len(table), refused=True, examples=shown)


def row_faults(table: RawTable) -> Iterator[Fault]:
    """The faults for which loading is refused, each counted in rows."""
    yield from _stamp_faults(table)
    yield from _order_faults(table)
    yield from _value_faults(table)


def _stamp_faults(table: RawTable) -> Iterator[Fault]:
    stamps = table.stamps
    missing = np.asarray(stamps.instants.isna())
    yield _rows(table, "unreadable_stamps", "Stamps that are missing or not ISO 8601", missing)
    yield _rows(
        table,
        "naive_stamps",
        "Stamps without a time zone",
        stamps.naive,
        lambda row: str(stamps.text[row]),
    )
    zones, counts = np.unique(stamps.offsets[stamps.offsets != ""].astype(str), return_counts=True)
    commonest = zones[np.argmax(counts)] if len(zones) else ""
    other = (stamps.offsets != "") & (stamps.offsets != commonest)
    yield _rows(
        table,
        "mixed_zones",
        "Stamps in another zone than most",
        other,
        lambda row: f"offset {stamps.offsets[row]}, mostly {commonest}",
    )


def _order_faults(table: RawTable) -> Iterator[Fault]:
    instants = table.stamps.instants
    present = np.flatnonzero(~np.asarray(instants.isna()))
    moments = instants[present].asi8
    latest = np.maximum.accumulate(moments) if len(moments) else moments
    early = np.zeros(len(table), dtype=bool)
    early[present[1:]] = moments[1:] < latest[:-1]
    yield _rows(table, "unsorted_rows", "Rows stamped before an earlier row", early)
    repeated = np.zeros(len(table), dtype=bool)
    repeated[present] = instants[present].duplicated(keep="first")
    yield _rows(
        table,
        "duplicate_stamps",
        "Rows whose stamp an earlier row has",
        repeated,
        lambda row: _same_as_first(table, row),
    )


def _same_as_first(table: RawTable, row: int) -> str:
    first = int(np.argmax(table.stamps.instants == table.stamps.instants[row]))
    same = all(v[first] == v[row] for v in table.fields.values())
    return f"{'same' if same else 'other'} values than row {first + 1}"


def _value_faults(table: RawTable) -> Iterator[Fault]:
    given = [name for name in (*PRICE_FIELDS, "volume") if _given(table, name)]
    finite = {name: np.isfinite(table.fields[name]) for name in given}
    unusable = ~np.logical_and.reduce(list(finite.values()))
    yield _rows(
        table,
        "unusable_values",
        "Rows with a missing or infinite value or one that is no number",
        unusable,
        lambda row: ", ".join(name for name in given if not finite[name][row]),
    )
    prices = [name for name in given if name != "volume"]
    below = np.logical_or.reduce([table.fields[name] <= 0 for name in prices])
    yield _rows(
        table,
        "nonpositive_prices",
        "Rows with a price of zero or less",
        below,
        lambda row: ", ".join(
            f"{n} {table.fields[n][row]:g}" for n in prices if table.fields[n][row] <= 0
        ),
    )
    volume = table.fields["volume"]
    yield _rows(
        table,
        "negative_volume",
        "Rows with a volume below zero",
        volume < 0,
        lambda row: f"{volume[row]:g}",
    )
    yield from _range_faults(table)


def _given(table: RawTable, name: str) -> bool:
    if name == "volume":
        return table.has_volume
    return table.has_range or name == "close"


def _range_faults(table: RawTable) -> Iterator[Fault]:
    opened, high, low, close = (table.fields[name] for name in PRICE_FIELDS)
    inverted = high < low
    yield _rows(
        table,
        "high_below_low",
        "Rows whose high is below their low",
        inverted,
        lambda row: f"high {high[row]:g}, low {low[row]:g}",
    )
    outside = (low > np.fmin(opened, close)) | (high < np.fmax(opened, close))
    yield _rows(
        table,
        "outside_range",
        "Rows whose open or close is outside low to high",
        outside & ~inverted,
        lambda row: (
            f"open {opened[row]:g}, high {high[row]:g}, low {low[row]:g}, close {close[row]:g}"
        ),
    )
