"""Time stamps of exchange sessions."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError

EXCHANGE_ZONE = ZoneInfo("America/New_York")
CLOSE_TIME = pd.Timedelta(hours=16)
SESSION_MINUTES = 390
SESSIONS_PER_YEAR = 252


def session_closes(days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """When the regular session of each day ended at the New York exchange, in UTC.

    Parameters
    ----------
    days : pandas.DatetimeIndex, shape (t,)
        Dates without a time zone.

    Returns
    -------
    pandas.DatetimeIndex, shape (t,)
        16:00 New York time: 21:00 UTC in winter, 20:00 in summer. Days on which the exchange
        closed early carry the regular time too: what was known then was known at 16:00.

    Raises
    ------
    DataError
        If the days carry a time zone.

    Examples
    --------
    >>> [str(t) for t in session_closes(pd.DatetimeIndex(["2018-01-02", "2018-07-02"]))]
    ['2018-01-02 21:00:00+00:00', '2018-07-02 20:00:00+00:00']
    """
    if days.tz is not None:
        raise DataError(
            "session days must be plain dates", expected="no time zone", got=str(days.tz)
        )
    local = (days.normalize() + CLOSE_TIME).tz_localize(EXCHANGE_ZONE)
    return local.tz_convert("UTC")


def regular_closes(first_day: str, count: int, bars_per_year: float) -> pd.DatetimeIndex:
    """Close times of ``count`` bars on weekdays, for simulated markets that have no holidays.

    Parameters
    ----------
    first_day : str
        ISO date of the first session.
    count : int
    bars_per_year : float
        252 or fewer gives a bar a weekday; more divides the session of 390 minutes evenly, the
        last bar of a session closing at 16:00 New York time.

    Examples
    --------
    >>> [str(t) for t in regular_closes("2000-01-03", 2, 252 * 390)]
    ['2000-01-03 14:31:00+00:00', '2000-01-03 14:32:00+00:00']
    """
    per_session = max(1, round(bars_per_year / SESSIONS_PER_YEAR))
    sessions = -(-count // per_session)
    dates = np.busday_offset(first_day, np.arange(sessions), roll="forward")
    days = pd.DatetimeIndex(dates.astype("datetime64[us]"))
    closes = session_closes(days).repeat(per_session)
    step = pd.Timedelta(minutes=SESSION_MINUTES) / per_session
    back = pd.TimedeltaIndex([step * (per_session - 1 - k) for k in range(per_session)])
    stamps = closes - pd.TimedeltaIndex(list(back) * sessions)
    return pd.DatetimeIndex(stamps[:count])
