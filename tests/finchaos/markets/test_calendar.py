"""Sessions against dates known from elsewhere."""

from __future__ import annotations

import pandas as pd
import pytest

from finchaos.core.errors import DataError
from finchaos.markets import load_builtin
from finchaos.markets.calendar import best_calendar, expected_days, nyse_holidays
from finchaos.markets.sessions import regular_closes, session_closes


def days(calendar: str, first: str, last: str) -> pd.DatetimeIndex:
    return expected_days(calendar, pd.Timestamp(first), pd.Timestamp(last))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["spx", "skfolio", "great_tables"])
def test_every_session_of_the_index_and_no_other(name: str) -> None:
    traded = load_builtin(name).index.tz_localize(None).normalize()
    expected = expected_days("nyse", traded[0], traded[-1])
    assert expected.difference(traded).empty
    assert traded.difference(expected).empty


@pytest.mark.parametrize(
    ("year", "sessions"),
    [(1996, 254), (2001, 248), (2008, 253), (2018, 251), (2023, 250), (2024, 252), (2025, 250)],
)
def test_sessions_a_year(year: int, sessions: int) -> None:
    """Published counts of trading days of the exchange."""
    assert len(days("nyse", f"{year}-01-01", f"{year}-12-31")) == sessions


def test_holidays_of_2024_as_the_exchange_published_them() -> None:
    closed = nyse_holidays(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31"))
    assert [f"{day:%m-%d}" for day in closed] == [
        "01-01", "01-15", "02-19", "03-29", "05-27", "06-19", "07-04", "09-02", "11-28", "12-25",
    ]  # fmt: skip


def test_the_best_calendar_survives_gaps() -> None:
    sessions = days("nyse", "2004-01-01", "2006-12-31")
    assert best_calendar(sessions.delete([3, 50, 51, 200])) == "nyse"
    assert best_calendar(days("weekdays", "2004-01-01", "2004-12-31")) == "weekdays"
    assert best_calendar(days("every_day", "2004-01-01", "2004-12-31")) == "every_day"
    assert best_calendar(days("weekdays", "1960-01-01", "1960-12-31")) == "weekdays"


def test_closes_follow_summer_time() -> None:
    closes = session_closes(pd.DatetimeIndex(["2018-03-09", "2018-03-12", "2018-11-05"]))
    assert [stamp.hour for stamp in closes] == [21, 20, 21]
    with pytest.raises(DataError, match="plain dates"):
        session_closes(closes)


def test_regular_closes_skip_weekends_only() -> None:
    stamps = regular_closes("2000-01-01", 6, 252)
    assert [str(s.date()) for s in stamps][:2] == ["2000-01-03", "2000-01-04"]
    assert str(stamps[5].date()) == "2000-01-10"
    assert len(regular_closes("2000-01-03", 50_000, 252)) == 50_000
