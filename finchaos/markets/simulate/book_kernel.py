"""The matching of orders on a ladder of prices, compiled.

A side's prices are counted so that better is larger: a bid at tick x is at x, an ask at tick x is
at -x. Each side keeps the volumes of its ``reach`` best prices in a ring, a power of two long; the
slot of price x is x modulo its length. Orders are whole lots.

Within a price the oldest lot trades first and the youngest is cancelled first, so that a price's
total says all there is to know of its queue.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

LIMIT, CANCEL, MARKET = 0, 1, 2
"""Kinds of channels: channel 2 kind acts for buyers, channel 2 kind + 1 for sellers."""
LEAST_TICK = 1
"""No bid lies lower."""
PLACED, REPLENISHED, TRADED, CANCELLED, EXPIRED, UNFILLED = range(6)
"""Rows of the account of lots, see :class:`Book`."""
ACCOUNTS = 6


class Rules(NamedTuple):
    """How orders turn into volumes.

    Attributes
    ----------
    placement : numpy.ndarray, shape (levels,)
        Cumulative probabilities of the distance of a limit order, 1 tick and more from the
        opposite best price.
    limit_scale, market_scale : float
        Sizes are 1 + floor(scale * e) with e standard exponential; 0 for single lots.
    cancel_share : float
        Of the volume at the price that a cancellation meets.
    reference_distance, reserve : int
        Where and with how many lots an empty side is replenished.
    """

    placement: np.ndarray
    limit_scale: float
    market_scale: float
    cancel_share: float
    reference_distance: int
    reserve: int


class Book(NamedTuple):
    """State, changed in place.

    Attributes
    ----------
    volume : numpy.ndarray, shape (2, reach), int64
        Bids and asks.
    best : numpy.ndarray, shape (2,), int64
        Best price of each side in its own counting.
    total : numpy.ndarray, shape (2,), int64
        Lots of each side.
    account : numpy.ndarray, shape (6, 2), int64
        Lots so far of each side of the book: placed by limit orders and at the start, placed to
        replenish, traded, cancelled, expired out of the ladder's reach, and left unfilled of
        market orders that emptied the side.
    """

    volume: np.ndarray
    best: np.ndarray
    total: np.ndarray
    account: np.ndarray


class Fills(NamedTuple):
    """Trades as they happen: event, tick, lots; each of shape (capacity,), int64."""

    event: np.ndarray
    tick: np.ndarray
    lots: np.ndarray


class Snapshots(NamedTuple):
    """Depth at given times.

    Attributes
    ----------
    time : numpy.ndarray, shape (m,)
        Ascending.
    tick, lots : numpy.ndarray, shape (m, 2, k), int64
        Of the k best occupied prices of each side, best first; zeros where there are fewer.
    """

    time: np.ndarray
    tick: np.ndarray
    lots: np.ndarray


@numba.njit(cache=True)
def run_book(
    book: Book,
    rules: Rules,
    time: np.ndarray,
    channel: np.ndarray,
    rng: np.random.Generator,
    quotes: np.ndarray,
    fills: Fills,
    snapshots: Snapshots,
) -> int:
    """Let every event act; the number of fills.

    Parameters
    ----------
    book : Book
    rules : Rules
    time, channel : numpy.ndarray, shape (n,)
    rng : numpy.random.Generator
    quotes : numpy.ndarray, shape (n, 4), int64
        Filled with bid tick, bid lots, ask tick and ask lots after each event.
    fills : Fills
    snapshots : Snapshots
        Filled with the book after all events up to each time.
    """
    filled, shot = 0, 0
    mask = book.volume.shape[1] - 1
    for k in range(time.shape[0]):
        while shot < snapshots.time.shape[0] and snapshots.time[shot] < time[k]:
            take_snapshot(book, snapshots, shot)
            shot += 1
        kind, seller = channel[k] >> 1, channel[k] & 1
        if kind == LIMIT:
            distance = 1 + int(np.searchsorted(rules.placement, rng.random(), side="right"))
            lots = size_of(rules.limit_scale, rng)
            place(book, seller, price_at(book, seller, distance), lots, PLACED)
        elif kind == CANCEL:
            cancel(book, rules, seller, rng.random())
        else:
            lots = size_of(rules.market_scale, rng)
            filled = trade(book, rules, 1 - seller, lots, k, fills, filled)
        bid, ask = book.best[0], book.best[1]
        quotes[k, 0], quotes[k, 1] = bid, book.volume[0, bid & mask]
        quotes[k, 2], quotes[k, 3] = -ask, book.volume[1, ask & mask]
    for late in range(shot, snapshots.time.shape[0]):
        take_snapshot(book, snapshots, late)
    return filled


@numba.njit(cache=True)
def size_of(scale: float, rng: np.random.Generator) -> int:
    """A geometric number of lots, from 1."""
    return 1 + int(scale * rng.standard_exponential())


@numba.njit(cache=True)
def price_at(book: Book, side: int, distance: int) -> int:
    """The price ``distance`` ticks from the opposite best, no bid below the least tick."""
    price = -book.best[1 - side] - distance
    return max(price, LEAST_TICK) if side == 0 else price


@numba.njit(cache=True)
def place(book: Book, side: int, price: int, lots: int, row: int) -> None:
    """Add lots at a price; what a better best price leaves out of reach expires."""
    volume = book.volume[side]
    mask = volume.shape[0] - 1
    if price > book.best[side]:
        first = max(book.best[side] + 1, price - mask)
        for passed in range(first, price + 1):
            gone = volume[passed & mask]
            volume[passed & mask] = 0
            book.total[side] -= gone
            book.account[EXPIRED, side] += gone
        book.best[side] = price
    volume[price & mask] += lots
    book.total[side] += lots
    book.account[row, side] += lots


@numba.njit(cache=True)
def settle(book: Book, rules: Rules, side: int) -> None:
    """Move the best price down to one that has volume, or replenish a side that has none."""
    volume = book.volume[side]
    mask = volume.shape[0] - 1
    if book.total[side] == 0:
        book.best[side] = price_at(book, side, rules.reference_distance)
        place(book, side, book.best[side], rules.reserve, REPLENISHED)
    while volume[book.best[side] & mask] == 0:
        book.best[side] -= 1


@numba.njit(cache=True)
def cancel(book: Book, rules: Rules, side: int, uniform: float) -> None:
    """Withdraw a share of the lots at the price of a lot drawn at random, at least one."""
    volume = book.volume[side]
    mask = volume.shape[0] - 1
    mark = int(uniform * book.total[side])
    price = book.best[side]
    while mark >= volume[price & mask]:
        mark -= volume[price & mask]
        price -= 1
    lots = int(np.ceil(rules.cancel_share * volume[price & mask]))
    volume[price & mask] -= lots
    book.total[side] -= lots
    book.account[CANCELLED, side] += lots
    settle(book, rules, side)


@numba.njit(cache=True)
def trade(
    book: Book, rules: Rules, side: int, lots: int, event: int, fills: Fills, filled: int
) -> int:
    """Fill a market order against a side, best price first; the number of fills after it.

    What an empty side leaves of the order is cancelled before the side is replenished.
    """
    volume = book.volume[side]
    mask = volume.shape[0] - 1
    while lots > 0 and book.total[side] > 0:
        price = book.best[side]
        done = min(lots, volume[price & mask])
        volume[price & mask] -= done
        book.total[side] -= done
        book.account[TRADED, side] += done
        fills.event[filled] = event
        fills.tick[filled] = price if side == 0 else -price
        fills.lots[filled] = done
        filled += 1
        lots -= done
        if book.total[side] > 0:
            settle(book, rules, side)
    book.account[UNFILLED, side] += lots
    settle(book, rules, side)
    return filled


@numba.njit(cache=True)
def take_snapshot(book: Book, snapshots: Snapshots, row: int) -> None:
    """Write the book's best prices into one row of snapshots."""
    mask = book.volume.shape[1] - 1
    for side in range(2):
        sign = 1 if side == 0 else -1
        level = 0
        for back in range(mask + 1):
            if level == snapshots.tick.shape[2]:
                break
            price = book.best[side] - back
            lots = book.volume[side, price & mask]
            if lots > 0:
                snapshots.tick[row, side, level] = sign * price
                snapshots.lots[row, side, level] = lots
                level += 1
