"""What a session does with each thing that a feed can get wrong, and who may stop it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import BAR_FIELDS, Bar
from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from finchaos.live.broker import BrokerRules
from finchaos.live.engine import GuardRules
from finchaos.live.events import Delivered, Missed, Refused, Silence, read_frame
from finchaos.live.feeds import FileReplay
from finchaos.live.runner import PaperSettings, run_paper
from finchaos.live.session import AccountReport, PaperSession, Rules
from finchaos.live.state_file import same_state
from finchaos.trading.backtest import run_backtest
from tests.finchaos.live.markets import HISTORY, RULES, START, journal, planted, planted_market
from tests.finchaos.subjects.small import market, trained

BARS = planted_market()
DAY = pd.Timedelta(days=1)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[PaperSession]:
    """A session that holds a position."""
    history = BARS.rows(0, START)
    rules = Rules(BrokerRules(fill="same_close"), RULES.guard)
    with PaperSession.open(tmp_path, planted(), history=history, rules=rules, sync=False) as opened:
        for row in range(START, START + 5):
            opened.handle(Delivered(BARS[row]))
        assert opened.engine.broker.units > 0.0
        assert not opened.engine.tripped
        yield opened


def spoilt(row: int, **values: Any) -> Delivered:
    return Delivered(dataclasses.replace(BARS[row], **values))


def flat_after(session: PaperSession, row: int = START + 5) -> bool:
    session.handle(Delivered(BARS[row]))
    return session.engine.broker.units == 0.0


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (spoilt(START + 5, close=float("nan")), "finite"),
        (spoilt(START + 5, volume=float("inf")), "finite"),
        (spoilt(START + 5, low=-1.0), "not positive"),
        (spoilt(START + 5, close=1e6, high=1e6), "wide"),
        (spoilt(START + 5, ts=BARS.index[START - 40]), "advance"),
        (spoilt(START + 5, ts=BARS.index[START + 4]), "advance"),
        (Missed(3), "left out 3 frames"),
        (Silence(BARS.index[START + 4] + 30 * DAY), "no bar for"),
        (Silence(BARS.index[START + 4] - DAY), "behind"),
    ],
)
def test_a_fault_trips_and_what_is_held_goes_at_the_next_price(
    session: PaperSession, event: Any, reason: str
) -> None:
    session.handle(event)
    assert session.engine.tripped
    assert reason in session.engine.reason
    assert flat_after(session)
    assert flat_after(session, START + 6)  # the latch holds
    session.rearm("A. Person")
    session.handle(Delivered(BARS[START + 7]))
    assert not session.engine.tripped


def test_a_gap_in_time_trips(session: PaperSession) -> None:
    session.handle(
        Delivered(dataclasses.replace(BARS[START + 5], ts=BARS.index[START + 5] + 30 * DAY))
    )
    assert "days since" in session.engine.reason
    assert session.engine.broker.units == 0.0


def test_a_frozen_feed_trips(session: PaperSession) -> None:
    for days in range(1, 9):
        session.handle(
            Delivered(dataclasses.replace(BARS[START + 4], ts=BARS.index[START + 4] + days * DAY))
        )
    assert "identical" in session.engine.reason


def test_the_same_bar_again_changes_nothing_but_the_journal(session: PaperSession) -> None:
    before = session.engine.state()
    for row in (START + 4, START + 2, START - 10):
        session.handle(Delivered(BARS[row]))
    assert same_state(session.engine.state(), before)
    assert session.counts["duplicate"] == 3


def test_a_short_silence_changes_nothing(session: PaperSession) -> None:
    session.handle(Silence(BARS.index[START + 4] + DAY))
    assert not session.engine.tripped
    assert session.engine.broker.units > 0.0


def test_frames_refused_in_a_row_trip(session: PaperSession) -> None:
    for row in (START + 5, START + 6):
        session.handle(Refused("not_json: {"))
        session.handle(Refused("wrong_symbol: OTHER"))
        assert not session.engine.tripped
        session.handle(Delivered(BARS[row]))  # a good bar in between: the count starts anew
    for _ in range(3):
        session.handle(Refused("wrong_symbol: OTHER"))
    assert "3 frames refused in a row, last wrong_symbol" in session.engine.reason
    assert flat_after(session, START + 7)


def test_a_time_without_a_zone_is_refused(session: PaperSession) -> None:
    session.handle(Delivered(dataclasses.replace(BARS[START + 5], ts=pd.Timestamp("2003-01-01"))))
    assert session.counts["refused"] == 1


def test_a_person_is_named_and_a_model_that_failed_is_never_asked_again(
    session: PaperSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="named person"):
        session.rearm("  ")
    monkeypatch.setattr(session.engine._stream, "step", lambda bar: 1 / 0)
    assert flat_after(session)
    assert "ZeroDivisionError" in session.engine.reason
    with pytest.raises(InputError, match="cannot be re-armed"):
        session.rearm("A. Person")


@pytest.mark.parametrize("position", [float("nan"), 1.5, -0.5])
def test_a_position_outside_the_models_limits_trips(
    session: PaperSession, monkeypatch: pytest.MonkeyPatch, position: float
) -> None:
    step = session.engine._stream.step
    monkeypatch.setattr(
        session.engine._stream,
        "step",
        lambda bar: dataclasses.replace(step(bar), position=position),
    )
    assert flat_after(session)
    assert "limits" in session.engine.reason


class Drawdown:
    """A breaker that wants no loss, or is out of order."""

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.seen = broken, list[AccountReport]()

    def check(self, report: AccountReport) -> str:
        self.seen.append(report)
        if self.broken and len(self.seen) > 9:
            raise ConnectionError
        return "capital below its start" if report.equity < 1e6 else ""


@pytest.mark.parametrize("broken", [False, True])
def test_a_breaker_stops_the_session_and_so_does_one_that_fails(
    tmp_path: Path, broken: bool
) -> None:
    breaker = Drawdown(broken)
    result = run_paper(
        PaperSettings(
            tmp_path, planted(), FileReplay(BARS.rows(START)), BARS.rows(0, START),
            RULES, breaker=breaker, sync=False,
        )
    )  # fmt: skip
    assert result.tripped
    assert result.units == 0.0
    assert "below" in result.reason or "breaker failed" in result.reason
    stopped = journal(tmp_path, "stopped")
    assert len(stopped) == 1
    fills = [entry for entry in journal(tmp_path, "fill") if entry["filled"] > stopped[0]["ts"]]
    assert all(fill["units"] < 0 for fill in fills)


def test_without_faults_the_account_is_the_backtests_bit_for_bit(tmp_path: Path) -> None:
    """A whole history of the real model: its batch signals through the backtest, as the oracle."""
    rules = Rules(
        BrokerRules(1e6, fill="next_close", holding="fraction", commission_bps=10.0),
        # The history is calm: the session would stop at the first storm, which is not the point.
        GuardRules(shock_multiple=10.0, move_multiple=10.0),
    )
    bars = market()
    run_paper(
        PaperSettings(tmp_path, trained(), FileReplay(bars.rows(HISTORY)), bars.rows(0, HISTORY),
                      rules, sync=False)
    )  # fmt: skip
    rows = bars.rows(HISTORY)
    wanted = trained().signals(bars).rows(HISTORY)
    decided = journal(tmp_path, "decision")
    assert not any(entry["tripped"] for entry in decided)
    assert [entry["position"] for entry in decided] == wanted.position.tolist()
    ledger = run_backtest(
        Signals(rows.index, wanted.position), rows, cost_bps=10.0, delay_bars=1, capital=1e6
    )
    account = journal(tmp_path, "account")
    for name in ("equity", "exposure", "units", "cash", "costs"):
        assert np.array_equal([entry[name] for entry in account], getattr(ledger, name)), name
    assert len(journal(tmp_path, "fill")) == len(ledger.fills) > 3


def frame(**change: Any) -> str:
    bar = BARS[START]
    said = {"symbol": "A", "ts": "2020-01-02T21:00:00Z", **{n: getattr(bar, n) for n in BAR_FIELDS}}
    return json.dumps({k: v for k, v in {**said, **change}.items() if v != "absent"})


def test_a_frame_becomes_a_bar() -> None:
    found = read_frame(frame(number=7), "A")
    assert isinstance(found, Delivered)
    assert found.number == 7
    assert found.bar == Bar(
        pd.Timestamp("2020-01-02 21:00", tz="UTC"), *(getattr(BARS[START], n) for n in BAR_FIELDS)
    )
    stamped = read_frame(frame(ts=int(found.bar.ts.as_unit("ns").value)), "A")
    assert isinstance(stamped, Delivered)
    assert stamped.bar == found.bar
    spoilt = read_frame(frame(close=float("nan")), "A")
    assert isinstance(spoilt, Delivered)
    assert np.isnan(spoilt.bar.close)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\x00\x01", "not_text"),
        ("x" * 5000, "too_long"),
        ("{", "not_json"),
        ("[" * 4000, "not_json"),
        ("[1, 2]", "not_an_object"),
        (frame(symbol="absent"), "missing_fields: symbol"),
        (frame(close="absent", low="absent"), "missing_fields: low, close"),
        (frame(symbol="B"), "wrong_symbol: B"),
        (frame(symbol=None), "wrong_symbol: None"),
        (frame(open="1.0"), "not_a_number: open"),
        (frame(open=None), "not_a_number: open"),
        (frame(open=True), "not_a_number: open"),
        (frame(volume=10**400), "not_a_number"),
        (frame(ts="2020-01-02T21:00:00"), "bad_time"),
        (frame(ts="yesterday at nine"), "bad_time"),
        (frame(ts=1.5), "bad_time"),
        (frame(ts=10**30), "bad_time"),
        (frame(number="7"), "bad_number"),
    ],
)
def test_a_frame_that_is_none_is_refused_by_name(text: str | bytes, reason: str) -> None:
    found = read_frame(text, "A")
    assert isinstance(found, Refused)
    assert found.reason.startswith(reason)


def test_what_cannot_run_is_refused(tmp_path: Path) -> None:
    short = BARS.rows(0, 20)
    with pytest.raises(InputError, match="too short a history"):
        PaperSession.open(tmp_path / "a", planted(), history=short)
    with pytest.raises(InputError, match="no session"):
        PaperSession.open(tmp_path / "b", planted())
    still = dataclasses.replace(planted(), capabilities=frozenset())
    with pytest.raises(InputError, match="no live session"):
        PaperSession.open(tmp_path / "c", still, history=BARS)
    for wrong in ({"refused_in_a_row": 0}, {"gap_multiple": float("nan")}):
        with pytest.raises(InputError, match="impossible rules"):
            GuardRules(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pace"):
        FileReplay(BARS, seconds_per_bar=-1.0)
    with pytest.raises(InputError, match="at least one bar"):
        PaperSettings(tmp_path, planted(), FileReplay(BARS), most_bars=0)


def test_a_feed_of_another_instrument_is_refused(tmp_path: Path) -> None:
    other = FileReplay(dataclasses.replace(BARS, symbol="OTHER"))
    with pytest.raises(InputError, match="another instrument"):
        run_paper(PaperSettings(tmp_path, planted(), other, BARS.rows(0, START), sync=False))


def test_a_file_is_replayed_and_a_run_ends_by_itself(tmp_path: Path) -> None:
    frame = BARS.frame().reset_index(names="ts")
    frame["ts"] = [stamp.isoformat() for stamp in BARS.index]
    frame.to_csv(tmp_path / "bars.csv", index=False)
    feed = FileReplay.from_file(tmp_path / "bars.csv", first_row=START, symbol=BARS.symbol)
    settings = PaperSettings(
        tmp_path / "s", planted(), feed, BARS.rows(0, START), most_bars=7, sync=False
    )
    assert run_paper(settings).counts["decision"] == 7
    assert run_paper(settings).counts["decision"] == 7
    stamps = [entry["ts"] for entry in journal(tmp_path / "s", "decision")]
    assert stamps == [stamp.isoformat() for stamp in BARS.index[START : START + 14]]
