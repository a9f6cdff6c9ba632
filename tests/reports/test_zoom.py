"""The data behind zooming."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reports.zoom import embedded_json, zoom_data
from tests.reports.sample import sample

SERIES = next(item for item in sample("full").exhibits.values() if item.name == "equity")


def test_panels_by_unit_share_their_times() -> None:
    data = zoom_data(SERIES)
    assert data is not None
    assert [panel["label"] for panel in data["panels"]] == ["multiple of start", "% of capital"]
    assert data["daily"]
    for panel in data["panels"]:
        assert panel["x"] == sorted(panel["x"])
        assert all(len(one["values"]) == len(panel["x"]) for one in panel["series"])


def test_extremes_are_kept() -> None:
    data = zoom_data(SERIES)
    assert data is not None
    model = [float(v) for v in SERIES.columns[1].values if isinstance(v, int | float)]
    kept = data["panels"][0]["series"][0]["values"]
    assert max(kept) == float(f"{max(model):.6g}")
    assert min(kept) == float(f"{min(model):.6g}")


def test_only_time_series_zoom() -> None:
    kinds = {item.kind: zoom_data(item) is not None for item in sample("full").exhibits.values()}
    assert kinds == {kind: kind == "time_series" for kind in kinds}


@given(st.dictionaries(st.text(), st.text()))
def test_embedded_json_reads_back_and_cannot_end_its_element(data: dict[str, str]) -> None:
    text = embedded_json(data)
    assert json.loads(text) == data
    assert not set("<>&\u2028\u2029") & set(text)
