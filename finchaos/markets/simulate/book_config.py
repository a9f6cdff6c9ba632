"""Parameters of the simulated limit-order book: its flow, its regimes and its rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from finchaos.core.errors import InputError
from finchaos.markets.simulate.book_kernel import ACCOUNTS, PLACED, Book, Rules
from finchaos.markets.simulate.hawkes import HawkesLaw

CHANNELS = (
    "limit bid",
    "limit ask",
    "cancel bid",
    "cancel ask",
    "market buy",
    "market sell",
)
"""The channels of the flow, in order."""
MOST = 1_000_000_000
"""Lots, ticks and sizes above this are refused: sums of them must stay whole numbers."""


@dataclass(frozen=True)
class FlowRegime:
    """Base rates while one regime lasts.

    Attributes
    ----------
    limit, cancel, market : float
        Events per second of each side that nothing excited, non-negative; some market orders.
    mean_stay : float
        Expected length of a spell, seconds, positive.
    """

    limit: float
    cancel: float
    market: float
    mean_stay: float

    def __post_init__(self) -> None:
        values = (self.limit, self.cancel, self.market)
        sound = (
            bool(np.isfinite([*values, self.mean_stay]).all())
            and min(values) >= 0
            and self.market > 0
            and self.mean_stay > 0
        )
        if not sound:
            raise InputError(
                "impossible regime of order flow",
                expected="finite rates >= 0, market > 0, mean_stay > 0",
                got=repr(self),
            )

    @property
    def base(self) -> tuple[float, ...]:
        """Base rates of the six channels."""
        return (self.limit, self.limit, self.cancel, self.cancel, self.market, self.market)


CALM = FlowRegime(0.6, 0.15, 0.06, 7200.0)
STRESSED = FlowRegime(0.6, 0.25, 0.12, 1800.0)
_SAME = ((0.20, 0.10, 0.10), (0.20, 0.30, 0.00), (0.05, 0.00, 0.45))
_OTHER = ((0.05, 0.05, 0.35), (0.00, 0.05, 0.20), (0.00, 0.00, 0.05))
"""Mean children of kinds limit, cancel, market (rows) of such kinds (columns): from bids or buys to
bids or buys, and from bids or buys to asks or sells."""


def symmetric_kernels(
    same: tuple[tuple[float, ...], ...],
    other: tuple[tuple[float, ...], ...],
    decay: tuple[float, ...],
    weight: tuple[float, ...],
) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Excitation that treats both sides alike, shape (p, 6, 6).

    Parameters
    ----------
    same, other : tuple of tuple of float, shape (3, 3)
        Mean children of kinds limit, cancel and market (rows) of such kinds (columns), on the
        channel's own side and on the other.
    decay, weight : tuple of float, length p
        Decays per second, and the share of children that each brings.
    """
    branching = np.kron(np.array(same), np.eye(2)) + np.kron(np.array(other), np.eye(2)[::-1])
    kernels = [w * d * branching for w, d in zip(weight, decay, strict=True)]
    return tuple(tuple(tuple(map(float, row)) for row in part) for part in kernels)


_DECAY = (5.0, 0.1)
_WEIGHT = (0.5, 0.5)


@dataclass(frozen=True)
class OrderBookConfig:
    """A market of one instrument.

    Attributes
    ----------
    regimes : tuple of FlowRegime
        Calmest first, as labels count. A regime that ends is followed by any of the others with
        equal probability.
    excitation, decay :
        Of the flow, see :class:`finchaos.markets.simulate.hawkes.HawkesLaw`; all six channels.
    initial_regime : int or None
        None draws it from the chain's stationary law.
    tick_size : float
        Of the price, in currency.
    initial_tick : int
        Best bid at the start, in ticks, at least 1.
    initial_depth : int
        Lots at each of the first ``placement_levels`` prices of both sides at the start.
    mean_limit_size, mean_market_size : float
        Lots of an order, at least 1; whole, and geometric but for rounding.
    placement_exponent : float
        Limit orders rest d ticks from the opposite best price with odds d^-exponent.
    placement_levels : int
        The largest such distance.
    cancel_share : float
        Of the lots at its price that a cancellation withdraws, in (0, 1]; rounded up.
    reach : int
        Prices of each side that are kept; a power of two, at least ``placement_levels``. What a
        better best price leaves out of reach expires.
    reference_distance, reserve : int
        Where and with how many lots an empty side is replenished.

    Raises
    ------
    InputError
        If a number is out of range or the flow would explode.

    References
    ----------
    Cont, Stoikov and Talreja (2010), Operations Research 58(3), for limit orders at distances from
    the opposite best price and cancellations in proportion to what rests. Abergel and Jedidi
    (2015), SIAM Journal on Financial Mathematics 6(1), for books under Hawkes flow.
    """

    regimes: tuple[FlowRegime, ...] = (CALM, STRESSED)
    excitation: tuple[tuple[tuple[float, ...], ...], ...] = symmetric_kernels(
        _SAME, _OTHER, _DECAY, _WEIGHT
    )
    decay: tuple[float, ...] = _DECAY
    initial_regime: int | None = None
    tick_size: float = 0.01
    initial_tick: int = 10_000
    initial_depth: int = 5
    mean_limit_size: float = 2.0
    mean_market_size: float = 3.0
    placement_exponent: float = 1.0
    placement_levels: int = 30
    cancel_share: float = 0.2
    reach: int = 512
    reference_distance: int = 5
    reserve: int = 10

    def __post_init__(self) -> None:
        whole = (
            self.initial_tick,
            self.initial_depth,
            self.placement_levels,
            self.reach,
            self.reference_distance,
            self.reserve,
        )
        sizes = (self.mean_limit_size, self.mean_market_size)
        sound = (
            all(type(number) is int and 1 <= number <= MOST for number in whole)
            and all(1 <= size <= MOST for size in sizes)
            and len(self.regimes) >= 1
            and (self.initial_regime is None or 0 <= self.initial_regime < len(self.regimes))
            and 0 < self.tick_size < np.inf
            and 0 <= self.placement_exponent < np.inf
            and 0 < self.cancel_share <= 1
            and self.placement_levels <= self.reach == 1 << (self.reach.bit_length() - 1)
        )
        if not sound:
            raise InputError(
                "impossible order book",
                expected="a regime or more and an existing one to start from, positive tick, "
                f"whole numbers and mean sizes from 1 to {MOST}, exponent >= 0, 0 < cancel_share "
                "<= 1, reach a power of two >= placement_levels",
                got=repr(self),
            )
        for law in self.laws:
            if law.channels != len(CHANNELS):
                raise InputError("an order book has six channels", got=str(law.channels))

    @cached_property
    def laws(self) -> tuple[HawkesLaw, ...]:
        """The flow of each regime."""
        return tuple(HawkesLaw(regime.base, self.excitation, self.decay) for regime in self.regimes)

    @property
    def stationary(self) -> np.ndarray:
        """Long-run share of time in each regime, shape (k,): proportional to mean stays."""
        stays = np.array([regime.mean_stay for regime in self.regimes])
        return stays / stays.sum()

    def rules(self) -> Rules:
        """How orders turn into volumes, as the kernel takes it."""
        odds = np.arange(1.0, self.placement_levels + 1.0) ** -self.placement_exponent
        placement = np.cumsum(odds) / odds.sum()
        return Rules(
            # The last distance is what no other one took, whatever rounding left.
            placement[:-1],
            _scale(self.mean_limit_size),
            _scale(self.mean_market_size),
            float(self.cancel_share),
            self.reference_distance,
            self.reserve,
        )

    def open(self) -> Book:
        """The book at the start: a spread of one tick, equal lots on both sides."""
        volume = np.zeros((2, self.reach), dtype=np.int64)
        best = np.array([self.initial_tick, -self.initial_tick - 1], dtype=np.int64)
        for side in range(2):
            deepest = min(self.placement_levels, self.initial_tick if side == 0 else self.reach)
            for back in range(deepest):
                volume[side, (best[side] - back) % self.reach] = self.initial_depth
        account = np.zeros((ACCOUNTS, 2), dtype=np.int64)
        account[PLACED] = volume.sum(axis=1)
        return Book(volume, best, volume.sum(axis=1), account)


def _scale(mean: float) -> float:
    """The scale s whose 1 + floor(s e), e exponential, has this mean: P(N > k) = exp(-k / s)."""
    return 0.0 if mean <= 1 else float(-1.0 / np.log1p(-1.0 / mean))
