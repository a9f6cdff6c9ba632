"""Bars that should be there and are not, and bars that should not be there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from finchaos.markets.calendar import NYSE_RULES_SINCE, best_calendar, expected_days
from finchaos.markets.faults import EXAMPLES, Fault
from finchaos.markets.sessions import EXCHANGE_ZONE
from finchaos.markets.usable import Settings, UsableRows

OWN_RHYTHM = "own rhythm"
LONG_STEP = 1.75
"""Steps longer than this many usual ones have bars missing inside."""

YearRow = tuple[int, int, int]
"""Year, sessions expected, sessions missing."""


def session_faults(
    rows: UsableRows, settings: Settings
) -> tuple[str, tuple[Fault, ...], tuple[YearRow, ...]]:
    """Missing and unexpected sessions, bars missing inside sessions, filled holidays.

    Returns
    -------
    (str, tuple of Fault, tuple of (year, expected, missing))
        The calendar that was expected, what was found, and missing sessions by year.
    """
    if rows.spacing == "longer" or len(rows) < 2:
        return OWN_RHYTHM, tuple(_rhythm_faults(rows)), ()
    days = rows.days.unique()
    calendar = best_calendar(days) if settings.calendar == "auto" else settings.calendar
    expected = expected_days(calendar, days[0], days[-1])
    missing = expected.difference(days)
    faults = (
        Fault(
            "missing_sessions",
            "Days the calendar expects that have no bar",
            len(missing),
            len(expected),
            examples=tuple(str(day.date()) for day in missing[:EXAMPLES]),
        ),
        _unexpected(rows, days.difference(expected)),
        _missing_inside(rows),
        _filled(rows),
        _odd_times(rows),
    )
    lost, due = missing.year.value_counts(), expected.year.value_counts()
    years = tuple((int(y), int(due[y]), int(lost.get(y, 0))) for y in sorted(due.index))
    return calendar, faults, years


def _unexpected(rows: UsableRows, days: pd.DatetimeIndex) -> Fault:
    return rows.fault(
        "unexpected_sessions",
        "Bars on days the calendar does not expect, such as weekends",
        np.asarray(rows.days.isin(days)),
        len(rows),
        lambda row: str(rows.days[row].day_name()),
    )


def _missing_inside(rows: UsableRows) -> Fault:
    """Bars missing between two bars of one session; early and late ones are not counted."""
    if rows.spacing != "intraday":
        return Fault("missing_intraday_bars", "Bars missing inside a session", 0, len(rows))
    steps = rows.steps_seconds
    usual = float(np.median(steps))
    same_day = np.asarray(rows.days[1:] == rows.days[:-1])
    holes = same_day & (steps > LONG_STEP * usual)
    lost = int(np.round(steps[holes] / usual - 1).sum())
    examples = tuple(
        f"after {rows.index[row].isoformat()}: {steps[row] / usual - 1:.0f} bars"
        for row in np.flatnonzero(holes)[:EXAMPLES].tolist()
    )
    return Fault(
        "missing_intraday_bars", "Bars missing inside a session", lost, len(rows) + lost,
        examples=examples,
    )  # fmt: skip


def _filled(rows: UsableRows) -> Fault:
    """Rows that repeat the last close on a day without trading."""
    close, volume = rows.fields["close"], rows.fields["volume"]
    unchanged = np.zeros(len(rows), dtype=bool)
    unchanged[1:] = close[1:] == close[:-1]
    closed = np.zeros(len(rows), dtype=bool)
    if rows.days[-1] >= NYSE_RULES_SINCE:
        open_days = expected_days("nyse", max(rows.days[0], NYSE_RULES_SINCE), rows.days[-1])
        closed = (rows.days >= NYSE_RULES_SINCE) & ~rows.days.isin(open_days)
    idle = (volume == 0) & rows.has_volume & (rows.spacing == "daily")
    return rows.fault(
        "filled_holidays",
        "Bars that repeat the close before on a holiday or without any volume",
        unchanged & (np.asarray(closed) | idle),
        len(rows),
    )


def _odd_times(rows: UsableRows) -> Fault:
    """Daily bars that close at another time of day than most, by UTC and by New York time."""
    odd = np.zeros(len(rows), dtype=bool)
    if rows.spacing == "daily":
        local = rows.index.tz_convert(EXCHANGE_ZONE)
        for clock in (rows.index, local):
            minutes = np.asarray(clock.hour * 60 + clock.minute)
            times, counts = np.unique(minutes, return_counts=True)
            unusual = minutes != times[np.argmax(counts)]
            odd = unusual if clock is rows.index else odd & unusual
    return rows.fault(
        "odd_stamp_times",
        "Daily bars stamped at another time of day than most, in UTC and in New York",
        odd,
        len(rows),
        lambda row: f"{rows.index[row]:%H:%M} UTC",
    )


def _rhythm_faults(rows: UsableRows) -> Iterator[Fault]:
    """Missing bars by the usual distance between bars, where no calendar of days applies."""
    steps = rows.steps_seconds
    usual = float(np.median(steps)) if len(steps) else 1.0
    holes = steps > LONG_STEP * usual
    lost = int(np.round(steps[holes] / usual - 1).sum())
    yield Fault(
        "missing_sessions",
        "Bars missing by the usual distance between bars",
        lost,
        len(rows) + lost,
        examples=tuple(
            f"after {rows.index[row].date()}" for row in np.flatnonzero(holes)[:EXAMPLES].tolist()
        ),
    )
    for name, meaning in (
        ("unexpected_sessions", "Bars on days the calendar does not expect, such as weekends"),
        ("missing_intraday_bars", "Bars missing inside a session"),
        ("filled_holidays", "Bars that repeat the close before on a holiday or without any volume"),
        ("odd_stamp_times", "Daily bars stamped at another time of day than most"),
    ):
        yield Fault(name, meaning, 0, len(rows))
