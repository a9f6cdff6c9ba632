"""The commands of docs/monitoring.md run in order as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "monitoring.md"


@pytest.mark.slow
def test_every_block_runs_in_order(tmp_path: Path) -> None:
    blocks = re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "python", "sh"]
    python = shlex.quote(sys.executable)
    start = f"{python} -c 'from finchaos.cli.main import run; run()' \"$@\""
    for kind, block in blocks:
        said = f"finchaos() {{ {start}; }}\nset -e\n{block}"
        command = ["sh", "-c", said] if kind == "sh" else [sys.executable, "-c", block]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CI": "true"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert "in control" in done.stdout
    assert "finchaos_monitor_verdict" in (tmp_path / "finchaos.prom").read_text()
