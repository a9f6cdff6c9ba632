"""A limit-order book that lives on Hawkes order flow, with calm and stressed regimes.

Limit orders, cancellations and market orders of both sides arrive as a Hawkes process of six
channels (:mod:`finchaos.markets.simulate.hawkes`); a Markov chain in continuous time switches its
base rates at known times. Orders act on a ladder of prices:

- a limit order rests a random distance from the opposite best price, at least one tick, so that
  the book never crosses;
- a cancellation meets the price of a lot drawn at random and withdraws a share of what rests there;
- a market order trades against the best prices in turn. What a side cannot fill is cancelled.

A side left empty is replenished at once with ``reserve`` lots ``reference_distance`` ticks from the
opposite best price, so that both sides always have a quote.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError
from finchaos.markets.simulate.book_config import (
    CALM,
    CHANNELS,
    STRESSED,
    FlowRegime,
    OrderBookConfig,
)
from finchaos.markets.simulate.book_kernel import MARKET, Book, Fills, Snapshots, run_book
from finchaos.markets.simulate.hawkes import HawkesEvents, HawkesFlow

__all__ = [
    "CALM",
    "CHANNELS",
    "STRESSED",
    "Depth",
    "FlowRegime",
    "OrderBookConfig",
    "OrderBookRun",
    "Trades",
    "simulate_order_book",
]


@dataclass(frozen=True, eq=False)
class Trades:
    """Fills in order; a market order that meets m prices makes m of them. Arrays of shape (n,).

    Attributes
    ----------
    time : numpy.ndarray
        Seconds.
    event : numpy.ndarray, int64
        Position of the market order in the flow.
    tick, lots : numpy.ndarray, int64
    sign : numpy.ndarray, int64
        +1 where a buyer took, -1 where a seller did.
    """

    time: np.ndarray
    event: np.ndarray
    tick: np.ndarray
    lots: np.ndarray
    sign: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, eq=False)
class Depth:
    """The k best occupied prices of both sides at m times, best first.

    Attributes
    ----------
    time : numpy.ndarray, shape (m,)
        Seconds; all events up to then have acted.
    bid_tick, bid_lots, ask_tick, ask_lots : numpy.ndarray, shape (m, k), int64
        Zeros where there are fewer prices.
    """

    time: np.ndarray
    bid_tick: np.ndarray
    bid_lots: np.ndarray
    ask_tick: np.ndarray
    ask_lots: np.ndarray


@dataclass(frozen=True, eq=False)
class OrderBookRun:
    """What happened on a market, and the truth behind it.

    Attributes
    ----------
    flow : HawkesEvents
        n events in the order of ``CHANNELS``.
    bid, bid_lots, ask, ask_lots : numpy.ndarray, shape (n,), int64
        Best prices in ticks, and their lots, after each event.
    trades : Trades
    depth : Depth
    switch_time : numpy.ndarray, shape (s,)
        When the regime changed, seconds, ascending.
    regime : numpy.ndarray, shape (s + 1,), int64
        The regime at the start and after each change.
    book : Book
        As it was left, with its account of lots.
    config : OrderBookConfig
    seed : int or None
        Recorded seed, where the caller named it.
    """

    flow: HawkesEvents
    bid: np.ndarray
    bid_lots: np.ndarray
    ask: np.ndarray
    ask_lots: np.ndarray
    trades: Trades
    depth: Depth
    switch_time: np.ndarray
    regime: np.ndarray
    book: Book
    config: OrderBookConfig
    seed: int | None = None

    def regime_at(self, time: np.ndarray) -> np.ndarray:
        """The regime that holds at given times, int64."""
        found: np.ndarray = self.regime[np.searchsorted(self.switch_time, time, side="right")]
        return found


def simulate_order_book(
    config: OrderBookConfig,
    horizon: float,
    rng: np.random.Generator,
    *,
    depth_times: np.ndarray | None = None,
    depth_levels: int = 5,
    seed: int | None = None,
) -> OrderBookRun:
    """Run a market from its opening book, with nothing in its past.

    Parameters
    ----------
    config : OrderBookConfig
    horizon : float
        Seconds, positive. What happens up to any time does not depend on it.
    rng : numpy.random.Generator
        A named stream, see :func:`finchaos.core.provenance.random_stream`; regimes, flow and
        orders have streams of their own spawned from it.
    depth_times : numpy.ndarray, shape (m,), optional
        Ascending, within 0 and the horizon: when to look at the depth.
    depth_levels : int
        Occupied prices of each side to look at.
    seed : int, optional
        The stream's root seed, for the provenance.

    Raises
    ------
    InputError
        If there is no time to run in, or the times of the depth cannot be.

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> run = simulate_order_book(OrderBookConfig(), 600.0, random_stream(7, "example"))
    >>> bool((run.bid < run.ask).all())
    True
    """
    if not 0 < horizon < np.inf:
        raise InputError("nothing to simulate", expected="a finite horizon > 0", got=repr(horizon))
    snapshots = _snapshots(depth_times, depth_levels, horizon)
    chain_rng, flow_rng, order_rng = rng.spawn(3)
    switch_time, regime = _regimes(config, horizon, chain_rng)
    flow = _flow(config, switch_time, regime, horizon, flow_rng)
    book, quotes = config.open(), np.empty((len(flow), 4), dtype=np.int64)
    # Every fill but a market order's last empties a price, and an event fills at most one.
    room = 2 * len(flow) + 2 * config.placement_levels
    fills = Fills(*(np.empty(room, dtype=np.int64) for _ in range(3)))
    filled = run_book(
        book, config.rules(), flow.time, flow.channel, order_rng, quotes, fills, snapshots
    )
    event, tick, lots = (column[:filled].copy() for column in fills)
    sign = np.where(flow.channel[event] == 2 * MARKET, 1, -1)
    levels = (
        snapshots.tick[:, 0],
        snapshots.lots[:, 0],
        snapshots.tick[:, 1],
        snapshots.lots[:, 1],
    )
    return OrderBookRun(
        flow=flow,
        **dict(zip(("bid", "bid_lots", "ask", "ask_lots"), quotes.T.copy(), strict=True)),
        trades=Trades(flow.time[event], event, tick, lots, sign),
        depth=Depth(snapshots.time, *levels),
        switch_time=switch_time,
        regime=regime,
        book=book,
        config=config,
        seed=seed,
    )


def _snapshots(times: np.ndarray | None, levels: int, horizon: float) -> Snapshots:
    time = np.array([] if times is None else times, dtype=np.float64)
    sound = (
        time.ndim == 1
        and levels >= 1
        and bool(((time >= 0) & (time <= horizon)).all() and (np.diff(time) >= 0).all())
    )
    if not sound:
        raise InputError(
            "impossible times or levels of the depth",
            expected="ascending times from 0 to the horizon, at least one level",
            got=f"shape {time.shape}, {levels} levels",
        )
    shape = (len(time), 2, levels)
    return Snapshots(time, np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64))


def _regimes(
    config: OrderBookConfig, horizon: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """When the regime changes, shape (s,), and the regimes before and after, shape (s + 1,)."""
    count = len(config.regimes)
    first = rng.random()
    if config.initial_regime is None:
        now = int(np.searchsorted(np.cumsum(config.stationary)[:-1], first, side="right"))
    else:
        now = config.initial_regime
    times: list[float] = []
    regimes = [now]
    clock = rng.standard_exponential() * config.regimes[now].mean_stay
    while count > 1 and clock < horizon:
        now = (now + 1 + int(rng.random() * (count - 1))) % count
        times.append(clock)
        regimes.append(now)
        clock += rng.standard_exponential() * config.regimes[now].mean_stay
    return np.array(times, dtype=np.float64), np.array(regimes, dtype=np.int64)


def _flow(
    config: OrderBookConfig,
    switch_time: np.ndarray,
    regime: np.ndarray,
    horizon: float,
    rng: np.random.Generator,
) -> HawkesEvents:
    flow = HawkesFlow(config.laws[0], rng)
    ends = [*switch_time.tolist(), horizon]
    parts = [flow.advance(end, config.laws[k]) for end, k in zip(ends, regime, strict=True)]
    return HawkesEvents(
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.channel for part in parts]),
        horizon,
        len(CHANNELS),
    )
