"""The register of trials: every line is bound to those before, and nothing recorded is lost."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError, IntegrityError
from finchaos.training.register import GENESIS, Trial, read_register, record_trial

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(path: Path, rate: float = 0.1, **other: Any) -> Trial:
    given_ = {"seed": 2**62, "score": rate * 3, "code": "abc123", "at": AT, **other}
    return record_trial(path, "sweep", {"rate": rate}, **given_)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "register" / "trials.jsonl"
    for rate in (0.1, 0.2, 0.3):
        record(place, rate)
    return place


def test_trials_come_back_with_all_that_was_said(path: Path) -> None:
    record_trial(path, "sweep", {}, seed=1, score=None, code="c", outcome="DivergenceError", at=AT)
    record_trial(path, "other", {"deep": {"list": [1, None]}}, seed=1, score=7.0, code="c", at=AT)
    register = read_register(path)
    first = register.trials[0]
    assert (first.number, first.params, first.seed) == (1, {"rate": 0.1}, str(2**62))
    assert (first.score, first.code, first.at) == (0.1 * 3, "abc123", "2026-01-02T03:04:05+00:00")
    assert register.scores("sweep") == [0.1 * 3, 0.2 * 3, 0.3 * 3]
    assert register.scores("other") == [7.0]
    assert register.trials[3].outcome == "DivergenceError"
    assert read_register(path, first.hash) == register
    assert read_register(path.parent / "none").head == GENESIS


def test_the_chain_is_what_the_standard_library_alone_computes(path: Path) -> None:
    """A reader elsewhere needs SHA-256 and JSON with sorted keys, nothing of this package."""
    previous = GENESIS
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        recorded = fields.pop("hash")
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        assert recorded == hashlib.sha256(text.encode()).hexdigest()
        assert fields["prev"] == previous
        previous = recorded


def altered(lines: list[bytes]) -> dict[str, list[bytes]]:
    return {
        "score": [lines[0].replace(b'"score":0.3', b'"score":0.9'), *lines[1:]],
        "removed": [lines[0], lines[2]],
        "first removed": lines[1:],
        "swapped": [lines[1], lines[0], lines[2]],
        "twice": [lines[0], lines[0], *lines[1:]],
        "empty line": [lines[0], b"\n", *lines[1:]],
        "spaces": [lines[0].replace(b":", b": "), *lines[1:]],
        "list": [b"[1]\n", *lines],
        "more fields": [lines[0].replace(b'{"at"', b'{"also":1,"at"'), *lines[1:]],
    }


@pytest.mark.parametrize(
    "how",
    [
        "score",
        "removed",
        "first removed",
        "swapped",
        "twice",
        "empty line",
        "spaces",
        "list",
        "more fields",
    ],
)
def test_a_broken_chain_is_refused_for_reading_and_for_adding(path: Path, how: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    broken = b"".join(altered(lines)[how])
    assert broken != path.read_bytes()
    path.write_bytes(broken)
    for do in (read_register, record):
        with pytest.raises(IntegrityError, match="register of trials"):
            do(path)
    assert path.read_bytes() == broken


def test_an_end_cut_off_shows_to_whoever_keeps_the_head(path: Path) -> None:
    head = read_register(path).head
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert len(read_register(path).trials) == 2
    with pytest.raises(IntegrityError, match="lacks a trial"):
        read_register(path, head)


@given(st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_a_torn_line_is_kept_by_the_next_trial(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("register") / "trials.jsonl"
    record(path, 0.1)
    whole = path.read_bytes()
    record(path, 0.2)
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    torn = path.read_bytes()[len(whole) :]
    assert read_register(path).torn == torn
    record(path, 0.3)
    register = read_register(path)
    assert [trial.params["rate"] for trial in register.trials] == [0.1, 0.3]
    assert base64.b64decode(register.trials[1].torn) == torn
    assert register.torn == b""


def test_processes_that_record_at_once_lose_nothing_and_a_kill_loses_nothing(
    tmp_path: Path,
) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from finchaos.training.register import record_trial
for k in range(15):
    record_trial(Path(sys.argv[1]), sys.argv[2], {"k": k}, seed=k, score=1.0 * k, code="c")
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "trials.jsonl"
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(path), name], env=os.environ)
        for name in "ab"
    ]
    assert [one.wait() for one in running] == [-signal.SIGKILL] * 2
    register = read_register(path)
    assert len(register.trials) == 30
    assert register.scores("a") == register.scores("b") == [float(k) for k in range(15)]


def test_a_full_disk_leaves_the_register_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    flush = os.fsync

    def full(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(28, "No space left on device")
        flush(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        record(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": float("nan")},
        {"score": None},
        {"outcome": "pruned"},
        {"code": ""},
    ],
    ids=str,
)
def test_what_cannot_be_recorded_is_refused(path: Path, wrong: dict[str, Any]) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError):
        record(path, **wrong)
    with pytest.raises(InputError, match="JSON values"):
        record_trial(path, "sweep", {"x": float("inf")}, seed=1, score=1.0, code="c")
    with pytest.raises(InputError):
        record_trial(path, "", {}, seed=1, score=1.0, code="c")
    assert path.read_bytes() == before
