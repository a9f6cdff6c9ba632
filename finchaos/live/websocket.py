"""Bars from a WebSocket server, over as many connections as it takes.

After connecting the client sends ``{"subscribe": symbol, "after": nanoseconds}``; the server sends
frames as :func:`finchaos.live.events.read_frame` reads them, from the first bar that closed after
that time on, and closes with code 1000 when there will be no more.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.errors import FeedError, InputError, MissingDependencyError
from finchaos.core.extras import installing
from finchaos.live.events import LONGEST_FRAME, Delivered, Event, Missed, Silence, read_frame
from finchaos.live.feeds import Resume

NORMAL_END = 1000


@dataclass(frozen=True)
class Backoff:
    """How long to wait before another connection.

    Attributes
    ----------
    first_s, longest_s : float
        Wait after the first failure, and the most; each wait is twice the one before.
    jitter : float
        Share of a wait that is drawn at random, so that clients do not come back all at once.
    attempts : int
        Failures in a row after which the feed is given up.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    jitter: float = 0.5
    attempts: int = 20

    def __post_init__(self) -> None:
        sound = (
            0.0 <= self.first_s <= self.longest_s < math.inf
            and 0.0 <= self.jitter <= 1.0
            and self.attempts >= 1
        )
        if not sound:
            raise InputError("impossible waits between connections", got=repr(self))

    def wait_s(self, failures: int, share: float) -> float:
        """Seconds to wait after so many failures in a row; ``share`` in [0, 1) is the draw.

        Examples
        --------
        >>> [Backoff(1.0, 5.0, jitter=0.0).wait_s(n, 0.9) for n in (1, 2, 3, 4)]
        [1.0, 2.0, 4.0, 5.0]
        """
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 60))
        return whole * (1.0 - self.jitter * share)


class WebSocketFeed:
    """A client that connects again by itself.

    Parameters
    ----------
    url : str
        ``ws://`` or ``wss://``.
    symbol : str
    stall_s : float
        Seconds without a frame after which the session is told of the silence; again after as many.
    backoff : Backoff
    rng : numpy.random.Generator
        For the jitter.
    clock : callable, optional
        Gives the time (pandas.Timestamp, UTC); that of the machine by default.

    Raises
    ------
    InputError
        If the address or the limit is impossible.
    """

    def __init__(
        self,
        url: str,
        symbol: str,
        *,
        stall_s: float,
        rng: np.random.Generator,
        backoff: Backoff | None = None,
        clock: Callable[[], pd.Timestamp] | None = None,
    ) -> None:
        if not url.startswith(("ws://", "wss://")) or not 0.0 < stall_s < math.inf:
            raise InputError(
                "a WebSocket feed needs an address and a limit of silence",
                expected="ws:// or wss://, and stall_s > 0",
                got=f"{url!r}, {stall_s!r}",
            )
        self._url, self.symbol, self._stall_s, self._rng = url, symbol, stall_s, rng
        self._backoff = backoff or Backoff()
        self._clock = clock or _machine_clock

    async def events(self, resume: Resume) -> AsyncGenerator[Event, None]:
        """Frames as they come, silences, and gaps in the numbers that frames carry.

        Raises
        ------
        FeedError
            If the server cannot be reached for ``backoff.attempts`` times in a row.
        MissingDependencyError
            If the package ``websockets`` is not installed.
        """
        library = _websockets()
        after, failures, why = resume.last_ns, 0, ""
        while failures < self._backoff.attempts:
            try:
                async with self._connection(library) as socket:
                    # A server may have closed already; what it sent before is read all the same.
                    with suppress(library.exceptions.ConnectionClosed):
                        await socket.send(json.dumps({"subscribe": self.symbol, "after": after}))
                    number: int | None = None
                    while True:
                        event = await self._next(socket)
                        if isinstance(event, Delivered):
                            failures = 0
                            after = max(after, int(event.bar.ts.value))
                            missed = _missed(number, event.number)
                            number = event.number
                            if missed:
                                yield Missed(missed)
                        yield event
            except library.exceptions.ConnectionClosed as error:
                if error.rcvd is not None and error.rcvd.code == NORMAL_END:
                    return
                why = str(error)
            except (OSError, TimeoutError, library.exceptions.WebSocketException) as error:
                why = f"{type(error).__name__}: {error}"
            failures += 1
            yield Silence(self._clock())
            await asyncio.sleep(self._backoff.wait_s(failures, float(self._rng.random())))
        raise FeedError(
            f"no bars from {self._url}",
            expected=f"a connection within {self._backoff.attempts} attempts",
            got=why,
            remedy="see to the server and start again; the session goes on where it was",
        )

    def _connection(self, library: ModuleType) -> AbstractAsyncContextManager[Any]:
        connection: AbstractAsyncContextManager[Any] = library.asyncio.client.connect(
            self._url, max_size=16 * LONGEST_FRAME, open_timeout=self._stall_s
        )
        return connection

    async def _next(self, socket: Any) -> Event:
        try:
            frame = await asyncio.wait_for(socket.recv(), self._stall_s)
        except TimeoutError:
            return Silence(self._clock())
        return read_frame(frame, self.symbol)


def _missed(before: int | None, number: int | None) -> int:
    """Frames left out between two numbers of one connection."""
    return 0 if before is None or number is None else max(0, number - before - 1)


def _machine_clock() -> pd.Timestamp:
    return pd.Timestamp.now(tz="UTC")


def _websockets() -> ModuleType:
    try:
        import websockets
        import websockets.asyncio.client
        import websockets.exceptions
    except ImportError as error:
        raise MissingDependencyError(
            "a WebSocket feed needs the package websockets", remedy=installing("live")
        ) from error
    return websockets
