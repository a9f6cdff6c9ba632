"""Bars that carry a scenario: recorded returns after a subject's own warm-up, or the real bars.

*Level replay* shows the subject the bars of the event itself, where the loaded bars have them.
*Shape replay* continues the subject's own bars with the event's returns: the same shape at
another level and on other dates, so that a model of any era can be tested on any event.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars, Provenance
from finchaos.core.errors import DataError, InputError
from finchaos.markets.sessions import EXCHANGE_ZONE, session_closes
from governance.scenario import Scenario

SAME_MARKET = 0.95
"""Least correlation of returns at which loaded bars count as a record of the scenario's market."""
DECAY = 0.94
SETTLING_BARS = 20
VOLATILITY_BARS = 21
HIGH_BARS = 252
NEAR_HIGH = 0.02

Path = Literal["level", "shape", "reconstructed"]


@dataclass(frozen=True, eq=False)
class Replay:
    """Bars to show a subject, and which of them are the scenario.

    Attributes
    ----------
    bars : Bars
        Warm-up and scenario.
    start : int
        Row of the scenario's first bar.
    index : pandas.DatetimeIndex, shape (n,)
        When the scenario's bars happened, whatever stamps they carry in ``bars``.
    path : {"level", "shape", "reconstructed"}
    note : str
        What a reader must know of the path.
    """

    bars: Bars
    start: int
    index: pd.DatetimeIndex
    path: Path
    note: str

    def __post_init__(self) -> None:
        if self.start < 1 or len(self.bars) - self.start != len(self.index):
            raise InputError("a replay needs warm-up bars and one stamp for each scenario bar")


def scenario_closes(scenario: Scenario) -> pd.DatetimeIndex:
    """Close times of the scenario's sessions, UTC."""
    return session_closes(pd.DatetimeIndex(list(scenario.data.dates)))


def shape_replay(scenario: Scenario, warmup: Bars) -> Bars:
    """``warmup`` and then the scenario's daily returns at the last price of the warm-up.

    Parameters
    ----------
    scenario : Scenario
    warmup : Bars
        Daily bars, at least 42.

    Returns
    -------
    Bars
        Stamped on the business days after the warm-up, at its time of day. If the warm-up has no
        ranges, neither has the replay.

    Notes
    -----
    A bar opens at the close before. Its range is not on record. With sigma_t the exponentially
    weighted volatility of returns up to t and k the median of (log true range / sigma) over the
    warm-up, both ends are padded by max(k sigma_t - abs(log close/open), 0) / 2. Nothing after t
    is read. Volume is the warm-up's median.

    Raises
    ------
    DataError
        If the warm-up is too short or not daily.
    """
    return continued(
        warmup,
        scenario.returns,
        Provenance(
            source=f"{scenario.name} ({scenario.data.source}) after {warmup.provenance.source}",
            kind="replay",
            licence=scenario.licence,
            notes=(
                f"shape replay: returns of {scenario.instrument} from {scenario.data.dates[0]} to "
                f"{scenario.data.dates[-1]} after the subject's bars to {warmup.index[-1].date()}",
                "ranges are reconstructed from volatility, volume is the warm-up's median",
                "dates of the replayed bars are not those of the event",
            ),
        ),
    )


def continued(warmup: Bars, returns: np.ndarray, provenance: Provenance) -> Bars:
    """``warmup`` and then simple returns at its last price, as :func:`shape_replay` does it.

    Parameters
    ----------
    warmup : Bars
        Daily bars, at least 42.
    returns : numpy.ndarray, shape (n,)
        Simple returns per bar, each above -1.
    provenance : Provenance
        Of the bars that follow.

    Raises
    ------
    DataError
        If the warm-up is too short or not daily, or a return leaves no positive price.
    """
    if len(warmup) < 2 * VOLATILITY_BARS or not is_daily(warmup):
        raise DataError(
            "a shape replay of daily returns needs a daily warm-up",
            expected=f"at least {2 * VOLATILITY_BARS} daily bars",
            got=f"{len(warmup)} bars, {warmup.bars_per_year:g} a year",
        )
    close = warmup.close[-1] * np.cumprod(1.0 + returns)
    opening = np.concatenate([warmup.close[-1:], close[:-1]])
    high, low = np.maximum(opening, close), np.minimum(opening, close)
    if warmup.has_range:
        pad = np.exp(_padding(warmup, close))
        high, low = high * pad, low / pad
    else:
        opening = high = low = close
    following = replace(
        warmup,
        index=business_closes(warmup.index, len(close)),
        open=opening,
        high=high,
        low=low,
        close=close,
        volume=np.full(len(close), np.median(warmup.volume)),
        known_at=None,
        provenance=provenance,
    )
    return warmup.followed_by(following)


def level_replay(bars: Bars, start: pd.Timestamp, end: pd.Timestamp, *, history: int) -> Bars:
    """The real bars closing from ``start`` to ``end``, after ``history`` bars before them.

    Raises
    ------
    DataError
        If the bars hold fewer bars before ``start``, or none in the window.
    """
    first = int(bars.index.searchsorted(start, side="left"))
    last = int(bars.index.searchsorted(end, side="right"))
    if first < history or last <= first:
        raise DataError(
            "the bars do not cover this window and its warm-up",
            expected=f"{history} bars before {start.date()} and bars up to {end.date()}",
            got=f"{first} before, {max(last - first, 0)} in it",
        )
    return bars.rows(first - history, last)


def is_daily(bars: Bars) -> bool:
    """Whether bars are daily, on a calendar with or without weekends."""
    return 200.0 <= bars.bars_per_year <= 366.0


def agreement(scenario: Scenario, bars: Bars, history: int) -> float | None:
    """Correlation of the bars' returns with the scenario's over its window, as loaded.

    None if the bars are not daily, miss a session, have one more, or hold fewer than ``history``
    bars before it.
    """
    if not is_daily(bars):
        return None
    days = bars.index.tz_convert(EXCHANGE_ZONE).tz_localize(None).normalize()
    wanted = pd.DatetimeIndex(list(scenario.data.dates))
    first = int(days.searchsorted(wanted[0]))
    last = first + len(wanted)
    if first < max(history, 1) or last > len(bars) or not (days[first:last] == wanted).all():
        return None
    returns = bars.returns()[first - 1 : last - 1]
    return float(np.corrcoef(returns, scenario.returns)[0, 1])


def daily_replay(scenario: Scenario, bars: Bars, *, history: int, needed: int) -> Replay:
    """Level replay where ``bars`` are a record of the scenario's market, else shape replay.

    Parameters
    ----------
    scenario : Scenario
    bars : Bars
        The validation sample.
    history : int
        Warm-up bars wanted before the scenario.
    needed : int
        Fewest warm-up bars that will do.

    Raises
    ------
    DataError
        If ``bars`` are shorter than ``needed`` or not daily.
    """
    correlation = agreement(scenario, bars, needed)
    closes = scenario_closes(scenario)
    if correlation is not None and correlation >= SAME_MARKET:
        days = bars.index.tz_convert(EXCHANGE_ZONE).tz_localize(None).normalize()
        first = int(days.searchsorted(pd.Timestamp(scenario.data.dates[0])))
        last = first + len(closes) - 1
        before = min(history, first)
        real = level_replay(bars, bars.index[first], bars.index[last], history=before)
        note = f"level replay: real bars of the sample (correlation {correlation:.3f})"
        return Replay(real, before, real.index[before:], "level", note)
    warmup, note = calm_warmup(bars, history=history, needed=needed)
    return Replay(
        shape_replay(scenario, warmup),
        len(warmup),
        closes,
        "shape",
        f"shape replay of {scenario.instrument}; {note}; ranges and volume reconstructed",
    )


def calm_warmup(bars: Bars, *, history: int, needed: int) -> tuple[Bars, str]:
    """The last ``history`` bars of the sample that end in calm, and a note that says so.

    A scenario that starts while the sample is already in a crisis would find the model out of the
    market by chance. Calm: 21-bar volatility not above its median in the sample, and a close
    within 2 % of the highest of 252 bars. The rule looks at the market, never at the model.
    """
    if len(bars) < needed:
        raise DataError(
            "too few bars for a warm-up", expected=f"at least {needed}", got=str(len(bars))
        )
    close = pd.Series(bars.close)
    moves = pd.Series(np.diff(np.log(bars.close), prepend=np.nan))
    volatility = moves.rolling(VOLATILITY_BARS).std()
    high = close.rolling(HIGH_BARS, min_periods=1).max()
    calm = (volatility <= volatility.median()) & (close >= high * (1.0 - NEAR_HIGH))
    ends = np.flatnonzero(calm.to_numpy()) + 1
    ends = ends[ends >= needed]
    end = int(ends[-1]) if len(ends) else len(bars)
    when = bars.index[end - 1].date()
    note = f"warm-up ends {when}, in calm" if len(ends) else f"warm-up ends {when}, no calm found"
    return bars.rows(max(end - history, 0), end), note


def business_closes(index: pd.DatetimeIndex, count: int) -> pd.DatetimeIndex:
    """Stamps of the ``count`` business days after ``index``, at the time of day it keeps.

    Where every stamp of ``index`` is a close of the New York session, so are these; else the
    last UTC time of day is kept.
    """
    local = index.tz_convert(EXCHANGE_ZONE).tz_localize(None).normalize()
    if (session_closes(local) == index).all():
        days = pd.bdate_range(local[-1] + pd.offsets.BDay(), periods=count)
        return in_resolution(session_closes(days), index)
    following = pd.bdate_range(index[-1] + pd.offsets.BDay(), periods=count, normalize=False)
    return in_resolution(following, index)


def in_resolution(stamps: pd.DatetimeIndex, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Stamps in the resolution of ``index``."""
    return stamps.as_unit(index.unit)


def _padding(warmup: Bars, close: np.ndarray) -> np.ndarray:
    """Log padding of both ends of each following bar, shape (len(close),)."""
    moves = np.diff(np.log(np.concatenate([warmup.close, close])))
    variance = np.empty(len(moves))
    level = float(np.mean(moves[:SETTLING_BARS] ** 2))
    for row, move in enumerate(moves):
        level = DECAY * level + (1.0 - DECAY) * float(move) ** 2
        variance[row] = level
    sigma = np.sqrt(variance)
    before = warmup.close[:-1]
    top, bottom = np.maximum(warmup.high[1:], before), np.minimum(warmup.low[1:], before)
    known = slice(SETTLING_BARS, len(before))
    usual = sigma[known] > 0.0
    ratio = (np.log(top / bottom)[known][usual]) / sigma[known][usual]
    k = float(np.median(ratio)) if len(ratio) else 0.0
    inside = slice(len(before), None)
    return np.maximum(k * sigma[inside] - np.abs(moves[inside]), 0.0) / 2.0
