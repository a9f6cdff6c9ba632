"""A book that keeps every lot in its queue, in plain Python: what the ladder is held to."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from finchaos.markets.simulate.order_book import OrderBookConfig


class QueueBook:
    """Queues of orders by tick, oldest first; best prices by looking at all of them."""

    def __init__(self, config: OrderBookConfig, rng: Any) -> None:
        self.config, self.rng, self.orders = config, rng, 0
        self.sides: tuple[dict[int, deque[list[int]]], ...] = ({}, {})
        self.fills: list[tuple[int, int, int]] = []
        self.sequence: list[tuple[int, int]] = []
        for d in range(config.placement_levels):
            if config.initial_tick - d >= 1:
                self.rest(0, config.initial_tick - d, config.initial_depth)
            self.rest(1, config.initial_tick + 1 + d, config.initial_depth)

    def best(self, side: int) -> int:
        return max(self.sides[0]) if side == 0 else min(self.sides[1])

    def lots(self, side: int, tick: int) -> int:
        return sum(order[1] for order in self.sides[side].get(tick, ()))

    def ranked(self, side: int) -> list[int]:
        return sorted(self.sides[side], reverse=side == 0)

    def rest(self, side: int, tick: int, lots: int) -> None:
        self.orders += 1
        self.sides[side].setdefault(tick, deque()).append([self.orders, lots])
        best = self.best(side)
        for other in [t for t in self.sides[side] if abs(t - best) >= self.config.reach]:
            del self.sides[side][other]

    def away(self, side: int, distance: int) -> int:
        return max(1, self.best(1) - distance) if side == 0 else self.best(0) + distance

    def size(self, mean: float) -> int:
        draw = self.rng.standard_exponential()
        return 1 if mean <= 1 else 1 + int(draw / -np.log1p(-1.0 / mean))

    def replenish(self, side: int) -> None:
        if not self.sides[side]:
            tick = self.away(side, self.config.reference_distance)
            self.rest(side, tick, self.config.reserve)

    def act(self, event: int, channel: int) -> None:
        kind, seller = divmod(channel, 2)
        if kind == 0:
            odds = np.arange(1.0, self.config.placement_levels + 1) ** (
                -self.config.placement_exponent
            )
            edges = (np.cumsum(odds) / odds.sum())[:-1]
            distance = 1 + int(np.sum(edges <= self.rng.random()))
            self.rest(seller, self.away(seller, distance), self.size(self.config.mean_limit_size))
        elif kind == 1:
            self.cancel(seller, self.rng.random())
        else:
            self.trade(event, 1 - seller, self.size(self.config.mean_market_size))

    def cancel(self, side: int, uniform: float) -> None:
        ticks = self.ranked(side)
        resting = np.cumsum([self.lots(side, tick) for tick in ticks])
        tick = ticks[int(np.searchsorted(resting, int(uniform * resting[-1]), side="right"))]
        left = int(np.ceil(self.config.cancel_share * self.lots(side, tick)))
        queue = self.sides[side][tick]
        while left:
            done = min(left, queue[-1][1])
            queue[-1][1] -= done
            left -= done
            if not queue[-1][1]:
                queue.pop()
        if not queue:
            del self.sides[side][tick]
        self.replenish(side)

    def trade(self, event: int, side: int, lots: int) -> None:
        while lots and self.sides[side]:
            tick = self.best(side)
            queue, at = self.sides[side][tick], 0
            while lots and queue:
                done = min(lots, queue[0][1])
                queue[0][1] -= done
                lots, at = lots - done, at + done
                self.sequence.append((tick, queue[0][0]))
                if not queue[0][1]:
                    queue.popleft()
            self.fills.append((event, tick, at))
            if not queue:
                del self.sides[side][tick]
        self.replenish(side)
