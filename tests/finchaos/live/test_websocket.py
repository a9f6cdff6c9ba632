"""The WebSocket client against a real server on this machine that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from websockets.asyncio.server import ServerConnection, serve

from finchaos.core.bars import BAR_FIELDS
from finchaos.core.errors import FeedError, InputError
from finchaos.live.events import Delivered, Event, Missed, Refused, Silence
from finchaos.live.feeds import FileReplay, Resume
from finchaos.live.runner import PaperResult, PaperSettings, run_paper, stream
from finchaos.live.session import JOURNAL
from finchaos.live.websocket import Backoff, WebSocketFeed
from tests.finchaos.live.markets import RULES, START, planted, planted_market

BARS = planted_market()
TIMES = BARS.index.as_unit("ns").asi8.tolist()
Handler = Callable[[ServerConnection], Awaitable[None]]
QUICK = Backoff(first_s=0.001, longest_s=0.01, attempts=5)


def frame(row: int, number: int | None = None) -> str:
    values = {name: float(getattr(BARS, name)[row]) for name in BAR_FIELDS}
    said: dict[str, Any] = {"symbol": BARS.symbol, "ts": TIMES[row], **values}
    return json.dumps(said if number is None else {**said, "number": number})


def feed(port: int, **options: Any) -> WebSocketFeed:
    settings: dict[str, Any] = {
        "stall_s": 5.0,
        "rng": np.random.default_rng(1),
        "backoff": QUICK,
        "clock": lambda: BARS.index[START] + pd.Timedelta(hours=1),
        **options,
    }
    return WebSocketFeed(f"ws://127.0.0.1:{port}", BARS.symbol, **settings)


async def served(handler: Handler, use: Callable[[int], Awaitable[Any]]) -> Any:
    async with serve(handler, "127.0.0.1", 0) as server:
        return await asyncio.wait_for(use(server.sockets[0].getsockname()[1]), 60)


def heard(handler: Handler, **options: Any) -> list[Event]:
    """Everything the feed says until it ends."""

    async def listen(port: int) -> list[Event]:
        async with aclosing(feed(port, **options).events(Resume(0, TIMES[START - 1]))) as events:
            return [event async for event in events]

    found: list[Event] = asyncio.run(served(handler, listen))
    return found


def rows_of(events: list[Event]) -> list[int]:
    return [
        TIMES.index(int(e.bar.ts.as_unit("ns").value)) for e in events if isinstance(e, Delivered)
    ]


def test_bars_come_after_the_last_one_known_until_the_server_ends() -> None:
    asked = []

    async def handler(socket: ServerConnection) -> None:
        asked.append(json.loads(await socket.recv()))
        for row in range(START, START + 5):
            await socket.send(frame(row))

    events = heard(handler)
    assert asked == [{"subscribe": BARS.symbol, "after": TIMES[START - 1]}]
    assert rows_of(events) == list(range(START, START + 5))
    assert len(events) == 5


def test_a_lost_connection_is_made_again_from_the_last_bar_on() -> None:
    asked: list[int] = []

    async def handler(socket: ServerConnection) -> None:
        after = json.loads(await socket.recv())["after"]
        asked.append(after)
        first = TIMES.index(after) + 1
        for row in range(first, min(first + 3, START + 8)):
            await socket.send(frame(row))
        if first + 3 < START + 8:
            socket.transport.abort()

    events = heard(handler)
    assert rows_of(events) == list(range(START, START + 8))
    assert asked == [TIMES[START - 1], TIMES[START + 2], TIMES[START + 5]]
    assert sum(isinstance(event, Silence) for event in events) == 2


def test_malformed_frames_are_refused_by_name_and_the_rest_comes_through() -> None:
    async def handler(socket: ServerConnection) -> None:
        for text in (frame(START), "{", b"\x00", frame(START).replace(BARS.symbol, "B"), "[]"):
            await socket.send(text)
        await socket.send(frame(START + 1))

    events = heard(handler)
    names = [event.reason.split(":")[0] for event in events if isinstance(event, Refused)]
    assert names == ["not_json", "not_text", "wrong_symbol", "not_an_object"]
    assert rows_of(events) == [START, START + 1]


def test_a_gap_in_the_numbers_of_frames_is_told() -> None:
    async def handler(socket: ServerConnection) -> None:
        for row, number in ((0, 5), (1, 6), (2, 9), (2, 9), (3, 10)):
            await socket.send(frame(START + row, number))

    events = heard(handler)
    assert [event for event in events if isinstance(event, Missed)] == [Missed(2)]
    assert isinstance(events[2], Missed)


def test_a_stall_is_told_with_the_clocks_time_and_again() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send(frame(START))
        await asyncio.sleep(0.35)
        await socket.send(frame(START + 1))

    events = heard(handler, stall_s=0.1)
    silences = [event for event in events if isinstance(event, Silence)]
    assert len(silences) >= 2
    assert silences[0].now == BARS.index[START] + pd.Timedelta(hours=1)
    assert rows_of(events) == [START, START + 1]


def test_a_server_that_never_answers_is_given_up() -> None:
    count = 0

    async def handler(socket: ServerConnection) -> None:
        nonlocal count
        count += 1
        await socket.close(1011, "out of order")

    with pytest.raises(FeedError, match=r"within 5 attempts.*out of order"):
        heard(handler)
    assert count == 5


def test_nobody_at_the_address_is_given_up() -> None:
    async def listen() -> None:
        async for event in feed(9).events(Resume(0, 0)):
            assert isinstance(event, Silence)

    with pytest.raises(FeedError, match=r"OSError|Refused"):
        asyncio.run(listen())


def test_waits_double_to_their_longest_and_jitter_only_shortens() -> None:
    rule = Backoff(1.0, 8.0, jitter=0.5)
    assert [rule.wait_s(n, 0.0) for n in (1, 2, 3, 4, 5, 5000)] == [1, 2, 4, 8, 8, 8]
    assert rule.wait_s(3, 0.999) == pytest.approx(2.0, rel=1e-2)


@pytest.mark.parametrize(
    "wrong",
    [{"first_s": -1.0}, {"first_s": 40.0}, {"jitter": 2.0}, {"attempts": 0}, {"longest_s": np.inf}],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Backoff(**wrong)
    with pytest.raises(InputError):
        feed(1, stall_s=0.0)
    with pytest.raises(InputError):
        WebSocketFeed("http://a", "A", stall_s=1.0, rng=np.random.default_rng(1))


def test_a_bad_line_gives_the_journal_of_a_good_one_but_for_what_was_bad(tmp_path: Path) -> None:
    """Lost connections, repeated bars, refused frames: decisions and account are the same."""
    head, rest = BARS.rows(0, START), BARS.rows(START, START + 40)
    run_paper(
        PaperSettings(tmp_path / "file", planted(), FileReplay(rest), head, RULES, sync=False)
    )

    now = [BARS.index[START]]  # the clock follows the bars

    async def handler(socket: ServerConnection) -> None:
        first = max(START, TIMES.index(json.loads(await socket.recv())["after"]) - 2)
        last = min(first + 9, START + 40)
        for row in range(first, last):
            now[0] = max(now[0], BARS.index[row])
            await socket.send(frame(row))
        await socket.send("?")
        if last < START + 40:
            await asyncio.sleep(0.05)
            socket.transport.abort()

    async def trade(port: int) -> PaperResult:
        line = feed(port, clock=lambda: now[0])
        settings = PaperSettings(tmp_path / "line", planted(), line, head, RULES, sync=False)
        return await stream(settings)

    result = asyncio.run(served(handler, trade))
    assert not result.tripped
    assert result.counts["duplicate"] >= 6
    assert result.counts["refused"] >= 3
    kept = ("decision", "fill", "account")

    def lines(name: str) -> list[str]:
        text = (tmp_path / name / JOURNAL).read_text().splitlines()
        return [line for line in text if json.loads(line)["event"] in kept]

    assert lines("line") == lines("file")
