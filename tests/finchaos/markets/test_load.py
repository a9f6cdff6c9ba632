"""Files are loaded exactly or refused with every problem named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import BAR_FIELDS, Bars
from finchaos.core.errors import DataError, MissingDependencyError
from finchaos.core.provenance import random_stream
from finchaos.markets import load_bars
from finchaos.markets.simulate.heston import HestonConfig, simulate


@pytest.fixture(scope="module")
def bars() -> Bars:
    return simulate(HestonConfig(), 1, 80, random_stream(1, "test.load")).bars(0)


@pytest.fixture
def table(bars: Bars) -> Any:
    frame = bars.frame()
    frame.insert(0, "ts", [stamp.isoformat() for stamp in bars.index])
    return frame.reset_index(drop=True)


def write(table: pd.DataFrame, folder: Path, name: str = "prices.csv") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return path


def refusal(table: pd.DataFrame, folder: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load_bars(write(table, folder), **options)  # type: ignore[arg-type]
    return str(caught.value)


def same(one: Bars, other: Bars) -> bool:
    values = all((getattr(one, n) == getattr(other, n)).all() for n in BAR_FIELDS)
    return values and bool((one.index == other.index).all())


def test_csv_gives_back_the_very_bars(table: Any, bars: Bars, tmp_path: Path) -> None:
    loaded = load_bars(write(table, tmp_path))
    assert same(loaded, bars)
    assert (loaded.symbol, loaded.bars_per_year, loaded.has_range) == ("prices", 252.0, True)
    assert "prices.csv, SHA-256" in loaded.provenance.source
    assert str(tmp_path) not in loaded.provenance.source


def test_parquet_gives_back_the_very_bars(table: Any, bars: Bars, tmp_path: Path) -> None:
    table["ts"] = bars.index
    assert same(load_bars(write(table, tmp_path, "a.parquet")), bars)
    assert same(load_bars(write(table.set_index("ts"), tmp_path, "b.parquet")), bars)
    table["ts"] = bars.index.tz_convert("America/New_York")
    assert same(load_bars(write(table, tmp_path, "c.parquet")), bars)


def test_one_offset_that_is_not_utc_is_converted(table: Any, bars: Bars, tmp_path: Path) -> None:
    table["ts"] = [stamp.tz_convert("Asia/Tokyo").isoformat() for stamp in bars.index]
    assert same(load_bars(write(table, tmp_path)), bars)


def test_closes_alone_and_unknown_volume_are_noted(table: Any, tmp_path: Path) -> None:
    loaded = load_bars(write(table[["ts", "close"]], tmp_path), symbol="INDEX")
    assert not loaded.has_range
    assert loaded.symbol == "INDEX"
    assert set(loaded.provenance.notes) == {"closes only", "volume unknown"}


def test_columns_that_are_not_read_are_named(table: Any, tmp_path: Path) -> None:
    table["adj_close"] = 1.0
    assert load_bars(write(table, tmp_path)).provenance.notes == ("columns not read: adj_close",)


def test_one_symbol_is_taken_from_several(table: Any, bars: Bars, tmp_path: Path) -> None:
    other = table.assign(close=1.0, open=1.0, high=1.0, low=1.0, symbol="B")
    both: Any = pd.concat([other, table.assign(symbol="A")])
    loaded = load_bars(write(both, tmp_path), symbol="A")
    assert same(loaded, bars)
    assert loaded.symbol == "A"
    assert "several symbols" in refusal(both, tmp_path)
    assert "one of A, B" in refusal(both, tmp_path, symbol="C")
    assert load_bars(write(other, tmp_path)).symbol == "B"
    both.iloc[3, both.columns.get_loc("symbol")] = None
    assert "without a symbol" in refusal(both, tmp_path)


def test_known_at_is_kept_and_may_not_precede_the_close(
    table: Any, bars: Bars, tmp_path: Path
) -> None:
    late = bars.index + pd.Timedelta(hours=2)
    table["known_at"] = [stamp.isoformat() for stamp in late]
    loaded = load_bars(write(table, tmp_path))
    assert loaded.known_at is not None
    assert (loaded.known_at == late).all()
    table.loc[5, "known_at"] = bars.index[4].isoformat()
    assert "impossible_known_at: 1" in refusal(table, tmp_path)


def test_later_rows_do_not_change_earlier_bars(table: Any, bars: Bars, tmp_path: Path) -> None:
    """Nothing is filled, adjusted or scaled with what comes after."""
    altered = table.copy()
    altered.loc[50:, ["open", "high", "low", "close"]] *= 7.5
    loaded = load_bars(write(altered, tmp_path))
    assert same(loaded.rows(0, 50), bars.rows(0, 50))
    assert same(load_bars(write(table.iloc[:50], tmp_path)), bars.rows(0, 50))


def test_all_problems_are_named_at_once_with_their_rows(table: Any, tmp_path: Path) -> None:
    table.loc[3, "high"], table.loc[3, "low"] = 1.0, 2.0
    table.loc[9, "close"] = np.nan
    table.loc[12, "open"] = -4.0
    table.loc[20, "ts"] = table.loc[19, "ts"]
    table.loc[30, "ts"], table.loc[31, "ts"] = table.loc[31, "ts"], table.loc[30, "ts"]
    message = refusal(table, tmp_path)
    for part in (
        "high_below_low: 1", "row 4", "unusable_values: 1", "row 10", "nonpositive_prices: 1",
        "open -4", "duplicate_stamps: 1", "row 21", "other values than row 20",
        "unsorted_rows: 1", "row 32",
    ):  # fmt: skip
        assert part in message
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("stamps", "fault"),
    [
        (lambda s: s.str.replace("+00:00", ""), "naive_stamps: 80"),
        (lambda s: s.str[:10], "naive_stamps: 80"),
        (lambda s: s.where(s.index != 5, "2000-01-10T17:00:00-04:00"), "mixed_zones: 1"),
        (lambda s: s.where(s.index != 5, ""), "unreadable_stamps: 1"),
        (lambda s: s.where(s.index != 5, "next Tuesday"), "unreadable_stamps: 1"),
        (lambda s: pd.Series(range(946_933_200, 946_933_280)), "unreadable_stamps: 80"),
    ],
)
def test_stamps_without_or_with_several_zones_are_refused(
    stamps: object, fault: str, table: Any, tmp_path: Path
) -> None:
    table["ts"] = stamps(table["ts"])  # type: ignore[operator]
    message = refusal(table, tmp_path)
    assert fault in message
    assert "row" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"close": "Close"}), "columns are missing: close"),
        (lambda t: t.drop(columns=["ts"]), "columns are missing: ts"),
        (lambda t: t.drop(columns=["low"]), "columns are missing: low"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(close="abc"), "unusable_values: 80"),
        (lambda t: t.assign(volume="-1"), "negative_volume: 80"),
        (lambda t: t.assign(close=np.inf), "unusable_values: 80"),
    ],
)
def test_wrong_tables_are_refused(change: object, message: str, table: Any, tmp_path: Path) -> None:
    assert message in refusal(change(table), tmp_path)  # type: ignore[operator]


def test_a_column_that_appears_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text("ts,close,close\n2018-01-02T21:00:00Z,1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"twice: close"):
        load_bars(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("header.csv", b"ts,open,high,low,close,volume\n"),
        ("ragged.csv", b"ts,close\n2018-01-02T21:00:00Z,1\n2018-01-03T21:00:00Z,1,2,3\n"),
        ("latin.csv", b"ts,close\n\xff\xfe,1\n"),
        ("broken.parquet", b"PAR1 not really"),
        ("prices.xlsx", b"x"),
    ],
)
def test_unreadable_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_bars(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read none\.csv"):
        load_bars(tmp_path / "none.csv")


def test_a_byte_order_mark_and_spaces_in_the_header_do_no_harm(
    table: Any, bars: Bars, tmp_path: Path
) -> None:
    path = write(table.rename(columns={"close": " close "}), tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert same(load_bars(path), bars)


def test_bars_that_are_not_daily_must_say_how_many_a_year_has(table: Any, tmp_path: Path) -> None:
    minutes = pd.date_range("2018-01-02T14:31:00Z", periods=80, freq="min")
    table["ts"] = [stamp.isoformat() for stamp in minutes]
    assert "bars_per_year" in refusal(table, tmp_path)
    assert load_bars(write(table, tmp_path), bars_per_year=98_280).bars_per_year == 98_280


def test_parquet_without_pyarrow_says_what_to_install(
    table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(table, tmp_path, "prices.parquet")

    def absent(*_: object, **__: object) -> None:
        raise ImportError("no parquet engine")

    monkeypatch.setattr(pd, "read_parquet", absent)
    with pytest.raises(MissingDependencyError, match=r"'\.\[data\]'"):
        load_bars(path)
    assert "pyarrow" in sys.modules
