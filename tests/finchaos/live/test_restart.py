"""A process that dies, at any write or by kill -9, goes on as if it had not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import (
    CheckpointError,
    FinchaosError,
    InputError,
    IntegrityError,
    StorageError,
)
from finchaos.core.subject import Subject
from finchaos.live.feeds import FileReplay
from finchaos.live.journal import read_journal
from finchaos.live.runner import PaperSettings, run_paper
from finchaos.live.session import JOURNAL, STATE, STORE, PaperSession
from tests.finchaos.live.markets import RULES, START, journal, mamba, planted, planted_market
from tests.finchaos.subjects.small import trained

ROOT = Path(__file__).resolve().parents[3]


class Death(BaseException):
    """Stands for the end of a process."""


def cases() -> Iterator[Any]:
    bars = planted_market()
    yield pytest.param(lambda: (planted(), bars.rows(0, START), bars.rows(START)), id="replay")
    yield pytest.param(mamba, id="resumable")


def settings(folder: Path, subject: Subject, history: Bars, bars: Any) -> PaperSettings:
    return PaperSettings(folder, subject, FileReplay(bars), history, RULES, sync=False)


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (STORE, JOURNAL, STATE)}


@pytest.mark.parametrize("case", cases())
def test_stops_between_bars_change_nothing(case: Any, tmp_path: Path) -> None:
    subject, history, bars = case()
    run_paper(settings(tmp_path / "whole", subject, history, bars))
    for stop in (1, 2, 30, 31, 77, len(bars)):
        run_paper(settings(tmp_path / "cut", subject, history, bars.rows(0, stop)))
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert len(journal(tmp_path / "whole", "fill")) > 1
    assert len(journal(tmp_path / "whole", "decision")) == len(bars)


def dying(monkeypatch: pytest.MonkeyPatch, at: int, tear: bool, error: BaseException) -> list[int]:
    """Let the write number ``at`` fail, half done or not at all; the count of writes so far."""
    count = [0]
    whole_write, whole_replace = os.pwrite, Path.replace

    def pwrite(file: int, data: bytes, offset: int) -> int:
        count[0] += 1
        if count[0] != at:
            return whole_write(file, data, offset)
        if tear:
            whole_write(file, data[: len(data) // 2], offset)
        raise error

    def replace(self: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] != at:
            return whole_replace(self, target)
        raise error

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(Path, "replace", replace)
    return count


@pytest.mark.parametrize("tear", [False, True])
@pytest.mark.parametrize("error", [Death("killed"), OSError(28, "No space left on device")])
def test_a_death_or_a_full_disk_at_any_write_loses_nothing(
    error: BaseException, tear: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, market = planted(), planted_market()
    head, bars = market.rows(0, START), market.rows(START, START + 8)
    run_paper(settings(tmp_path / "whole", subject, head, bars))
    expected, number = files(tmp_path / "whole"), 0
    while True:
        number += 1
        folder = tmp_path / f"cut{number}"
        with monkeypatch.context() as patch:
            count = dying(patch, number, tear, error)
            failed = False
            try:
                run_paper(settings(folder, subject, head, bars))
            except (Death, StorageError):
                failed = True
        assert failed == (count[0] >= number)
        if not failed:
            break
        run_paper(settings(folder, subject, head, bars))
        assert files(folder) == expected, f"write {number}"
        assert not list(folder.glob("*.tmp")), "a temporary file was left"
    assert number > 3 * len(bars)


def child(folder: Path, model: str, pace: float) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.finchaos.live.child", str(folder), model, str(pace)]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def decisions(folder: Path) -> int:
    path = folder / JOURNAL
    entries = read_journal(path)[0] if path.exists() else []
    return sum(entry["event"] == "decision" for entry in entries)


def kill_after(folder: Path, model: str, bars: int) -> None:
    """Kill -9 once so many bars were decided upon."""
    process = child(folder, model, 0.002)
    try:
        limit = time.monotonic() + 60
        while decisions(folder) < bars and process.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.001)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["planted", "mamba"])
def test_kill_9_again_and_again_changes_no_byte(kind: str, tmp_path: Path) -> None:
    model = kind
    if kind == "mamba":
        trained().save(tmp_path / "model")
        model = str(tmp_path / "model")
    assert child(tmp_path / "whole", model, 0.0).wait() == 0
    for bars in (5, 23, 60, 61):
        kill_after(tmp_path / "cut", model, bars)
    assert child(tmp_path / "cut", model, 0.0).wait() == 0
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert len(journal(tmp_path / "cut", "fill")) > 1


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    bars = planted_market()
    run_paper(settings(tmp_path, planted(), bars.rows(0, START), bars.rows(START, START + 9)))
    return tmp_path


def again(folder: Path, subject: Subject | None = None, **options: Any) -> PaperSession:
    rules = options.pop("rules", RULES)
    return PaperSession.open(folder, subject or planted(), rules=rules, **options)


def test_a_half_written_line_is_detected_and_cut_off(begun: Path) -> None:
    whole = files(begun)
    with (begun / JOURNAL).open("ab") as file:
        file.write(b'{"event":"decision","ts":"20')
    with (begun / STORE).open("ab") as file:
        file.write(b"\1" * 50)
    assert read_journal(begun / JOURNAL)[1] == 28
    with again(begun) as session:
        assert session.repaired_bytes == 28 + 50
        assert session.caught_up == 0
    assert files(begun) == whole


def test_lines_no_state_knows_of_are_written_again(begun: Path) -> None:
    state, whole = (begun / STATE).read_bytes(), files(begun)
    bars = planted_market()
    run_paper(settings(begun, planted(), bars.rows(0, START), bars.rows(START, START + 10)))
    longer = files(begun)
    (begun / STATE).write_bytes(state)
    with again(begun) as session:
        assert session.caught_up == 1
        assert session.repaired_bytes == len(longer[JOURNAL]) - len(whole[JOURNAL])
    assert files(begun) == longer


def test_another_model_or_other_rules_are_refused(begun: Path) -> None:
    whole = files(begun)
    other = planted().fit(planted_market().rows(0, 500), seed=1)
    with pytest.raises(CheckpointError, match="another model"):
        again(begun, other)
    with pytest.raises(CheckpointError, match="another rules"):
        again(begun, rules=None)
    assert files(begun) == whole


@pytest.mark.parametrize(
    ("name", "spoil", "error", "match"),
    [
        (STATE, lambda b: b.replace(b'"units":', b'"units":1', 1), CheckpointError, "damaged"),
        (STATE, lambda b: b[:100], CheckpointError, "state"),
        (STATE, lambda b: b.replace(b'"version": 1', b'"version": 9'), CheckpointError, "version"),
        (JOURNAL, lambda b: b[:-1], IntegrityError, "not the journal"),
        (JOURNAL, lambda b: b.replace(b"decision", b"Decision", 1), IntegrityError, "not the"),
        (STORE, lambda b: b[:-128], CheckpointError, "not the store"),
        (STORE, lambda b: b[:20_000] + b"\xff" + b[20_001:], IntegrityError, "damaged"),
        (STORE, lambda b: b"PK" + b[2:], IntegrityError, "no bar store"),
    ],
)
def test_damage_is_refused_and_left_as_it_is(
    begun: Path, name: str, spoil: Any, error: type[Exception], match: str
) -> None:
    spoilt = spoil((begun / name).read_bytes())
    assert spoilt != (begun / name).read_bytes()
    (begun / name).write_bytes(spoilt)
    with pytest.raises(error, match=match):
        again(begun)
    assert (begun / name).read_bytes() == spoilt


def test_a_lost_state_is_refused(begun: Path) -> None:
    (begun / STATE).unlink()
    with pytest.raises(CheckpointError, match="lost its state"):
        again(begun)


def test_a_session_belongs_to_one_process(begun: Path) -> None:
    with again(begun), pytest.raises(InputError, match="in use"):
        again(begun)
    with again(begun):
        pass


def test_a_session_that_could_not_write_takes_nothing_more(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with again(begun, sync=False) as session:
        with monkeypatch.context() as patch:
            dying(patch, 2, False, OSError(28, "No space left on device"))
            with pytest.raises(StorageError, match="nothing was lost"):
                session.trip("a test")
        with pytest.raises(FinchaosError, match="open it anew"):
            session.trip("another")
    with again(begun) as session:
        assert session.caught_up == 1
        assert session.engine.reason == "a test"
