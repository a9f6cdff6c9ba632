"""A circuit breaker in a process of its own: whatever goes wrong, trading stops for good."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import CheckpointError, FinchaosError, InputError, StorageError
from finchaos.live import breaker_process
from finchaos.live.breaker import ProcessBreaker, arm_breaker
from finchaos.live.breaker_process import SOCKET, BreakerServer
from finchaos.live.breaker_record import RECORD, BreakerLimits, BreakerRecord, load_record
from finchaos.live.feeds import FileReplay
from finchaos.live.runner import PaperSettings, run_paper
from finchaos.live.session import AccountReport
from tests.finchaos.live.markets import RULES, START, journal, planted, planted_market

ROOT = Path(__file__).resolve().parents[3]
LIMITS = BreakerLimits(max_drawdown=0.1, max_daily_loss=0.05, max_exposure=1.5, silence_seconds=120)
HOUR = 3_600_000_000_000
PERSON = "Ada Byron"
_AFTER_CRASH = """
import os, signal, sys
from pathlib import Path
from finchaos.live.breaker import ProcessBreaker
from finchaos.live.session import AccountReport
breaker = ProcessBreaker.start(Path(sys.argv[1]))
assert breaker.check(AccountReport(0, 100.0, 1.0, False)) == ""
os.kill(os.getpid(), signal.SIGKILL)
"""


def report(ts: int = 0, equity: float = 100.0, exposure: float = 1.0) -> AccountReport:
    return AccountReport(ts, equity, exposure, False)


def wait_for_end(pid: int) -> None:
    for _ in range(600):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the process of the breaker goes on")


steps = st.lists(
    st.tuples(st.integers(0, 40), st.floats(1.0, 200.0), st.floats(-2.0, 2.0)), min_size=1
)


@given(steps)
def test_it_trips_at_the_first_breach_and_never_again(
    moves: list[tuple[int, float, float]],
) -> None:
    record, now = BreakerRecord(LIMITS, PERSON), 0
    days, equities, first = [], [], ""
    for hours, equity, exposure in moves:
        now += hours * HOUR
        record = record.after(now, equity, exposure)
        days.append(now // (24 * HOUR))
        equities.append(equity)
        before = [e for d, e in zip(days, equities, strict=True) if d < days[-1]]
        opened = before[-1] if before else equities[0]
        breach = (
            abs(exposure) > 1.5
            or 1.0 - equity / max(equities) > 0.1
            or 1.0 - equity / opened > 0.05
        )
        assert bool(record.reason) == (breach or bool(first))
        assert first in ("", record.reason)
        first = record.reason


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ([(100.0, 1.0), (94.0, 1.0)], "a loss of 6.00 % in a day, limit 5.00 %"),
        ([(100.0, -1.6)], "an exposure of -1.6, limit 1.5"),
        ([(0.0, 0.0)], "the capital is gone"),
        ([(float("nan"), 0.0)], "a report that is no number"),
        ([(100.0, float("inf"))], "a report that is no number"),
    ],
)
def test_it_says_why(reports: list[tuple[float, float]], said: str) -> None:
    record = BreakerRecord(LIMITS, PERSON)
    for number, (equity, exposure) in enumerate(reports):
        record = record.after(number, equity, exposure)
    assert said in record.reason


def test_a_slow_decline_trips_by_drawdown() -> None:
    record = BreakerRecord(LIMITS, PERSON)
    for day in range(4):
        record = record.after(day * 24 * HOUR, 100.0 * 0.96**day, 1.0)
    assert record.reason == "a drawdown of 11.53 %, limit 10.00 %"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_drawdown": 0.0},
        {"max_daily_loss": 1.1},
        {"max_exposure": -1.0},
        {"silence_seconds": float("inf")},
        {"max_drawdown": float("nan")},
    ],
)
def test_impossible_limits_are_refused(wrong: dict[str, float]) -> None:
    good = {"max_drawdown": 0.1, "max_daily_loss": 0.05, "max_exposure": 1.0, "silence_seconds": 9}
    with pytest.raises(InputError, match="impossible limits"):
        BreakerLimits(**{**good, **wrong})


def test_a_latch_outlives_the_death_of_its_process(folder: Path) -> None:
    arm_breaker(folder, PERSON, LIMITS)
    breaker = ProcessBreaker.start(folder)
    assert breaker.check(report()) == ""
    said = breaker.check(report(equity=94.0))
    assert "a loss of 6.00 %" in said
    assert breaker.check(report(equity=100.0)) == said
    pid = breaker.pid()
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    dead = breaker.check(report())
    assert "does not answer" in dead
    assert said in dead
    again = ProcessBreaker.start(folder)
    assert again.pid() != pid
    assert again.check(report()) == said
    with pytest.raises(InputError, match="named person"):
        again.rearm(" ")
    again.rearm("Emil Post")
    assert again.check(report(equity=80.0)) == ""  # losses count anew
    assert load_record(folder).armed_by == "Emil Post"


def test_a_breaker_outlives_trading_and_latches_in_its_silence(folder: Path) -> None:
    quick = BreakerLimits(0.1, 0.05, 1.5, silence_seconds=1.0)
    arm_breaker(folder, PERSON, quick)
    trading = subprocess.run(
        [sys.executable, "-c", _AFTER_CRASH, str(folder)], cwd=ROOT, env=os.environ, check=False
    )
    assert trading.returncode == -signal.SIGKILL
    for _ in range(600):
        if load_record(folder).reason:
            break
        time.sleep(0.05)
    assert load_record(folder).reason == "no word from trading for 1 seconds"
    assert load_record(folder).equity == 100.0


def test_one_breaker_a_folder(folder: Path) -> None:
    arm_breaker(folder, PERSON, LIMITS)
    with ProcessBreaker.start(folder) as breaker:
        pid = breaker.pid()
        assert ProcessBreaker.start(folder).pid() == pid
        with pytest.raises(InputError, match="is running"):
            arm_breaker(folder, PERSON, LIMITS)
        assert breaker.beat() == ""
        assert breaker.trip("the desk says so") == "the desk says so"
        assert breaker.trip("another") == "the desk says so"
    wait_for_end(pid)
    assert arm_breaker(folder, PERSON).limits == LIMITS  # the limits that were there
    assert load_record(folder).reason == ""


def test_an_exception_leaves_the_breaker_running(folder: Path) -> None:
    arm_breaker(folder, PERSON, LIMITS)
    with pytest.raises(ZeroDivisionError), ProcessBreaker.start(folder) as breaker:
        raise ZeroDivisionError
    assert breaker.pid() > 0


def test_one_that_was_never_started_says_stop(folder: Path) -> None:
    with pytest.raises(InputError, match="no circuit breaker is armed"):
        ProcessBreaker.start(folder)
    arm_breaker(folder, PERSON, LIMITS)
    assert "does not answer" in ProcessBreaker(folder).check(report())
    with pytest.raises(FinchaosError, match="does not answer"):
        ProcessBreaker(folder).rearm(PERSON)


def test_a_damaged_record_is_refused(folder: Path) -> None:
    arm_breaker(folder, PERSON, LIMITS)
    content = bytearray((folder / RECORD).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / RECORD).write_bytes(content)
    with pytest.raises(CheckpointError):
        ProcessBreaker.start(folder)


def test_nonsense_on_the_socket_harms_nobody(folder: Path) -> None:
    arm_breaker(folder, PERSON, LIMITS)
    breaker = ProcessBreaker.start(folder)
    for message in (
        b"",
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b'{"do": "dance"}\n',
        b"x" * 70_000,
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(folder / SOCKET))
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
    assert breaker.check(report()) == ""


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"fine\n",
        b"[]\n",
        b'{"id": "another", "reason": "", "error": ""}\n',
        b'{"reason": "", "error": ""}\n',
        b'{"id": "ID", "reason": null, "error": ""}\n',
        None,
    ],
)
def test_what_is_no_answer_says_stop(answer: bytes | None, folder: Path) -> None:
    arm_breaker(folder, PERSON, LIMITS)
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET))
        listener.listen(1)

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                asked = json.loads(breaker_process.read_line(connection))
                if answer is None:
                    done.wait(10.0)
                else:
                    connection.sendall(answer.replace(b"ID", asked["id"].encode()))

        speaker = threading.Thread(target=speak)
        speaker.start()
        said = ProcessBreaker(folder, answer_seconds=0.5).check(report())
        done.set()
        speaker.join()
    assert "does not answer" in said


def test_a_record_that_cannot_be_kept_is_a_reason_to_stop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm_breaker(folder, PERSON, LIMITS)

    def full(*_: Any) -> None:
        raise StorageError("no space")

    server = BreakerServer(folder)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(breaker_process, "save_record", full)
            said = server.answer({"do": "report", "ts": 0, "equity": 100.0, "exposure": 0.0})
        assert "cannot keep its record" in said["reason"]
        later = server.answer({"do": "report", "ts": 1, "equity": 100.0, "exposure": 0.0})
        assert later["reason"] == said["reason"] == load_record(folder).reason
    finally:
        server.close()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too long a path"):
        arm_breaker(tmp_path / ("d" * 120), PERSON, LIMITS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), 3600.0])
def test_an_impossible_wait_is_refused(seconds: float, folder: Path) -> None:
    with pytest.raises(InputError, match="impossible wait"):
        ProcessBreaker(folder, answer_seconds=seconds)


@pytest.mark.parametrize("fault", ["limit", "death"])
def test_a_session_stops_by_it_and_holds_nothing(fault: str, folder: Path, tmp_path: Path) -> None:
    bars = planted_market()
    largest = 1e-6 if fault == "limit" else 10.0
    arm_breaker(folder, PERSON, BreakerLimits(1.0, 1.0, largest, 120.0))
    breaker = ProcessBreaker.start(folder)

    class Dying:
        """The same breaker, killed on the way."""

        asked = 0

        def check(self, account: AccountReport) -> str:
            self.asked += 1
            if fault == "death" and self.asked == 5:
                pid = breaker.pid()
                os.kill(pid, signal.SIGKILL)
                wait_for_end(pid)
            return breaker.check(account)

    feed = FileReplay(bars.rows(START))
    result = run_paper(
        PaperSettings(
            tmp_path / "run",
            planted(),
            feed,
            bars.rows(0, START),
            RULES,
            breaker=Dying(),
            sync=False,
        )
    )
    assert result.tripped
    assert result.units == 0.0
    assert ("an exposure of" if fault == "limit" else "does not answer") in result.reason
    accounts = journal(tmp_path / "run", "account")
    assert len(accounts) == len(bars.rows(START))
    if fault == "limit":  # an exposure there was, until it was seen
        assert np.count_nonzero([entry["exposure"] for entry in accounts]) >= 1
