"""Reading time stamps that may be anything, and saying what is wrong with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

UTC_OFFSETS = frozenset({"Z", "z", "+00:00", "+0000", "+00", "-00:00"})
_OFFSET = r"[T ]\d{2}:?\d{2}.*?(Z|z|[+-]\d{2}(?::?\d{2})?)$"


@dataclass(frozen=True, eq=False)
class Stamps:
    """Time stamps as read.

    Attributes
    ----------
    instants : pandas.DatetimeIndex, shape (t,)
        UTC; NaT where unreadable. Stamps without a zone are taken for UTC here.
    naive : numpy.ndarray, shape (t,), bool
        No zone was given.
    offsets : numpy.ndarray, shape (t,), str
        The offset from UTC as written, ``+00:00`` for UTC; empty where naive or unreadable.
    text : numpy.ndarray, shape (t,), str
        The stamps as they came, where they came as text.
    """

    instants: pd.DatetimeIndex
    naive: np.ndarray
    offsets: np.ndarray
    text: np.ndarray


def read_stamps(values: Any) -> Stamps:
    """Interpret an index or column of time stamps: datetimes, or text in ISO 8601.

    Numbers are not stamps: whether they count seconds or nanoseconds cannot be known.
    """
    series = pd.Series(values).reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _from_datetimes(pd.DatetimeIndex(series))
    text = series.map(lambda v: "" if v is None or v is pd.NaT or v != v else str(v).strip())
    text = text.astype(object)
    instants = pd.DatetimeIndex(
        pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    ).as_unit("us")
    # A bare number such as 20180102 would pass for a compact date, or 2018 for a year.
    bare = text.str.fullmatch(r"[+-]?\d+(\.\d+)?").to_numpy(dtype=bool)
    instants = pd.DatetimeIndex(instants.where(~bare))
    found = text.str.extract(_OFFSET, expand=False).fillna("").to_numpy(dtype=object)
    offsets = np.array(["+00:00" if mark in UTC_OFFSETS else mark for mark in found], dtype=object)
    readable = ~np.asarray(instants.isna())
    offsets[~readable] = ""
    return Stamps(
        instants=instants,
        naive=readable & (offsets == ""),
        offsets=offsets,
        text=text.to_numpy(dtype=object),
    )


def _from_datetimes(index: pd.DatetimeIndex) -> Stamps:
    present = ~np.asarray(index.isna())
    blank = np.full(len(index), "", dtype=object)
    if index.tz is None:
        instants = index.tz_localize("UTC")
        return Stamps(instants, naive=present, offsets=blank, text=blank)
    # One declared zone is one zone, however its offset moves with the season.
    zone = "+00:00" if str(index.tz) == "UTC" else str(index.tz)
    offsets = np.where(present, zone, "").astype(object)
    return Stamps(index.tz_convert("UTC"), np.zeros(len(index), dtype=bool), offsets, blank)
