"""Whether new bars go on where the bars of a run end."""

from __future__ import annotations

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bars
from finchaos.core.errors import DataError

LONGEST_GAP = 2.0
"""Of a gap before the first new bar, in units of the longest gap in the run's bars."""
_TOLERANCE = 1e-9


def continuation(old: Bars, brought: Bars) -> Bars:
    """The brought bars that come after the old ones.

    Bars may be brought again that the run had: they must be the same.

    Parameters
    ----------
    old : Bars
        Of the run.
    brought : Bars
        Of the same instrument; the whole history or what is new of it.

    Raises
    ------
    DataError
        If they contradict the old bars, leave a gap, lack the range or bring nothing new.
    """
    if old.has_range and not brought.has_range:
        raise DataError(
            "the new bars hold closes only, the run's have a range", remedy="bring all four prices"
        )
    seen = int(np.asarray(brought.index <= old.index[-1]).sum())
    if seen:
        _require_same(old, brought.rows(0, seen))
    new = brought.rows(seen)
    if not len(new):
        raise DataError(
            "there is no new bar to look at",
            expected=f"bars after {old.index[-1].isoformat()}, where the run ends",
            got=f"the last at {brought.index[-1].isoformat()}",
        )
    _require_near(old.index, new.index[0])
    return new


def _require_same(old: Bars, again: Bars) -> None:
    at = old.index.get_indexer(again.index)
    inside = again.index >= old.index[0]
    unknown = np.flatnonzero((at < 0) & np.asarray(inside))
    if len(unknown):
        raise DataError(
            "the new bars contradict the run's",
            expected="no bar between the first and the last of the run that it did not have",
            got=f"{len(unknown)}, first at {again.index[unknown[0]].isoformat()}",
        )
    kept = at >= 0
    fields = BAR_FIELDS if old.has_range else ("close", "volume")
    for name in fields:
        before, now = getattr(old, name)[at[kept]], getattr(again, name)[kept]
        other = np.flatnonzero(~np.isclose(before, now, rtol=_TOLERANCE, atol=0.0))
        if len(other):
            row = other[0]
            raise DataError(
                "the new bars contradict the run's",
                expected=f"{name} {before[row]!r} at {again.index[kept][row].isoformat()}",
                got=f"{now[row]!r}; {len(other)} values differ",
                remedy="bring the bars that the run was made of, or validate anew on these",
            )


def _require_near(index: pd.DatetimeIndex, first: pd.Timestamp) -> None:
    longest = np.diff(index.as_unit("ns").asi8).max()
    gap = (first - index[-1]).value
    if gap > LONGEST_GAP * longest:
        raise DataError(
            "bars are missing between the run's and the new ones",
            expected=f"the next bar within {pd.Timedelta(int(LONGEST_GAP * longest))} of "
            f"{index[-1].isoformat()}",
            got=first.isoformat(),
            remedy="bring all bars since the run's last: the model replays them",
        )
