from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import Report, Table

TABLE = Table("Times", ("work", "ms"), (("sum", 0.123456), ("none", None)), ("A note.",))


def test_markdown_has_title_rows_and_notes() -> None:
    assert TABLE.markdown().splitlines() == [
        "### Times",
        "",
        "| work | ms |",
        "| --- | --- |",
        "| sum | 0.123 |",
        "| none | - |",
        "",
        "- A note.",
    ]


def test_a_row_of_the_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells"):
        Table("Times", ("work", "ms"), (("sum",),))


def test_files_hold_tables_conditions_and_figures(tmp_path: Path) -> None:
    report = Report("times", (TABLE,), {"svg": b"<svg/>"})
    report.write(tmp_path / "new", {"threads": "1"})
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["times.json", "times.md", "times.svg"]
    content = json.loads((tmp_path / "new" / "times.json").read_text())
    assert content["conditions"] == {"threads": "1"}
    assert content["tables"][0]["rows"] == [["sum", 0.123456], ["none", None]]
    page = (tmp_path / "new" / "times.md").read_text()
    assert "Conditions: threads: 1." in page
    assert "![times](times.svg)" in page
