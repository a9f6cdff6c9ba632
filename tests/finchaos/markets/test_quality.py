"""The quality report: quiet on clean bars, loud on each planted fault, right about real data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.markets import inspect, load_builtin
from finchaos.markets.calendar import expected_days
from finchaos.markets.sessions import regular_closes, session_closes
from finchaos.markets.simulate.heston import HestonConfig, simulate
from finchaos.markets.usable import Settings

N = 600


def frame(seed: int = 2, bars_per_year: float = 252.0) -> pd.DataFrame:
    """Clean bars on the sessions of the New York exchange."""
    config = HestonConfig(bars_per_year=bars_per_year)
    paths = simulate(config, 1, N, random_stream(seed, "test.quality"))
    table = paths.bars(0).frame()
    if bars_per_year == 252.0:
        days = expected_days("nyse", pd.Timestamp("2004-01-02"), pd.Timestamp("2007-12-31"))[:N]
        table.index = session_closes(days)
    table.index.name = "ts"
    return table


@pytest.fixture
def clean() -> Any:
    return frame()


def found(table: pd.DataFrame | Bars, **settings: object) -> dict[str, int]:
    chosen = Settings(**settings) if settings else None  # type: ignore[arg-type]
    return {fault.name: fault.count for fault in inspect(table, settings=chosen).found}


def test_clean_bars_have_no_fault_but_an_open_at_the_close_before(clean: Any) -> None:
    """The simulator has no overnight gap, and the report says so."""
    report = inspect(clean)
    assert found(clean) == {"open_equals_prior_close": N - 1}
    assert report.fault("open_equals_prior_close").share == 1.0
    assert report.calendar == "nyse"
    assert report.refusals == ()
    assert (report.rows, report.usable, report.spacing) == (N, N, "daily")


@pytest.mark.parametrize("seed", range(6))
def test_false_alarms_on_simulated_weekdays_are_rare(seed: int) -> None:
    paths = simulate(HestonConfig(), 1, 2000, random_stream(seed, "test.null"))
    report = inspect(paths.bars(0))
    assert report.calendar == "weekdays"
    assert {f.name for f in report.found} <= {"open_equals_prior_close", "extreme_returns"}
    assert report.count("extreme_returns") <= 2


def scaled(table: Any, rows: slice, factor: float) -> pd.DataFrame:
    prices = ["open", "high", "low", "close"]
    table.iloc[rows, [table.columns.get_loc(p) for p in prices]] *= factor
    return table


def put(table: Any, row: int, **cells: float) -> pd.DataFrame:
    for name, value in cells.items():
        table.iloc[row, table.columns.get_loc(name)] = value
    return table


def repeat_close(table: pd.DataFrame, rows: range) -> pd.DataFrame:
    for row in rows:
        level = float(table["close"].iloc[row - 1])
        put(table, row, open=level, high=level, low=level, close=level)
    return table


PLANTED: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], int, str]] = {
    "duplicate_stamps": (lambda t: pd.concat([t.iloc[:50], t.iloc[49:]]), 1, "row 51"),
    "unsorted_rows": (lambda t: pd.concat([t.iloc[1:3], t.iloc[:1], t.iloc[3:]]), 1, "row 3"),
    "unusable_values": (lambda t: put(t, 7, high=np.nan), 1, "row 8"),
    "nonpositive_prices": (lambda t: put(t, 7, low=0.0), 1, "low 0"),
    "negative_volume": (lambda t: put(t, 7, volume=-5.0), 1, "-5"),
    "high_below_low": (lambda t: put(t, 7, high=1.0, low=2.0), 1, "high 1, low 2"),
    "outside_range": (lambda t: put(t, 7, high=float(t["close"].iloc[7]) - 1e-6), 1, "row 8"),
    "missing_sessions": (lambda t: t.drop(t.index[[100, 101, 300]]), 3, "2004-05-26"),
    "suspected_splits": (lambda t: scaled(t, slice(200, None), 0.5), 1, "2 to 1"),
    "suspected_bad_prices": (lambda t: scaled(t, slice(200, 201), 1.6), 1, "+5"),
    "stale_bars": (lambda t: repeat_close(t, range(200, 204)), 4, "close"),
    "flat_bars": (lambda t: repeat_close(t, range(200, 201)), 1, "2004"),
    "extreme_returns": (lambda t: scaled(t, slice(200, None), 0.75), 1, "-2"),
    "zero_volume_bars": (lambda t: put(put(t, 7, volume=0.0), 9, volume=0.0), 2, "2004-01"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_fault_is_counted_with_an_example(name: str, clean: Any) -> None:
    plant, count, example = PLANTED[name]
    assert inspect(clean).count(name) == 0
    report = inspect(plant(clean))
    assert report.count(name) == count
    assert example in report.fault(name).examples[0]
    assert name in str(report)


def test_filled_holidays_are_found_on_a_grid_of_weekdays(clean: Any) -> None:
    """A feed that repeats the last close on holidays has no gap: the repetition gives it away."""
    days = clean.index.tz_localize(None).normalize()
    grid = pd.bdate_range(days[0], days[-1])
    filled = clean.set_index(days).reindex(grid).ffill()
    filled.index = session_closes(grid)
    report = inspect(filled)
    assert report.calendar == "weekdays"
    assert report.count("missing_sessions") == 0
    assert report.count("filled_holidays") == len(grid) - N
    assert "2004-01-19" in report.fault("filled_holidays").examples[0]


def test_weekend_rows_are_unexpected(clean: Any) -> None:
    saturday = clean.iloc[[5]].set_index(clean.index[[5]] + pd.Timedelta(days=1))
    table = pd.concat([clean, saturday]).sort_index()
    fault = inspect(table).fault("unexpected_sessions")
    assert fault.count == 1
    assert fault.examples == ("2004-01-10: Saturday",)


def test_stamps_in_another_zone_are_found_before_and_after_conversion(
    clean: Any,
) -> None:
    text = clean.reset_index()
    text["ts"] = [stamp.isoformat() for stamp in clean.index]
    text.loc[10:12, "ts"] = [
        stamp.tz_convert("Asia/Tokyo").isoformat() for stamp in clean.index[10:13]
    ]
    assert inspect(text).count("mixed_zones") == 3
    text.loc[20, "ts"] = "2004-02-02T21:00:00"
    text.loc[21, "ts"] = "yesterday"
    report = inspect(text)
    assert report.count("naive_stamps") == 1
    assert report.count("unreadable_stamps") == 1
    shifted = clean.copy()
    shifted.index = pd.DatetimeIndex(
        [*clean.index[:5], clean.index[5] - pd.Timedelta(hours=9), *clean.index[6:]]
    )
    assert found(shifted)["odd_stamp_times"] == 1
    assert "odd_stamp_times" not in found(clean)


def test_summer_time_is_one_zone(clean: Any) -> None:
    """Stamps carrying New York's changing offset are one zone as datetimes, two as text."""
    local = clean.copy()
    local.index = clean.index.tz_convert("America/New_York")
    assert inspect(local).count("mixed_zones") == 0
    text = local.reset_index()
    text["ts"] = [stamp.isoformat() for stamp in local.index]
    assert inspect(text).count("mixed_zones") > 0


def test_minutes_missing_inside_sessions_are_counted() -> None:
    table = frame(bars_per_year=252.0 * 390)
    assert inspect(table).spacing == "intraday"
    assert inspect(table).count("missing_intraday_bars") == 0
    holes = table.drop(table.index[[100, 101, 102, 200]])
    report = inspect(holes)
    assert report.count("missing_intraday_bars") == 4
    assert report.count("missing_sessions") == 0


def test_monthly_bars_are_judged_by_their_own_rhythm(clean: Any) -> None:
    table = clean.iloc[:60].set_index(pd.date_range("2000-01-31", periods=60, freq="ME", tz="UTC"))
    report = inspect(table)
    assert (report.calendar, report.spacing) == ("own rhythm", "longer")
    assert report.count("missing_sessions") == 0
    assert inspect(table.drop(table.index[[10, 11]])).count("missing_sessions") == 2


def test_the_calendar_can_be_named(clean: Any) -> None:
    inner = clean.iloc[1:-2]  # from a Monday to a Wednesday
    without_fridays = inner[inner.index.day_of_week != 4]
    missing = found(without_fridays, calendar="nyse")["missing_sessions"]
    assert missing == len(inner) - len(without_fridays) > 100
    days = pd.date_range("2004-01-01 00:00", periods=N, tz="UTC")
    assert inspect(clean.set_index(days)).calendar == "every_day"


def test_missing_sessions_by_year_add_up(clean: Any) -> None:
    report = inspect(clean.drop(clean.index[[5, 6, 400]]))
    assert [(y, m) for y, _, m in report.missing_by_year] == [(2004, 2), (2005, 1), (2006, 0)]
    assert sum(due for _, due, _ in report.missing_by_year) == N


def test_a_crisis_is_extreme_but_neither_a_split_nor_a_bad_price() -> None:
    crash = inspect(load_builtin("great_tables", "1986-01-02", "1989-12-29"))
    assert "1987-10-19: -20.47%" in crash.fault("extreme_returns").examples
    for name in ("spx", "skfolio", "great_tables"):
        report = inspect(load_builtin(name))
        assert report.calendar == "nyse"
        assert report.refusals == ()
        for quiet in ("missing_sessions", "unexpected_sessions", "suspected_splits",
                      "suspected_bad_prices", "filled_holidays", "odd_stamp_times"):  # fmt: skip
            assert report.count(quiet) == 0


def test_known_weakness_of_the_open_is_reported() -> None:
    """Most opens before 2009 repeat the close before: documented for this feed."""
    share = inspect(load_builtin("great_tables")).fault("open_equals_prior_close").share
    assert share == pytest.approx(0.643, abs=0.001)


def test_scales_know_nothing_of_the_future(clean: Any) -> None:
    """Whether a return is extreme does not change when later rows do."""
    crash = scaled(clean, slice(200, None), 0.75)
    wild = crash.copy()
    wild.iloc[300:] = wild.iloc[300:] * np.linspace(1, 9, N - 300)[:, None]
    first = inspect(crash.iloc[:300]).fault("extreme_returns").examples
    assert first == inspect(wild).fault("extreme_returns").examples[: len(first)]
    assert first


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_tiny_tables_can_be_inspected(rows: int, clean: Any) -> None:
    report = inspect(clean.iloc[:rows])
    assert report.usable == rows
    assert str(report)


def test_hopeless_rows_leave_a_report(clean: Any) -> None:
    clean["close"] = "n/a"
    report = inspect(clean.astype({"close": object}))
    assert report.usable == 0
    assert report.count("unusable_values") == N


def test_missing_columns_and_odd_settings_are_refused(clean: Any) -> None:
    with pytest.raises(DataError, match="columns are missing: low"):
        inspect(clean.drop(columns="low"))
    with pytest.raises(DataError, match="columns are missing: ts"):
        inspect(clean.reset_index(drop=True))
    with pytest.raises(DataError, match="stale_run"):
        inspect(clean, settings=Settings(stale_run=1))


def test_closes_alone_are_enough(clean: Any) -> None:
    assert found(clean[["close"]]) == {}


def test_simulated_minutes_close_sessions_in_new_york() -> None:
    stamps = regular_closes("2000-01-03", 391, 252 * 390)
    assert str(stamps[389].tz_convert("America/New_York")) == "2000-01-03 16:00:00-05:00"
    assert str(stamps[390].tz_convert("America/New_York")) == "2000-01-04 09:31:00-05:00"
