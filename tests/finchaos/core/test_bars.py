import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.bars import Bars, Provenance
from finchaos.core.errors import DataError


def frame(n=5, **replaced):
    close = np.linspace(100, 104, n)
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}
    index = pd.date_range("2020-01-01", periods=n, freq="D", tz="UTC")
    return pd.DataFrame({**columns, **replaced}, index=index)


def bars(n=5, **replaced):
    return Bars.from_frame(frame(n, **replaced), "X")


def test_values_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        bars().close[0] = 1.0


def test_the_callers_array_stays_writable_and_apart():
    source = frame()
    made = Bars.from_frame(source, "X")
    source.loc[source.index[0], "close"] = 99.5
    assert made.close[0] == 100.0


@pytest.mark.parametrize(
    ("column", "value"),
    [("close", np.nan), ("open", 0.0), ("low", -1.0), ("high", np.inf), ("volume", -1.0)],
)
def test_unusable_values_are_refused_with_their_place(column, value):
    broken = frame()
    broken.loc[broken.index[2], column] = value
    with pytest.raises(DataError, match=f"{column}.*2020-01-03"):
        Bars.from_frame(broken, "X")


def test_a_range_that_misses_its_close_is_refused():
    with pytest.raises(DataError, match="does not contain"):
        bars(high=99.0, low=98.0)


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-01-01", periods=5, freq="D"),
        pd.date_range("2020-01-01", periods=5, freq="D", tz="America/New_York"),
        pd.date_range("2020-01-05", periods=5, freq="-1D", tz="UTC"),
        pd.DatetimeIndex(["2020-01-01"] * 5, tz="UTC"),
    ],
)
def test_time_must_be_utc_and_strictly_increasing(index):
    with pytest.raises(DataError):
        Bars.from_frame(frame().set_axis(index), "X")


def test_missing_columns_are_named():
    with pytest.raises(DataError, match="add volume"):
        Bars.from_frame(frame().drop(columns="volume"), "X")


def test_digest_follows_content_not_resolution():
    one = bars()
    other = Bars.from_frame(frame().set_axis(frame().index.as_unit("s")), "X")
    assert one.digest == other.digest
    assert one.digest != one.with_values(volume=np.full(5, 2.0)).digest
    assert one.digest != one.with_values(provenance=Provenance("elsewhere")).digest


def test_between_includes_the_whole_last_day():
    minutes = pd.date_range("2020-01-01 10:00", periods=5, freq="12h", tz="UTC")
    made = Bars.from_frame(frame().set_axis(minutes), "X")
    assert len(made.between("2020-01-01", "2020-01-02")) == 4
    assert len(made.between("2020-01-02", None)) == 3


@given(st.integers(1, 9))
def test_cutting_and_joining_gives_the_bars_back(cut):
    whole = bars(10)
    joined = whole.rows(0, cut).followed_by(whole.rows(cut))
    assert joined.frame().equals(whole.frame())


def test_returns_run_from_each_bar_to_the_next():
    assert bars(3, close=[100.0, 102.0, 104.0], high=110.0, low=90.0).returns() == pytest.approx(
        [0.02, 2 / 102]
    )
