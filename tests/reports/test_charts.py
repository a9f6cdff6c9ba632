"""Charts: the same bytes again, no trace left behind, and nothing that a label could inject."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from governance.record import Column, Exhibit
from reports.figures import Figure, exhibit_table, undrawable
from tests.reports.hostile import PAYLOAD
from tests.reports.sample import sample
from tests.reports.sample_parts import column, days

KINDS = {item.kind: item for item in sample("full").exhibits.values() if item.kind != "table"}


def figure(exhibit: Exhibit, number: int = 1) -> Figure:
    return Figure(number, f"fig-{number}", exhibit)


def with_columns(kind: Any, *columns: Column, **more: Any) -> Exhibit:
    return Exhibit(check="c", name="n", title="T", kind=kind, columns=columns, **more)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_same_bytes_and_no_global_state(kind: str) -> None:
    before = dict(mpl.rcParams)
    first = figure(KINDS[kind]).svg
    mpl.rcParams["font.size"] = 30
    try:
        assert figure(KINDS[kind]).svg == first
    finally:
        mpl.rcParams["font.size"] = before["font.size"]
    assert dict(mpl.rcParams) == before
    assert first.startswith("<svg ")
    assert "<style" not in first
    assert "<metadata" not in first


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_ids_are_the_figures_own_and_all_references_lead_somewhere(kind: str) -> None:
    root = ElementTree.fromstring(figure(KINDS[kind], 7).svg)  # noqa: S314
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert all(str(i).startswith("fig-7-") for i in ids)
    for element in root.iter():
        target = element.get("href", "")
        assert not target or target.startswith("data:image/png") or target[1:] in ids


def test_alternate_text_says_title_and_ranges() -> None:
    root = ElementTree.fromstring(figure(KINDS["bar"]).svg)  # noqa: S314
    tags = {child.tag.split("}")[1]: child.text for child in root}
    assert tags["title"] == KINDS["bar"].title
    assert "PSI: " in str(tags["desc"]) or "Distance: " in str(tags["desc"])


def test_labels_cannot_inject_and_are_not_read_as_formulas() -> None:
    exhibit = with_columns(
        "bar",
        column("c" + PAYLOAD, ("a" + PAYLOAD, "$5 and $6", "\\frac")),
        column("v" + PAYLOAD, [1.0, 2.0, 3.0], "u" + PAYLOAD),
        y_label=PAYLOAD,
    )
    root = ElementTree.fromstring(figure(exhibit).svg)  # noqa: S314
    assert not [
        e for e in root.iter() if e.tag.rsplit("}")[-1] in ("script", "img", "foreignObject")
    ]
    assert not [name for e in root.iter() for name in e.attrib if name.startswith("on")]
    assert "$5 and $6" in [e.text for e in root.iter()]


def test_made_data_are_marked_in_the_picture() -> None:
    full = sample("full").exhibits.values()
    made = next(item for item in full if "econstructed" in item.note)
    assert ">RECONSTRUCTED<" in figure(made).svg
    assert ">RECONSTRUCTED<" not in figure(KINDS["line"]).svg


def test_long_series_are_thinned_without_losing_a_spike() -> None:
    values = [1.0] * 50_000
    values[31_234] = 9.0
    exhibit = with_columns("line", column("x", list(range(50_000))), column("y", values))
    svg = figure(exhibit).svg
    assert len(svg) < 120_000
    flat = with_columns("line", column("x", list(range(50_000))), column("y", [1.0] * 50_000))
    assert svg != figure(flat).svg


def test_gaps_and_single_points_are_drawn() -> None:
    gaps = with_columns(
        "time_series", column("t", days(4)), column("y", [1.0, None, 2.0, None], "bars")
    )
    assert "<path" in figure(gaps).svg
    one = with_columns("time_series", column("t", days(1)), column("y", [1.0]))
    assert "<path" in figure(one).svg
    flat = with_columns("heatmap", column("row", ("a",)), column("x", [0.0]))
    assert "<path" in figure(flat).svg


@pytest.mark.parametrize(
    ("exhibit", "why"),
    [
        (with_columns("bar", column("a", ("x",)), column("b", ("y",))), "b holds no numbers"),
        (with_columns("line", column("a", (1.0,))), "it has no values to draw"),
        (with_columns("scatter", column("a", ("x",)), column("b", (1.0,))), "a holds no numbers"),
        (
            with_columns("time_series", column("a", ("soon",)), column("b", (1.0,))),
            "a holds no ISO 8601 times",
        ),
        (with_columns("heatmap", column("a", ("x",)), column("b", (None,))), "b holds no numbers"),
    ],
)
def test_what_cannot_be_drawn_becomes_a_table_that_says_why(exhibit: Exhibit, why: str) -> None:
    assert undrawable(exhibit) == why
    assert exhibit_table(exhibit).notes[-1].endswith(f"shown as a table because {why}.")
