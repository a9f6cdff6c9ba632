"""What a feed may say, and how a frame of text becomes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bar

LONGEST_FRAME = 4096
_SHOWN = 40


@dataclass(frozen=True)
class Delivered:
    """A bar of the instrument, right or wrong.

    Attributes
    ----------
    bar : Bar
    number : int or None
        Where the feed numbers its frames.
    """

    bar: Bar
    number: int | None = None


@dataclass(frozen=True)
class Refused:
    """A frame that is no bar of the instrument.

    Attributes
    ----------
    reason : str
        Its name, then what was found.
    """

    reason: str


@dataclass(frozen=True)
class Missed:
    """Frames that the feed numbered and did not deliver."""

    count: int


@dataclass(frozen=True)
class Silence:
    """Nothing came for as long as the feed was given, and what its clock says."""

    now: pd.Timestamp


Event: TypeAlias = Delivered | Refused | Missed | Silence


def read_frame(frame: str | bytes, symbol: str) -> Delivered | Refused:
    """A bar from a frame: a JSON object of symbol, ts, the five fields, and optionally number.

    ``ts`` is the close as ISO 8601 with a zone, or as nanoseconds since 1970 UTC. NaN and
    infinities are passed on: they are for the guard to find.

    Examples
    --------
    >>> read_frame('{"symbol": "B"}', "A").reason
    'wrong_symbol: B'
    """
    if isinstance(frame, bytes):
        return Refused("not_text: a binary frame")
    if len(frame) > LONGEST_FRAME:
        return Refused(f"too_long: {len(frame)} characters")
    try:
        said = json.loads(frame)
    except (ValueError, RecursionError):
        return Refused(f"not_json: {frame[:_SHOWN]}")
    if not isinstance(said, dict):
        return Refused(f"not_an_object: {frame[:_SHOWN]}")
    if said.get("symbol", symbol) != symbol:
        return Refused(f"wrong_symbol: {str(said['symbol'])[:_SHOWN]}")
    missing = [name for name in ("symbol", "ts", *BAR_FIELDS) if name not in said]
    if missing:
        return Refused(f"missing_fields: {', '.join(missing)}")
    return _bar(said)


def _bar(said: dict[str, Any]) -> Delivered | Refused:
    for name in BAR_FIELDS:
        if isinstance(said[name], bool) or not isinstance(said[name], int | float):
            return Refused(f"not_a_number: {name} {str(said[name])[:_SHOWN]}")
    ts = _stamp(said["ts"])
    if ts is None:
        return Refused(f"bad_time: {str(said['ts'])[:_SHOWN]}")
    number = said.get("number")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        return Refused(f"bad_number: {str(number)[:_SHOWN]}")
    try:
        values = [float(said[name]) for name in BAR_FIELDS]
    except OverflowError:
        return Refused("not_a_number: an integer too large")
    return Delivered(Bar(ts, *values), number)


def _stamp(said: Any) -> pd.Timestamp | None:
    """A zoned time, or None if it is none."""
    try:
        if isinstance(said, int) and not isinstance(said, bool):
            return pd.Timestamp(said, unit="ns", tz="UTC")
        found = pd.Timestamp(said) if isinstance(said, str) else pd.NaT
        if pd.isna(found) or found.tz is None:
            return None
        return found.tz_convert("UTC").as_unit("ns")
    except (ValueError, OverflowError):
        return None
