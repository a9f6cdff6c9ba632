"""A breaker that two persons re-arm, in processes of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from finchaos.core.errors import CheckpointError, InputError
from finchaos.live.breaker import ProcessBreaker, arm_breaker
from finchaos.live.breaker_record import (
    RECORD,
    BreakerLimits,
    BreakerRecord,
    load_record,
    save_record,
)
from finchaos.live.session import AccountReport, PaperSession
from finchaos.trading.two_person import TwoPersonRearm
from tests.finchaos.live.markets import RULES, START, planted, planted_market
from tests.finchaos.live.test_breaker import wait_for_end

ONE = BreakerLimits(0.1, 0.05, 1.5, silence_seconds=120.0)
TWO = BreakerLimits(0.1, 0.05, 1.5, silence_seconds=120.0, confirm_seconds=600.0)
SECOND = 1_000_000_000
REPORT = AccountReport(0, 100.0, 1.0, False)


def test_two_persons_rearm_a_process_and_one_does_not(folder: Path) -> None:
    arm_breaker(folder, "Ada Byron", TWO)
    breaker = ProcessBreaker.start(folder)
    with pytest.raises(InputError, match="has not tripped"):
        breaker.request_rearm("Ada Byron")
    assert breaker.trip("planted") == "planted"
    with pytest.raises(InputError, match="nobody has asked"):
        breaker.rearm("Ada Byron")
    breaker.request_rearm("Ada Byron")
    with pytest.raises(InputError, match="two persons"):
        breaker.rearm("byron, ADA")
    pid = breaker.pid()
    os.kill(pid, signal.SIGKILL)  # the request is on the disk
    wait_for_end(pid)
    again = ProcessBreaker.start(folder)
    assert again.check(REPORT) == "planted"
    again.rearm("Emil Post")
    assert again.check(REPORT) == ""
    record = load_record(folder)
    assert record.armed_by == "Ada Byron and Emil Post"
    (done,) = record.rearms
    assert (done.asked_by, done.confirmed_by, done.reason) == ("Ada Byron", "Emil Post", "planted")
    assert 0 <= done.confirmed_ns - done.asked_ns < 600 * SECOND


def test_arming_anew_is_no_way_around(folder: Path) -> None:
    folder.mkdir()
    save_record(folder, BreakerRecord(TWO, "Ada Byron").tripped("planted"))
    for limits in (None, TWO, ONE):
        with pytest.raises(InputError, match="two persons re-arm"):
            arm_breaker(folder, "Emil Post", limits)
    assert load_record(folder).reason == "planted"
    save_record(folder, BreakerRecord(TWO, "Ada Byron"))
    longer = BreakerLimits(0.1, 0.05, 1.5, 120.0, confirm_seconds=601.0)
    for limits in (ONE, longer):
        with pytest.raises(InputError, match="cannot end two-person"):
            arm_breaker(folder, "Emil Post", limits)
    shorter = BreakerLimits(0.2, 0.05, 1.5, 120.0, confirm_seconds=60.0)
    assert arm_breaker(folder, "Emil Post", shorter).limits == shorter


def test_nor_is_damage(folder: Path) -> None:
    arm_breaker(folder, "Ada Byron", TWO)
    content = bytearray((folder / RECORD).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / RECORD).write_bytes(content)
    with pytest.raises(CheckpointError):
        arm_breaker(folder, "Emil Post", ONE)


def test_a_record_comes_back_as_it_was(folder: Path) -> None:
    folder.mkdir()
    tripped = BreakerRecord(TWO, "Ada Byron").tripped("planted")
    done = tripped.asked("Ada Byron", 5).rearmed("Emil Post", 7)
    pending = done.tripped("again").asked("Emil Post", 9)
    for record in (tripped, done, pending):
        save_record(folder, record)
        assert load_record(folder) == record


def test_a_request_grows_old_and_a_clock_that_goes_back_does_not_help() -> None:
    asked = BreakerRecord(TWO, "Ada Byron").tripped("planted").asked("Ada Byron", 1000 * SECOND)
    for now in (999, 1601):
        with pytest.raises(InputError, match="not of now"):
            asked.rearmed("Emil Post", now * SECOND)
    assert asked.rearmed("Emil Post", 1600 * SECOND).reason == ""
    assert asked.after(1, 100.0, 9.0).request == asked.request


def test_one_person_is_enough_where_nothing_else_was_said() -> None:
    tripped = BreakerRecord(ONE, "Ada Byron").tripped("planted")
    assert tripped.rearmed("Ada Byron", 0) == BreakerRecord(ONE, "Ada Byron")
    with pytest.raises(InputError, match="one person"):
        tripped.asked("Ada Byron", 0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_time_to_confirm_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="impossible time"):
        BreakerLimits(0.1, 0.05, 1.5, 120.0, confirm_seconds=seconds)


def test_a_session_says_at_once_that_two_persons_cannot_rearm_it(tmp_path: Path) -> None:
    subject, bars = TwoPersonRearm(planted()), planted_market()
    with pytest.raises(InputError, match="re-armed by one person"):
        PaperSession.open(tmp_path / "run", subject, history=bars.rows(0, START), rules=RULES)
