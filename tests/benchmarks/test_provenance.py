from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import ENVIRONMENT
from benchmarks.provenance import commit, provenance
from benchmarks.timing import Protocol
from finchaos.ssm.backends import available_backends

_PROBE = "from benchmarks.provenance import large_blocks; print(large_blocks())"


def test_what_was_run_when_and_how() -> None:
    found = provenance(Protocol(rounds=5), "torch")
    assert found["date"].endswith("UTC")
    assert found["protocol"].startswith("5 interleaved rounds after 2 warm-ups")
    assert "our vectors" not in found
    if "cpu" in available_backends():
        assert provenance(Protocol(), "cpu")["our vectors"] in ("4 floats", "8 floats", "16 floats")


def test_commit_and_whether_the_sources_are_its_own(tmp_path: Path) -> None:
    assert commit(tmp_path) == "not a git checkout"

    def git(*arguments: str) -> None:
        names = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        subprocess.run(["git", "-C", str(tmp_path), *names, *arguments], check=True)

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    assert len(commit(tmp_path)) == 12
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path).endswith(" with changes")


@pytest.mark.parametrize(
    ("tuned", "expected"), [(True, "in the heap, kept"), (False, "each mapped and given back")]
)
def test_where_the_allocator_puts_large_tensors(tuned: bool, expected: str) -> None:
    environment = {"PYTHONPATH": ":".join(sys.path), **(ENVIRONMENT if tuned else {})}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], env=environment, capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() in (expected, "unknown")
