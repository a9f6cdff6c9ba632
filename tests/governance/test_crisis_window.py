from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import DataError
from governance.crisis_window import parse_window

HEAD = "date,return,source\n"


def test_rows_are_read_with_their_sources():
    window = parse_window(HEAD + "2020-03-13,0.09,a\n2020-03-16,-0.12,b\n", "w")
    assert window.dates == (date(2020, 3, 13), date(2020, 3, 16))
    assert window.returns == (0.09, -0.12)
    assert window.source == "a; b"


def test_the_deepest_fall_is_found_between_closes():
    rows = ["0.1,a", "-0.5,a", "0.2,a", "-0.4,a", "3.0,a"]
    text = "".join(f"2020-01-0{n},{row}\n" for n, row in enumerate(rows, start=1))
    peak, trough, depth = parse_window(HEAD + text, "w").drawdown
    assert (peak, trough) == (0, 3)
    assert depth == pytest.approx(0.5 * 1.2 * 0.6 - 1.0)


TOMORROW = (date.today() + timedelta(days=2)).isoformat()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "columns"),
        (HEAD, "at least one row"),
        ("date,close,source\n2020-01-02,100,a\n", "columns"),
        (HEAD + "2020-01-03,0.1,a\n2020-01-02,0.1,a\n", "line 3.*increasing"),
        (HEAD + "2020-01-03,0.1,a\n2020-01-03,0.1,a\n", "increasing"),
        (HEAD + "3 Jan 2020,0.1,a\n", "not a date"),
        (HEAD + f"{TOMORROW},0.1,a\n", "future"),
        (HEAD + "2020-01-03,-1.0,a\n", "price stays positive"),
        (HEAD + "2020-01-03,nan,a\n", "unusable return"),
        (HEAD + "2020-01-03,inf,a\n", "unusable return"),
        (HEAD + "2020-01-03,,a\n", "unusable return"),
        (HEAD + "2020-01-03,0.1, \n", "source"),
        (HEAD + "2020-01-03,0.1\n", "source"),
        (HEAD + "2020-01-03,0.1,a,b\n", "one field"),
        (HEAD + '2020-01-03,0.1,"a\n', "CSV"),
    ],
)
def test_what_cannot_be_used_is_refused(text, says):
    with pytest.raises(DataError, match=says):
        parse_window(text, "w")


@given(st.lists(st.floats(-0.9, 2.0), min_size=1, max_size=30))
def test_numbers_survive_unchanged(returns):
    first = date(1950, 1, 3)
    text = "".join(f"{first + timedelta(days=n)},{r!r},s\n" for n, r in enumerate(returns))
    assert list(parse_window(HEAD + text, "w").returns) == returns
