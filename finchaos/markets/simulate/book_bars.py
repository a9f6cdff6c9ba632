"""Bars of the trades of a simulated order book, with the regime of each beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from finchaos.core.bars import Bars, Provenance
from finchaos.core.errors import InputError
from finchaos.core.provenance import digest
from finchaos.markets.sessions import SESSION_MINUTES, SESSIONS_PER_YEAR, regular_closes
from finchaos.markets.simulate.labelled import FIRST_DAY, switches
from finchaos.markets.simulate.order_book import OrderBookRun

SESSION_SECONDS = 60 * SESSION_MINUTES


@dataclass(frozen=True, eq=False)
class BookBars:
    """Bars of trades and, beside them, what a model may be judged by but must never see.

    Attributes
    ----------
    bars : Bars
        Volume in lots.
    regime : numpy.ndarray, shape (t,), int64
        The regime that holds at each bar's close.
    switch : numpy.ndarray, shape (t,), bool
        Where that differs from the bar before; false in the first.
    buy_volume : numpy.ndarray, shape (t,)
        Lots that buyers took, of the bar's volume.
    """

    bars: Bars
    regime: np.ndarray
    switch: np.ndarray
    buy_volume: np.ndarray

    @property
    def switch_points(self) -> np.ndarray:
        """Positions of the bars that open a new regime, ascending."""
        return np.flatnonzero(self.switch)


def book_bars(run: OrderBookRun, bar_seconds: float = 60.0) -> BookBars:
    """Whole bars of a run's trades; the market's seconds are those of sessions without a break.

    A bar's prices are those of its first, highest, lowest and last trade. A bar without trades
    repeats the close before it and has no volume; before the first trade that is the best bid at
    the start. A trade on the edge of two bars belongs to the earlier one, which it closes.

    Parameters
    ----------
    run : OrderBookRun
    bar_seconds : float
        A whole number of them must make a session of 6.5 hours.

    Raises
    ------
    InputError
        If it does not, or not one bar is complete.

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> from finchaos.markets.simulate.order_book import OrderBookConfig, simulate_order_book
    >>> run = simulate_order_book(OrderBookConfig(), 3600.0, random_stream(7, "example"), seed=7)
    >>> len(book_bars(run).bars)
    60
    """
    per_session = SESSION_SECONDS / bar_seconds if bar_seconds > 0 else 0.0
    count = int(run.flow.horizon / bar_seconds) if bar_seconds > 0 else 0
    if count < 1 or not per_session >= 1 or per_session != round(per_session):
        raise InputError(
            "no bars of that length",
            expected=f"a whole part of {SESSION_SECONDS} s, at most the {run.flow.horizon:g} s run",
            got=f"{bar_seconds} s",
        )
    edges = bar_seconds * np.arange(1, count + 1)
    prices, volume, bought = _aggregate(run, edges)
    regime = run.regime_at(edges)
    bars_per_year = SESSIONS_PER_YEAR * per_session
    bars = Bars(
        index=regular_closes(FIRST_DAY, count, bars_per_year),
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        close=prices["close"],
        volume=volume,
        symbol="BOOK",
        bars_per_year=bars_per_year,
        provenance=_provenance(run),
    )
    return BookBars(bars, regime, switches(regime), bought)


def _aggregate(
    run: OrderBookRun, edges: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Prices, volumes and bought volumes of the bars that close at ``edges``."""
    trades, count = run.trades, len(edges)
    last = np.searchsorted(trades.time, edges, side="right")
    first = np.append(0, last[:-1])
    traded = last > first
    tick = trades.tick[: last[-1]]
    ends = np.where(traded, last - 1, -1)
    # Trades before each bar's close, the latest of which is its close.
    known = np.maximum.accumulate(ends)
    start = run.config.initial_tick
    close = np.where(known >= 0, tick[known] if len(tick) else start, start)
    prices = {name: close.copy() for name in ("open", "high", "low")}
    if traded.any():
        rows = first[traded]
        prices["open"][traded] = tick[rows]
        prices["high"][traded] = np.maximum.reduceat(tick, rows)
        prices["low"][traded] = np.minimum.reduceat(tick, rows)
    bar = np.repeat(np.arange(count), last - first)
    lots = trades.lots[: last[-1]]
    volume = np.bincount(bar, lots, count)
    bought = np.bincount(bar, lots * (trades.sign[: last[-1]] > 0), count)
    prices["close"] = close
    return {name: run.config.tick_size * p for name, p in prices.items()}, volume, bought


def _provenance(run: OrderBookRun) -> Provenance:
    config = run.config
    return Provenance(
        "finchaos order book under Hawkes flow",
        kind="simulated",
        seed=run.seed,
        notes=(
            f"{len(run.flow)} events, branching ratio {config.laws[0].branching_ratio:.3f}",
            f"parameters {digest(asdict(config))[:16]}",
        ),
    )
