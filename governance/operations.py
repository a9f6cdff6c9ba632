"""Operational scenarios: what goes wrong between the market and a model that trades on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from finchaos.core.bars import PRICE_FIELDS, Bar, Bars
from finchaos.core.subject import HasKillSwitch, Stream, Streaming, Subject
from governance.faults import FAULTS, FROZEN_BARS

JUMP = 0.10
"""What the market loses behind a frozen feed."""
WATCHED_BARS = 40
"""Bars from the first wrong one on over which money is counted."""
LATE = pd.Timedelta(hours=1)
Spoiled = tuple[list[Bar], list[Bar], int]
"""The market as it was, what the feed showed of it, and how many bars of that were wrong."""


@dataclass(frozen=True)
class Operation:
    """One operational scenario.

    Attributes
    ----------
    name, description : str
    spoil : callable
        From the last good bar and the bars due to market, feed and the number of wrong bars.
    """

    name: str
    description: str
    spoil: Callable[[Bar, Sequence[Bar]], Spoiled]


@dataclass(frozen=True)
class Trading:
    """What one stream did in one operational scenario.

    Attributes
    ----------
    position : numpy.ndarray, shape (n,)
        Exposure wanted after each bar; what was wanted before, where the stream raised an error.
    tripped, refused : bool
        Whether the switch tripped, or a bar was answered with an error, while the feed was wrong
        or on the first right bar after.
    unusable : int
        Positions that were not finite; nothing is held on them.
    """

    position: np.ndarray
    tripped: bool
    refused: bool
    unusable: int

    @property
    def stopped(self) -> bool:
        """Whether the model noticed: it tripped, or refused a bar."""
        return self.tripped or self.refused


def trade(
    subject: Subject,
    history: Bars,
    feed: Sequence[Bar],
    *,
    wrong: int,
    before: float,
    person: str,
) -> Trading:
    """Open a stream after ``history`` and show it a feed whose first ``wrong`` bars are wrong.

    ``before`` is the exposure wanted at the end of ``history``: it stands while bars are refused.

    A stream that ``history`` has tripped is re-armed in the name of ``person``; after that it is
    left alone.
    """
    stream: Stream = cast(Streaming, subject).open(history)
    switch = cast(HasKillSwitch, stream) if "kill_switch" in subject.capabilities else None
    if switch is not None and switch.tripped:
        switch.rearm(person)
    held, tripped, refused, unusable = before, False, False, 0
    wanted: list[float] = []
    for row, bar in enumerate(feed):
        try:
            position = float(stream.step(bar).position)
        except Exception:  # an error is an answer here: the last order stands
            refused |= row <= wrong
            position = held
        if not np.isfinite(position):
            unusable += 1
            position = 0.0
        tripped |= switch is not None and switch.tripped and row <= wrong
        held = position
        wanted.append(position)
    return Trading(np.array(wanted), tripped, refused, unusable)


def capital_lost(
    position: np.ndarray,
    before: float,
    market: Sequence[Bar],
    start: Bar,
    *,
    cost_bps: float,
    delay_bars: int,
) -> float:
    """Loss of capital over the market's bars, net; negative for a gain.

    Parameters
    ----------
    position : numpy.ndarray, shape (n,)
        Exposure wanted after each bar of the market.
    before : float
        Exposure held, and wanted, at ``start``.
    market : sequence of Bar, length n
    start : Bar
        The bar before.
    cost_bps : float
    delay_bars : int
    """
    close = np.array([start.close, *(bar.close for bar in market)])
    wanted = np.concatenate([np.full(delay_bars + 1, before), position])
    held = wanted[: len(market)]  # period k starts at bar k, of which start is the first
    cost = np.abs(np.diff(held, prepend=before)) * cost_bps / 1e4
    return 1.0 - float(np.prod(np.maximum(1.0 + held * (close[1:] / close[:-1] - 1.0) - cost, 0.0)))


def _frozen_then_jump(last: Bar, due: Sequence[Bar]) -> Spoiled:
    fallen = [(1.0 - JUMP) ** (min(row + 1, FROZEN_BARS) / FROZEN_BARS) for row in range(len(due))]
    market = [_times(bar, factor) for bar, factor in zip(due, fallen, strict=True)]
    still = [replace(last, ts=bar.ts) for bar in due[:FROZEN_BARS]]
    return market, [*still, *market[FROZEN_BARS:]], FROZEN_BARS


def _clock_back(last: Bar, due: Sequence[Bar]) -> Spoiled:
    return list(due), [replace(bar, ts=bar.ts - LATE) for bar in due], len(due)


def _slip(fault: str) -> Callable[[Bar, Sequence[Bar]], Spoiled]:
    def spoil(last: Bar, due: Sequence[Bar]) -> Spoiled:
        # The unit errors of the kill-switch check draw nothing: any generator will do.
        (wrong,) = FAULTS[fault].deliveries(last, due, np.random.default_rng(0))
        return list(due), [cast(Bar, wrong.bar), *due[1:]], 1

    return spoil


def _times(bar: Bar, factor: float) -> Bar:
    values: dict[str, Any] = {name: factor * getattr(bar, name) for name in PRICE_FIELDS}
    return replace(bar, **values)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "frozen_then_jump",
        f"The feed repeats the last bar for {FROZEN_BARS} bars while the market loses "
        f"{100 * JUMP:g} per cent, and then shows it",
        _frozen_then_jump,
    ),
    Operation("clock_back_one_hour", "From one bar on stamps are an hour early", _clock_back),
    Operation("decimal_slip_up", "One bar a hundred times too high", _slip("unit_error_up")),
    Operation("decimal_slip_down", "One bar a hundred times too low", _slip("unit_error_down")),
)
