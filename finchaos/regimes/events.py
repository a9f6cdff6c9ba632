"""How a risk-off signal did on real data: against dated events, and while the market was low.

The dates of events are chosen with hindsight. They serve to score signals that were made without
them, and nothing else may use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.kpis import first_true, flags, onsets, positive


@dataclass(frozen=True)
class DatedEvent:
    """A fall of the market.

    Attributes
    ----------
    name : str
    onset : datetime.date
        Session of the last high before the fall.
    end : datetime.date
        Session of its lowest close, from which a signal should be back on.
    """

    name: str
    onset: date
    end: date

    def __post_init__(self) -> None:
        if not self.onset < self.end:
            raise InputError(
                f"event {self.name} ends before it begins", got=f"{self.onset} to {self.end}"
            )


@dataclass(frozen=True)
class EventOutcome:
    """What a signal did in one event; a session is a date of the index.

    Attributes
    ----------
    event : DatedEvent
    already_off : bool
        Off at the onset already: then it is detected after 0 sessions.
    sessions_to_off : float
        From the onset to the first close at which it was off, up to the end; infinite if none.
    move_to_off : float
        Move of the index meanwhile, -0.12 for a fall of 12 %; up to the end if never off.
    sessions_to_back_on : float
        From the end to the first close at which it was on; 0 if on at the end, infinite if the
        sample ends before.
    move_to_back_on : float
        Move of the index meanwhile; up to the last close if never back on.
    bars, bars_off : int
        Bars from onset to end, both included, and those of them that were off.
    """

    event: DatedEvent
    already_off: bool
    sessions_to_off: float
    move_to_off: float
    sessions_to_back_on: float
    move_to_back_on: float
    bars: int
    bars_off: int


@dataclass(frozen=True)
class EventScore:
    """A signal scored against all events.

    Attributes
    ----------
    outcomes : tuple of EventOutcome
    event_bars, event_bars_off : int
        Bars in some event, and those of them that were off.
    outside_bars, outside_bars_off : int
        The same of the other bars.
    false_onsets : int
        Bars outside at which the signal went off.
    bars_per_year : float
    """

    outcomes: tuple[EventOutcome, ...]
    event_bars: int
    event_bars_off: int
    outside_bars: int
    outside_bars_off: int
    false_onsets: int
    bars_per_year: float

    @property
    def caught_share(self) -> float:
        """Share of the bars in events that were off."""
        return self.event_bars_off / self.event_bars

    @property
    def outside_share_off(self) -> float:
        """Share of the other bars that were off; NaN if there are none."""
        return self.outside_bars_off / self.outside_bars if self.outside_bars else float("nan")

    @property
    def false_onsets_per_year(self) -> float:
        """False onsets in a year of bars outside events; NaN if there are none."""
        years = self.outside_bars / self.bars_per_year
        return self.false_onsets / years if years else float("nan")


def score_events(
    off: np.ndarray,
    close: np.ndarray,
    index: pd.DatetimeIndex,
    events: Sequence[DatedEvent],
    *,
    bars_per_year: float,
) -> EventScore:
    """Score a risk-off signal against dated events.

    Parameters
    ----------
    off : numpy.ndarray, shape (t,), bool
        Risk-off after each close.
    close : numpy.ndarray, shape (t,)
        The index whose falls the events are.
    index : pandas.DatetimeIndex, shape (t,)
        Rising; several bars of one date are one session.
    events : sequence of DatedEvent
    bars_per_year : float

    Raises
    ------
    InputError
        If shapes do not fit or there are no events.
    DataError
        If an event's onset or end is no date of the index, or a close is not positive.
    """
    away, price, dates = flags("off", off), np.asarray(close, dtype=np.float64), _dates(index)
    if not len(events) or not away.shape == price.shape == dates.shape:
        raise InputError(
            "a signal cannot be scored",
            expected="events, and one close and one date for each bar",
            got=f"{len(events)} events, {len(away)} bars, {len(price)} closes, {len(dates)} dates",
        )
    _sound(price)
    inside = np.zeros(len(away), dtype=bool)
    outcomes = []
    for event in events:
        onset, end = _last_row(dates, event.onset, event), _last_row(dates, event.end, event)
        inside[onset : end + 1] = True
        outcomes.append(_outcome(event, away, price, dates, onset, end))
    return EventScore(
        outcomes=tuple(outcomes),
        event_bars=int(inside.sum()),
        event_bars_off=int((away & inside).sum()),
        outside_bars=int((~inside).sum()),
        outside_bars_off=int((away & ~inside).sum()),
        false_onsets=int((onsets(away) & ~inside).sum()),
        bars_per_year=positive("bars_per_year", bars_per_year),
    )


@dataclass(frozen=True)
class DrawdownSortino:
    """Sortino ratio over the bars on which the market was low.

    Attributes
    ----------
    ratio : float
        A year; NaN if no bar was low or none of them lost.
    bars : int
        Bars that were low.
    mean, downside : float
        Mean return per bar over them, and root mean square of their shortfalls below zero.
    """

    ratio: float
    bars: int
    mean: float
    downside: float


def sortino_in_drawdown(
    returns: np.ndarray,
    close: np.ndarray,
    *,
    bars_per_year: float,
    depth: float = 0.10,
    low_at: Literal["end", "start"] = "end",
) -> DrawdownSortino:
    """Sortino ratio of a strategy while the index is at least ``depth`` below its high so far.

    Parameters
    ----------
    returns : numpy.ndarray, shape (t - 1,)
        Net simple returns of the strategy between consecutive closes.
    close : numpy.ndarray, shape (t,)
        The index, from as early as its high is to count.
    bars_per_year : float
    depth : float
        A fraction.
    low_at : {"end", "start"}
        Whether the close that ends a return decides that it counts, or the one before it. A return
        helps to decide the close that ends it, so that "end" picks more losses than gains (buying
        and holding the S&P 500 from 2000 to 2022: -0.36 by "end", +0.48 by "start"). Compare
        only figures of one kind; between strategies both are fair.

    Raises
    ------
    InputError, DataError
        If shapes do not fit, a parameter is out of range or a value is not finite.

    References
    ----------
    Sortino & Price, Performance Measurement in a Downside Risk Framework, Journal of Investing
    3(3), 1994: the downside deviation is taken over all bars that count.
    """
    earned, price = np.asarray(returns, dtype=np.float64), np.asarray(close, dtype=np.float64)
    if earned.ndim != 1 or price.shape != (len(earned) + 1,):
        raise InputError(
            "returns and closes do not fit together",
            expected="one close more than returns",
            got=f"{earned.shape} and {price.shape}",
        )
    if not 0 < depth < 1 or low_at not in ("end", "start"):
        raise InputError(
            "impossible definition of a low market",
            expected='depth in (0, 1) and low_at "end" or "start"',
            got=f"{depth}, {low_at!r}",
        )
    _sound(price)
    if not np.isfinite(earned).all():
        raise DataError("returns must be finite")
    low = price <= (1.0 - depth) * np.maximum.accumulate(price)
    counted = earned[low[1:] if low_at == "end" else low[:-1]]
    annual = np.sqrt(positive("bars_per_year", bars_per_year))
    if not len(counted):
        return DrawdownSortino(float("nan"), 0, float("nan"), float("nan"))
    mean = float(counted.mean())
    downside = float(np.sqrt(np.mean(np.minimum(counted, 0.0) ** 2)))
    ratio = float(mean / downside * annual) if downside > 0 else float("nan")
    return DrawdownSortino(ratio, len(counted), mean, downside)


def _outcome(
    event: DatedEvent,
    away: np.ndarray,
    price: np.ndarray,
    dates: np.ndarray,
    onset: int,
    end: int,
) -> EventOutcome:
    session = np.concatenate([[0], np.cumsum(dates[1:] != dates[:-1])])
    left = first_true(away[onset : end + 1])
    back = first_true(~away[end:])
    at_left = end if np.isinf(left) else onset + int(left)
    at_back = len(price) - 1 if np.isinf(back) else end + int(back)
    return EventOutcome(
        event=event,
        already_off=bool(away[onset]),
        sessions_to_off=left if np.isinf(left) else float(session[at_left] - session[onset]),
        move_to_off=float(price[at_left] / price[onset] - 1.0),
        sessions_to_back_on=back if np.isinf(back) else float(session[at_back] - session[end]),
        move_to_back_on=float(price[at_back] / price[end] - 1.0),
        bars=end + 1 - onset,
        bars_off=int(away[onset : end + 1].sum()),
    )


def _dates(index: pd.DatetimeIndex) -> np.ndarray:
    if not (isinstance(index, pd.DatetimeIndex) and index.is_monotonic_increasing):
        raise InputError("the index must hold rising dates", got=type(index).__name__)
    return index.tz_localize(None).normalize().to_numpy("datetime64[D]")


def _last_row(dates: np.ndarray, day: date, event: DatedEvent) -> int:
    """Row of a session's last close."""
    row = int(np.searchsorted(dates, np.datetime64(day), side="right")) - 1
    if row < 0 or dates[row] != np.datetime64(day):
        raise DataError(
            f"event {event.name} is not covered by the bars",
            expected=f"a session on {day}",
            got=f"bars from {dates[0]} to {dates[-1]}" if len(dates) else "no bars",
            remedy="date events by sessions of the index, or leave this one out",
        )
    return row


def _sound(price: np.ndarray) -> None:
    if not (np.isfinite(price).all() and (price > 0).all()):
        raise DataError("closes must be finite and positive")
