"""Where bars come from: the protocol of a feed, and the replay of a file at a chosen pace."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from finchaos.core.bars import Bar, Bars
from finchaos.core.errors import InputError
from finchaos.live.events import Delivered, Event


@dataclass(frozen=True)
class Resume:
    """Where a session stands in its feed.

    Attributes
    ----------
    delivered : int
        Bars that the feed delivered to it so far.
    last_ns : int
        Close time of the last bar that it has, of its history if none was delivered; nanoseconds.
    """

    delivered: int
    last_ns: int


class Feed(Protocol):
    """Anything that delivers bars in time."""

    @property
    def symbol(self) -> str:
        """The instrument; empty where the feed does not know."""
        ...

    def events(self, resume: Resume) -> AsyncGenerator[Event, None]:
        """Everything after ``resume``, until the feed ends.

        A bar may come twice: the session knows it again.
        """
        ...


class FileReplay:
    """Bars known beforehand, one after the other.

    Parameters
    ----------
    bars : Bars or sequence of Bar
        Delivered as they are, right or wrong.
    seconds_per_bar : float
        Pause before each; 0 for as fast as they are taken.

    Raises
    ------
    InputError
        If the pace is impossible.
    """

    def __init__(self, bars: Bars | Sequence[Bar], *, seconds_per_bar: float = 0.0) -> None:
        if not 0.0 <= seconds_per_bar < math.inf:
            raise InputError("a pace cannot be negative", got=repr(seconds_per_bar))
        self._bars, self._pause = bars, seconds_per_bar
        self.symbol = bars.symbol if isinstance(bars, Bars) else ""

    @classmethod
    def from_file(
        cls,
        path: Path,
        *,
        first_row: int = 0,
        symbol: str | None = None,
        bars_per_year: float | None = None,
        seconds_per_bar: float = 0.0,
    ) -> FileReplay:
        """Bars of a CSV or Parquet file, from a row on; see :func:`finchaos.markets.load_bars`.

        Raises
        ------
        DataError
            If the file cannot be used.
        """
        from finchaos.markets import load_bars

        bars = load_bars(path, symbol=symbol, bars_per_year=bars_per_year)
        return cls(bars.rows(first_row), seconds_per_bar=seconds_per_bar)

    async def events(self, resume: Resume) -> AsyncGenerator[Event, None]:
        """The bars that were not yet delivered."""
        for row in range(resume.delivered, len(self._bars)):
            # Even without a pause others have their turn.
            await asyncio.sleep(self._pause)
            yield Delivered(self._bars[row])
