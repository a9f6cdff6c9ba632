"""Raw bars as they came: rows in file order, readable or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, PRICE_FIELDS, Bars
from finchaos.core.errors import DataError
from finchaos.markets.stamps import Stamps, read_stamps

STAMP = "ts"


@dataclass(frozen=True, eq=False)
class RawTable:
    """Bars before anything was refused or repaired.

    Attributes
    ----------
    name : str
    stamps : Stamps
    fields : dict of str to numpy.ndarray, shape (t,)
        The five fields; NaN where a cell is missing or not a number.
    has_range : bool
        Whether open, high and low are known; otherwise they repeat the close.
    has_volume : bool
    bars_per_year : float or None
        Where declared.
    """

    name: str
    stamps: Stamps
    fields: dict[str, np.ndarray]
    has_range: bool
    has_volume: bool
    bars_per_year: float | None = None

    def __len__(self) -> int:
        return len(self.stamps.instants)

    @classmethod
    def from_bars(cls, bars: Bars) -> RawTable:
        """The table that bars came from, as far as they tell."""
        return cls(
            name=bars.symbol,
            stamps=read_stamps(bars.index),
            fields={name: getattr(bars, name) for name in BAR_FIELDS},
            has_range=bars.has_range,
            has_volume=bool((bars.volume > 0).any()),
            bars_per_year=bars.bars_per_year,
        )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, name: str) -> RawTable:
        """A frame with ``ts`` as a column or as its index, and the five fields.

        Open, high and low may be absent together, and volume may be absent.

        Raises
        ------
        DataError
            If columns are missing.
        """
        columns = [str(column) for column in frame.columns]
        problem = column_problem(columns, indexed=isinstance(frame.index, pd.DatetimeIndex))
        if problem:
            raise DataError(
                f"{name}: {problem}",
                expected=f"columns {STAMP}, {', '.join(BAR_FIELDS)}",
                got=", ".join(columns) or "no columns",
                remedy="rename or add the columns; see docs/data.md",
            )
        has_range = "open" in columns
        has_volume = "volume" in columns
        fields = {
            field: numbers(frame[field if field in columns else "close"]) for field in PRICE_FIELDS
        }
        fields["volume"] = numbers(frame["volume"]) if has_volume else np.zeros(len(frame))
        return cls(
            name=name,
            stamps=read_stamps(frame[STAMP] if STAMP in columns else frame.index),
            fields=fields,
            has_range=has_range,
            has_volume=has_volume,
        )


def column_problem(columns: list[str], *, indexed: bool) -> str:
    """What is wrong with the columns of a frame; empty if nothing."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        return f"columns appear twice: {', '.join(twice)}"
    missing = [] if indexed or STAMP in columns else [STAMP]
    ranged = [name for name in PRICE_FIELDS[:3] if name in columns]
    if ranged:  # a range is complete or absent
        missing += [name for name in PRICE_FIELDS[:3] if name not in columns]
    missing += [] if "close" in columns else ["close"]
    return f"columns are missing: {', '.join(missing)}" if missing else ""


def numbers(column: pd.Series) -> np.ndarray:
    """A column as floats; NaN where a cell is no number."""
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
