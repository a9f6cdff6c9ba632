"""Which days a market should have traded, so that missing days can be told from holidays.

The holidays of the New York Stock Exchange follow rules; its unscheduled closures are facts. Both
are complete from 1971, when its present rules began, and agree with every session of the S&P 500
from then to 2022.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pandas.tseries.holiday import (
    AbstractHolidayCalendar,
    GoodFriday,
    Holiday,
    USLaborDay,
    USMemorialDay,
    USPresidentsDay,
    USThanksgivingDay,
    nearest_workday,
    sunday_to_monday,
)

CalendarName = Literal["nyse", "weekdays", "every_day"]
CALENDARS: tuple[CalendarName, ...] = ("nyse", "weekdays", "every_day")
NYSE_RULES_SINCE = pd.Timestamp("1971-01-01")

UNSCHEDULED_CLOSURES = (
    "1972-12-28",  # funeral of President Truman
    "1973-01-25",  # funeral of President Johnson
    "1977-07-14",  # blackout in New York
    "1985-09-27",  # hurricane Gloria
    "1994-04-27",  # funeral of President Nixon
    "2001-09-11",  # attacks of 11 September
    "2001-09-12",
    "2001-09-13",
    "2001-09-14",
    "2004-06-11",  # funeral of President Reagan
    "2007-01-02",  # funeral of President Ford
    "2012-10-29",  # hurricane Sandy
    "2012-10-30",
    "2018-12-05",  # funeral of President G. H. W. Bush
    "2025-01-09",  # funeral of President Carter
)


class _NyseHolidays(AbstractHolidayCalendar):
    """Scheduled holidays; New Year's Day on a Saturday is not made up for."""

    rules = [  # noqa: RUF012  (the base class declares it so)
        Holiday("New Year's Day", month=1, day=1, observance=sunday_to_monday),
        Holiday(
            "Martin Luther King Day",
            month=1,
            day=1,
            offset=pd.offsets.WeekOfMonth(week=2, weekday=0),
            start_date=pd.Timestamp("1998-01-01"),
        ),
        USPresidentsDay,
        GoodFriday,
        USMemorialDay,
        Holiday(
            "Juneteenth",
            month=6,
            day=19,
            observance=nearest_workday,
            start_date=pd.Timestamp("2022-01-01"),
        ),
        Holiday("Independence Day", month=7, day=4, observance=nearest_workday),
        USLaborDay,
        USThanksgivingDay,
        Holiday("Christmas Day", month=12, day=25, observance=nearest_workday),
    ]


PRESIDENTIAL_ELECTION_DAYS = ("1972-11-07", "1976-11-02", "1980-11-04")
"""The last elections on which the exchange stayed closed."""


def nyse_holidays(first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Weekdays from ``first`` to ``last`` on which the exchange stayed closed.

    Parameters
    ----------
    first, last : pandas.Timestamp
        Plain dates. Before 1971 nothing is known and nothing returned.

    Examples
    --------
    >>> closed = nyse_holidays(pd.Timestamp("2018-12-01"), pd.Timestamp("2018-12-31"))
    >>> [str(day.date()) for day in closed]
    ['2018-12-05', '2018-12-25']
    """
    scheduled = _NyseHolidays().holidays(NYSE_RULES_SINCE, max(last, NYSE_RULES_SINCE))
    extra = pd.DatetimeIndex([*UNSCHEDULED_CLOSURES, *PRESIDENTIAL_ELECTION_DAYS])
    days = pd.DatetimeIndex(scheduled).union(extra)
    return days[(days >= first) & (days <= last) & (days.day_of_week < 5)]


def expected_days(
    calendar: CalendarName, first: pd.Timestamp, last: pd.Timestamp
) -> pd.DatetimeIndex:
    """Days on which a market with this calendar trades, both ends included."""
    if calendar == "every_day":
        return pd.date_range(first, last, freq="D")
    weekdays = pd.date_range(first, last, freq="B")
    if calendar == "weekdays":
        return weekdays
    return weekdays.difference(nyse_holidays(first, last))


def best_calendar(days: pd.DatetimeIndex) -> CalendarName:
    """The calendar with the fewest days missing from it or standing outside it.

    Parameters
    ----------
    days : pandas.DatetimeIndex
        Plain dates, unique. The New York calendar is only considered from 1971.
    """
    first, last = days.min(), days.max()
    known = [name for name in CALENDARS if name != "nyse" or first >= NYSE_RULES_SINCE]

    def disagreement(name: CalendarName) -> int:
        expected = expected_days(name, first, last)
        return len(expected.symmetric_difference(days))

    return min(known, key=disagreement)
