"""Paper trading from a feed: one call from the command line or from Python."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from finchaos.live.broker import Liquidation
from finchaos.live.feeds import Feed
from finchaos.live.session import Breaker, PaperSession, Rules


@dataclass(frozen=True, eq=False)
class PaperSettings:
    """What a paper run needs.

    Attributes
    ----------
    folder : pathlib.Path
        Where store, journal and state lie; a session that is there goes on.
    subject : Subject
        A fitted subject with the capability ``streaming``.
    feed : Feed
    history : Bars or None
        What the model warms up on; needed in a new folder only.
    rules : Rules
        Of broker and feed.
    breaker : Breaker or None
        A circuit breaker outside the session.
    liquidation : Liquidation or None
        How fast a position is closed once the kill switch has tripped.
    most_bars : int or None
        Bars after which the run ends by itself.
    sync : bool
        Flush everything to the disk before going on.
    """

    folder: Path
    subject: Subject
    feed: Feed
    history: Bars | None = None
    rules: Rules = field(default_factory=Rules)
    breaker: Breaker | None = None
    liquidation: Liquidation | None = None
    most_bars: int | None = None
    sync: bool = True

    def __post_init__(self) -> None:
        if self.most_bars is not None and self.most_bars < 1:
            raise InputError("a run needs at least one bar", got=str(self.most_bars))


@dataclass(frozen=True)
class PaperResult:
    """What a run came to.

    Attributes
    ----------
    equity : float
        At the last close; NaN before the first.
    units : float
        Held at the end.
    tripped : bool
    reason : str
        Why; empty while armed.
    counts : dict of str to int
        Journal entries of this run by event: decision, fill, account, duplicate, unusable,
        silence, refused, stopped, trip.
    caught_up : int
        Records that the run before had stored and not finished.
    repaired_bytes : int
        Bytes that the run before had left half written.
    """

    equity: float
    units: float
    tripped: bool
    reason: str
    counts: dict[str, int]
    caught_up: int
    repaired_bytes: int


def run_paper(settings: PaperSettings) -> PaperResult:
    """Trade on paper until the feed ends.

    It may be stopped at any moment, by an interrupt or by the death of the process; the next call
    goes on as if it had not been.

    Raises
    ------
    FeedError
        If the feed is lost for good.
    StorageError
        If the disk does not take what must be kept.
    InputError, CheckpointError, IntegrityError
        As :meth:`finchaos.live.session.PaperSession.open`.
    """
    return asyncio.run(stream(settings))


async def stream(settings: PaperSettings) -> PaperResult:
    """The same in a running event loop; cancel the task to stop it."""
    with PaperSession.open(
        settings.folder,
        settings.subject,
        history=settings.history,
        rules=settings.rules,
        breaker=settings.breaker,
        liquidation=settings.liquidation,
        sync=settings.sync,
    ) as session:
        if settings.feed.symbol not in ("", session.symbol):
            raise InputError(
                "the feed is of another instrument than the session",
                expected=session.symbol,
                got=settings.feed.symbol,
            )
        async with aclosing(settings.feed.events(session.position_in_feed)) as events:
            async for event in events:
                session.handle(event)
                done = session.counts.get("decision", 0)
                if settings.most_bars is not None and done >= settings.most_bars:
                    break
        return _result(session)


def _result(session: PaperSession) -> PaperResult:
    engine = session.engine
    return PaperResult(
        equity=math.nan if engine.last is None else engine.last.equity,
        units=engine.broker.units,
        tripped=engine.tripped,
        reason=engine.reason,
        counts=session.counts,
        caught_up=session.caught_up,
        repaired_bytes=session.repaired_bytes,
    )
