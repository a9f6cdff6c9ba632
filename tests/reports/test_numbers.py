"""Numbers never mislead: not as zero, not as their limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.record import Threshold, Window
from reports.numbers import MINUS, against, aligned, limit_text, number, period, quantity

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15)


def read(text: str) -> float:
    return float(text.replace(",", "").replace(MINUS, "-"))


@given(FINITE.filter(lambda x: abs(x) > 1e-300))
def test_what_is_not_zero_is_never_shown_as_zero_and_is_close(value: float) -> None:
    assert read(number(value)) == pytest.approx(value, rel=0.006)
    assert read(number(value)) != 0


@given(st.lists(FINITE.filter(lambda x: x == 0 or abs(x) > 1e-300), min_size=1, max_size=6))
def test_columns_keep_every_value_apart_from_zero(values: list[float]) -> None:
    for value, text in zip(values, aligned(values), strict=True):
        assert read(text) == pytest.approx(value, rel=0.06)
        assert (read(text) == 0) == (value == 0)


def test_columns_share_their_decimals() -> None:
    assert aligned([0.5312, -1.2, 3.0], "ratio") == ("0.53", f"{MINUS}1.20", "3.00")
    assert aligned([3.0, 12.0], "bars") == ("3", "12")


@given(st.floats(0.001, 0.999), st.floats(-1e-9, 1e-9))
def test_observation_and_limit_are_told_apart(limit: float, off: float) -> None:
    observed = limit + off
    shown, said = against(observed, Threshold(operator="<=", limit=limit), "ratio")
    if abs(off) > 1e-12:
        assert shown != said.removeprefix("at most ")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.2731, "fraction", "27.3%"),
        (0.0523, "fraction per year", "5.23% per year"),
        (12.0, "percent", "12%"),
        (1.0, "bars", "1 bar"),
        (-0.5, "bps", f"{MINUS}0.5 bps"),
        (1234567.0, "rows", "1,234,567 rows"),
        (3.2e-7, "fraction", f"3.2e{MINUS}5%"),
        (0.0, "ratio", "0"),
    ],
)
def test_units(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_limits_in_words() -> None:
    between = Threshold(operator="between", limit=0.5, upper=2.0)
    assert limit_text(between, "ratio") == "between 0.5 and 2"
    assert limit_text(Threshold(operator=">", limit=0, on="low")) == "low end of interval above 0"


def test_periods_show_minutes_within_a_day() -> None:
    day = Window(start="2010-05-06T14:30:00+00:00", end="2010-05-06T15:00:00+00:00")
    assert period(day) == "2010-05-06 14:30 to 15:00"
    years = Window(start="2006-01-03T21:00:00+00:00", end="2007-12-31T21:00:00+00:00")
    assert period(years) == "2006-01-03 to 2007-12-31"
