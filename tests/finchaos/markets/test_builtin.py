"""Built-in bars are the ones that were verified, or none."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import DataError, MissingDependencyError, UnknownNameError
from finchaos.markets import BUILTIN_NAMES, builtin, load_builtin


@pytest.mark.parametrize(
    ("name", "rows", "first", "last", "ranged"),
    [
        ("spx", 5031, "1999-01-04", "2018-12-31", True),
        ("skfolio", 8313, "1990-01-02", "2022-12-28", False),
        ("great_tables", 10849, "1973-01-02", "2015-12-31", True),
    ],
)
def test_size_span_and_kind(name: str, rows: int, first: str, last: str, ranged: bool) -> None:
    bars = load_builtin(name)
    assert len(bars) == rows
    assert (str(bars.index[0].date()), str(bars.index[-1].date())) == (first, last)
    assert bars.has_range is ranged
    assert bars.provenance.kind == "real"
    assert bars.provenance.licence


@pytest.mark.parametrize(
    ("name", "day", "simple_return"),
    [
        ("spx", "2008-10-15", -0.0903),
        ("skfolio", "2020-03-16", -0.1198),
        ("great_tables", "1987-10-19", -0.2047),
        ("great_tables", "2010-05-06", -0.0324),
    ],
)
def test_known_days_have_their_documented_returns(
    name: str, day: str, simple_return: float
) -> None:
    bars = load_builtin(name, end=day)
    assert bars.returns()[-1] == pytest.approx(simple_return, abs=5e-5)


def test_the_flash_crash_low_is_the_documented_one() -> None:
    bars = load_builtin("spx", "2010-05-06", "2010-05-06")
    assert bars.low[0] == pytest.approx(1065.79, abs=0.005)
    assert bars.close[0] == pytest.approx(1128.15, abs=0.005)


def test_two_packages_agree_where_they_overlap() -> None:
    """Independent copies of one index: closes within a rounding of cents."""
    start, end = "1999-01-04", "2015-12-31"
    closes = [load_builtin(name, start, end).close for name in BUILTIN_NAMES]
    assert len({len(c) for c in closes}) == 1
    assert np.abs(closes[0] / closes[1] - 1).max() < 1e-4
    assert np.abs(closes[0] / closes[2] - 1).max() < 1e-6


def test_bars_are_stamped_at_the_close_in_new_york() -> None:
    local = load_builtin("spx").index.tz_convert("America/New_York")
    assert set(local.hour) == {16}
    assert set(local.minute) == {0}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="spx, skfolio, great_tables"):
        load_builtin("ftse")


@pytest.mark.parametrize("name", ["skfolio", "great_tables"])
def test_an_absent_package_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = {"skfolio": "skfolio.datasets", "great_tables": "great_tables.data"}[name]
    monkeypatch.setitem(sys.modules, blocked, None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[data\]'"):
        load_builtin(name)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.iloc[1:],
        lambda f: f.iloc[:-1],
        lambda f: f.iloc[:0],
        lambda f: f.assign(close=f["close"] * np.linspace(1.0, 1.1, len(f))),
        lambda f: f.drop(columns="close"),
        lambda f: f.set_index(f.index + pd.Timedelta(days=1)),
    ],
)
def test_changed_data_are_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = builtin.BUILTIN_SETS["spx"]
    changed = dataclasses.replace(known, read=lambda: change(known.read()))
    monkeypatch.setitem(builtin.BUILTIN_SETS, "spx", changed)
    with pytest.raises(DataError, match=r"arch .* no longer has the data"):
        load_builtin("spx")
