"""A paper account: orders, fills, costs, cash and units of one instrument, without a market."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from finchaos.core.errors import CheckpointError, InputError

BASIS_POINT = 1e-4


@dataclass(frozen=True)
class BrokerRules:
    """How orders become fills, and at what cost.

    Attributes
    ----------
    capital : float
        Cash at the start.
    fill : {"next_open", "next_close", "same_close"}
        At which price an order decided at the close of a bar is filled: the open or the close of
        the next bar, or the close that decided it.
    holding : {"units", "fraction"}
        ``units`` holds what was bought until the target changes. ``fraction`` restores the target
        fraction of capital at every price without cost, as
        :func:`finchaos.trading.backtest.run_backtest` does, and gives its very ledger.
    commission_bps : float
        Of the cash traded, in basis points.
    half_spread_bps, slippage_bps : float
        By which a fill is worse than the price, in basis points of it.
    participation : float or None
        Largest share of a bar's volume that a fill may take; the rest waits for the next bar. None
        for no limit; ``units`` only.
    """

    capital: float = 1.0
    fill: Literal["next_open", "next_close", "same_close"] = "next_open"
    holding: Literal["units", "fraction"] = "units"
    commission_bps: float = 0.0
    half_spread_bps: float = 0.0
    slippage_bps: float = 0.0
    participation: float | None = None

    def __post_init__(self) -> None:
        costs = (self.commission_bps, self.half_spread_bps, self.slippage_bps)
        sound = (
            0.0 < self.capital < math.inf
            and all(0.0 <= cost < 1e4 for cost in costs)
            and self.half_spread_bps + self.slippage_bps < 1e4
            and (self.participation is None or 0.0 < self.participation <= 1.0)
        )
        if not sound:
            raise InputError(
                "impossible rules of a paper broker",
                expected="capital > 0, costs of 0 to 10000 basis points, participation in (0, 1]",
                got=repr(self),
            )
        if self.fill not in ("next_open", "next_close", "same_close"):
            raise InputError("unknown way to fill", got=repr(self.fill))
        if self.holding not in ("units", "fraction"):
            raise InputError("unknown way to hold", got=repr(self.holding))
        if self.holding == "fraction" and self.participation is not None:
            raise InputError(
                "a fraction that is restored at every price cannot be filled in part",
                remedy="hold units, or leave participation out",
            )

    @property
    def slip(self) -> float:
        """Half spread and slippage as a fraction of the price."""
        return (self.half_spread_bps + self.slippage_bps) * BASIS_POINT


class Liquidation(Protocol):
    """Says how fast a position is closed once the kill switch has tripped."""

    def quantity(self, units: float, price: float, volume: float) -> float:
        """Units to trade now towards zero, between 0 and ``-units``."""
        ...


@dataclass(frozen=True)
class PaperFill:
    """A trade.

    Attributes
    ----------
    decided, filled : int
        Nanoseconds since 1970 UTC.
    price : float
        Paid or received, half spread and slippage included under ``units``.
    units : float
        Bought; negative if sold.
    cost : float
        Cash lost to commission, half spread and slippage.
    left : float
        Units of the order that still wait.
    """

    decided: int
    filled: int
    price: float
    units: float
    cost: float
    left: float = 0.0


@dataclass(frozen=True)
class AccountRow:
    """The account at a close, as :class:`finchaos.trading.backtest.Ledger` has it.

    Attributes
    ----------
    equity : float
        Before trading at the close.
    exposure : float
        Fraction of capital held after it.
    units, cash : float
        After it.
    costs : float
        Paid since the close before.
    """

    equity: float
    exposure: float
    units: float
    cash: float
    costs: float


@dataclass
class _Account:
    """All that changes."""

    cash: float
    units: float = 0.0
    target: float = 0.0
    decided: int = 0
    wanted: float = 0.0
    quantity: float | None = None
    open: bool = False
    closed: bool = False
    costs: float = 0.0


class PaperBroker:
    """An account that fills its own orders from bars.

    An order is a target fraction of capital. It becomes a number of units when it is first filled,
    from the capital at that price; a new target replaces what still waits of the old one. Capital
    that falls to zero or below stays zero: the account is closed.

    Parameters
    ----------
    rules : BrokerRules
    liquidation : Liquidation, optional
        Replaces ``participation`` for orders to liquidate.
    """

    def __init__(self, rules: BrokerRules, liquidation: Liquidation | None = None) -> None:
        self.rules, self._liquidation = rules, liquidation
        self._at = _Account(rules.capital)

    @property
    def units(self) -> float:
        """Held now."""
        return self._at.units

    def equity(self, price: float) -> float:
        """Cash and units at a price, never below zero."""
        return max(self._at.cash + self._at.units * price, 0.0)

    def request(self, ts: int, target: float) -> None:
        """Order a target; it replaces what waits."""
        at = self._at
        if at.closed:
            return
        if at.open and at.wanted == target:
            return
        at.decided, at.wanted, at.quantity = ts, target, None
        at.open = target != at.target

    def open_bar(self, ts: int, price: float, volume: float, *, urgent: bool) -> list[PaperFill]:
        """A believed bar opens: fill what waits for an open.

        Parameters
        ----------
        ts : int
            Time of the bar's close, nanoseconds.
        price, volume : float
            Its open and its volume. A fill takes its share of a volume that is known only later:
            it stands for trading from the open on.
        urgent : bool
            Whether what waits is to liquidate.
        """
        return self._trade(ts, price, volume, urgent) if self.rules.fill == "next_open" else []

    def close_bar(
        self, ts: int, price: float, volume: float, target: float, *, urgent: bool
    ) -> tuple[list[PaperFill], AccountRow]:
        """A believed bar closes: mark, fill what is due, take the new target."""
        at, fills, equity = self._at, list[PaperFill](), self.equity(price)
        if self.rules.fill == "same_close":
            self.request(ts, target)
        if self.rules.fill == "next_open":
            self._mark(ts, price, due=False)
        else:
            fills = self._trade(ts, price, volume, urgent)
        if self.rules.fill != "same_close":
            self.request(ts, target)
        held = at.target if self.rules.holding == "fraction" else _share(at.units * price, equity)
        row = AccountRow(equity, held, at.units, at.cash, at.costs)
        at.costs = 0.0
        return fills, row

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        return dict(vars(self._at))

    def restore(self, state: dict[str, Any]) -> None:
        """Remember this and nothing else.

        Raises
        ------
        CheckpointError
            If it is not a state of a paper broker.
        """
        try:
            self._at = _Account(**state)
        except TypeError as error:
            raise CheckpointError("a saved account is damaged", got=str(error)) from error

    def _trade(self, ts: int, price: float, volume: float, urgent: bool) -> list[PaperFill]:
        fills = self._mark(ts, price, due=self._at.open)
        if self.rules.holding == "units" and self._at.open:
            return self._part(ts, price, volume, urgent)
        return fills

    def _mark(self, ts: int, price: float, *, due: bool) -> list[PaperFill]:
        """Restore the fraction where it is kept, a new one if due; close a lost account."""
        at, equity = self._at, self.equity(price)
        if self.rules.holding == "fraction":
            return self._restore_fraction(ts, price, equity, due)
        if equity <= 0.0:
            at.cash = at.units = at.target = 0.0
            at.open, at.closed = False, True
        return []

    def _restore_fraction(self, ts: int, price: float, equity: float, due: bool) -> list[PaperFill]:
        """The arithmetic of the backtest's account, operation by operation."""
        at, before, cost = self._at, self._at.units, 0.0
        rules, fills = self.rules, list[PaperFill]()
        if due:
            rate = (rules.commission_bps + rules.half_spread_bps + rules.slippage_bps) / 1e4
            cost = abs(at.wanted - at.target) * equity * rate
            at.target, at.open = at.wanted, False
        at.units = at.target * equity / price
        at.cash = equity - at.units * price - cost
        if due:
            fills = [PaperFill(at.decided, ts, price, at.units - before, cost)]
            at.costs += cost
        return fills

    def _part(self, ts: int, price: float, volume: float, urgent: bool) -> list[PaperFill]:
        """Buy or sell as much of the order as the bar allows."""
        at, rules = self._at, self.rules
        if at.quantity is None:
            at.quantity = at.wanted * self.equity(price) / price - at.units
            at.target = at.wanted
        traded = self._allowed(at.quantity, price, volume, urgent)
        left = at.quantity - traded
        at.quantity, at.open = left, left != 0.0
        if traded == 0.0:
            return []
        paid = price * (1.0 + math.copysign(rules.slip, traded))
        commission = abs(traded) * paid * (rules.commission_bps * BASIS_POINT)
        at.units += traded
        at.cash -= traded * paid + commission
        if not at.open and at.wanted == 0.0:
            at.units = 0.0
        cost = abs(traded) * abs(paid - price) + commission
        at.costs += cost
        return [PaperFill(at.decided, ts, paid, traded, cost, left)]

    def _allowed(self, quantity: float, price: float, volume: float, urgent: bool) -> float:
        if urgent and self._at.wanted == 0.0 and self._liquidation is not None:
            asked = abs(self._liquidation.quantity(self._at.units, price, volume))
            return math.copysign(min(abs(quantity), asked), quantity)
        if self.rules.participation is None:
            return quantity
        return math.copysign(min(abs(quantity), self.rules.participation * volume), quantity)


def _share(value: float, equity: float) -> float:
    return value / equity if equity > 0.0 else 0.0
