"""The commands of docs/data.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from finchaos.features import schema_names
from finchaos.markets import BUILTIN_NAMES, load_builtin
from finchaos.markets.builtin import BUILTIN_SETS
from finchaos.markets.quality import inspect

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def test_every_block_runs_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"data.md, block {number}", "exec"), names)  # noqa: S102
    shown = capsys.readouterr().out
    assert "3 ACME file prices.csv" in shown
    assert "2 problems" in shown
    assert "high_below_low" in shown
    assert "240 True" in shown


def test_every_fault_set_and_schema_is_documented() -> None:
    text = PAGE.read_text("utf-8")
    faults = [fault.name for fault in inspect(load_builtin("spx", end="1999-03-01")).faults]
    for name in (*faults, *BUILTIN_NAMES, *schema_names()):
        assert f"`{name}`" in text
    for known in BUILTIN_SETS.values():
        assert f"{known.first} to {known.last}, {known.rows}" in text
