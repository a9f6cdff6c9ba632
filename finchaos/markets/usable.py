"""The rows of raw bars that can be used, in time order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from finchaos.core.bars import PRICE_FIELDS
from finchaos.markets.calendar import CalendarName
from finchaos.markets.faults import EXAMPLES, Fault
from finchaos.markets.table import RawTable

Spacing = Literal["intraday", "daily", "longer"]
INTRADAY_BELOW_DAYS = 0.5
LONGER_FROM_DAYS = 4.0


@dataclass(frozen=True)
class Settings:
    """What counts as missing, stale or extreme.

    Attributes
    ----------
    calendar : {"auto", "nyse", "weekdays", "every_day"}
        Which days to expect of daily bars; ``auto`` takes the calendar that fits best.
    stale_run : int
        Equal closes in a row from which they are called stale.
    extreme_multiple : float
        Robust standard deviations, over the 250 bars before, beyond which a return is extreme.
    """

    calendar: CalendarName | Literal["auto"] = "auto"
    stale_run: int = 3
    extreme_multiple: float = 10.0


@dataclass(frozen=True, eq=False)
class UsableRows:
    """The rows of a table that could be bars, sorted, the first of each stamp.

    Attributes
    ----------
    index : pandas.DatetimeIndex, shape (t,), UTC
    fields : dict of str to numpy.ndarray, shape (t,)
    has_range, has_volume : bool
    """

    index: pd.DatetimeIndex
    fields: dict[str, np.ndarray]
    has_range: bool
    has_volume: bool

    @classmethod
    def of(cls, table: RawTable) -> UsableRows:
        """Leave out what row faults make unusable."""
        prices = np.stack([table.fields[name] for name in PRICE_FIELDS])
        sound = np.isfinite(prices).all(axis=0) & (prices > 0).all(axis=0)
        keep = np.flatnonzero(sound & ~np.asarray(table.stamps.instants.isna()))
        index = table.stamps.instants[keep]
        order = np.argsort(index.asi8, kind="stable")
        order = order[~np.asarray(index[order].duplicated())]
        fields = {name: column[keep[order]] for name, column in table.fields.items()}
        return cls(index[order], fields, table.has_range, table.has_volume)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def days(self) -> pd.DatetimeIndex:
        """UTC date of each row, without zone: the session's date in America, Europe and Asia."""
        return self.index.tz_localize(None).normalize()

    @property
    def spacing(self) -> Spacing:
        """Whether bars are shorter than a day, a day, or longer."""
        if len(self) < 2:
            return "daily"
        step = float(np.median(self.steps_seconds)) / 86_400
        if step < INTRADAY_BELOW_DAYS:
            return "intraday"
        return "daily" if step < LONGER_FROM_DAYS else "longer"

    @property
    def steps_seconds(self) -> np.ndarray:
        """Seconds from each row to the next, shape (t - 1,)."""
        return np.diff(self.index.as_unit("us").asi8) / 1e6

    def fault(
        self,
        name: str,
        meaning: str,
        bad: np.ndarray,
        of: int,
        detail: Callable[[int], str] = lambda row: "",
    ) -> Fault:
        """A fault counted in rows, with the first few as examples."""
        found = np.flatnonzero(bad)
        shown = []
        for row in found[:EXAMPLES].tolist():
            moment = self.index[row]
            stamp = moment.isoformat() if self.spacing == "intraday" else str(moment.date())
            shown.append(": ".join(part for part in (stamp, detail(row)) if part))
        return Fault(name, meaning, len(found), of, examples=tuple(shown))
