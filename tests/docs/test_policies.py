"""The commands of docs/policies.md run as they stand, and its tables are those of the packs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from finchaos.cli.main import app
from governance.policy import load_policy, policy_names
from governance.tiers import PURPOSES

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "policies.md").read_text("utf-8")


def test_every_command_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(commands) == 6
    said = ""
    for command in commands:
        words = shlex.split(command)
        assert words[:2] == ["./dev", "finchaos"]
        done = CliRunner().invoke(app, words[2:])
        assert done.exit_code == 0, f"{command}: {done.output}"
        said += done.stdout
    assert "nothing was changed after the lock" in said
    assert "before any result" in said


def test_every_pack_stands_there_with_its_status_and_number_of_clauses() -> None:
    for name in policy_names():
        document = load_policy(name).document
        (row,) = re.findall(rf"^\| `{name}` \|.*$", TEXT, re.MULTILINE)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2:] == [document.status, str(len(document.clauses))]


def test_the_tables_of_tiers_are_those_of_the_baseline() -> None:
    tiers = load_policy("baseline").document.tiers
    assert tiers is not None
    assert (tiers.exposure_usd.medium, tiers.exposure_usd.high) == (10e6, 100e6)
    for level, row in tiers.table.items():
        ends = f"| {' | '.join(row[purpose] for purpose in PURPOSES)} |"
        lines = [line for line in TEXT.splitlines() if line.startswith(f"| {level}")]
        assert any(line.endswith(ends) for line in lines)
    for level, depth in tiers.depth.items():
        numbers = [
            depth.checks["walk_forward"]["draws"],
            depth.checks["luck"]["shifts"],
            depth.checks["drift"]["draws"],
            depth.checks["signal_integrity"]["histories"],
        ]
        assert depth.checks["challengers"]["draws"] == numbers[0]
        said = " | ".join(f"{number:,}" for number in numbers)
        assert f"| {level} | {said} |" in TEXT
