"""How fast a position is closed in an emergency.

Both orders are what :class:`finchaos.live.broker.Liquidation` asks for. They remember nothing, so
that a session that goes on after its process died closes its position in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from finchaos.core.errors import InputError


@dataclass(frozen=True)
class AtOnce:
    """Everything in one order, at whatever price it gets."""

    def quantity(self, units: float, price: float, volume: float) -> float:
        """All that is held, with the sign of a trade towards zero."""
        return 0.0 - units


@dataclass(frozen=True)
class ByVolume:
    """At most a share of each bar's volume, and at least a minimum, so that it ends.

    A position of u units is closed after ceil(u / least_units) bars at the latest, whatever is
    traded meanwhile. Where the share of the volume is less than the minimum, the minimum counts:
    an order that waits for a market that has gone never ends.

    Attributes
    ----------
    share : float
        Of a bar's volume, in (0, 1].
    least_units : float
        Units traded in each bar even if nobody else trades.

    Raises
    ------
    InputError
        If either is impossible.

    Examples
    --------
    >>> order = ByVolume(share=0.1, least_units=5.0)
    >>> [order.quantity(held, 100.0, 200.0) for held in (50.0, -50.0, 8.0)]
    [-20.0, 20.0, -8.0]
    >>> order.quantity(50.0, 100.0, 0.0)
    -5.0
    """

    share: float
    least_units: float

    def __post_init__(self) -> None:
        if not (0.0 < self.share <= 1.0 and 0.0 < self.least_units < math.inf):
            raise InputError(
                "impossible order to liquidate",
                expected="a share of the volume in (0, 1], least_units > 0 and finite",
                got=repr(self),
            )

    def quantity(self, units: float, price: float, volume: float) -> float:
        """Units to trade now towards zero, between 0 and ``-units``.

        Parameters
        ----------
        units : float
            Held.
        price : float
            Plays no part: the order does not wait for a better one.
        volume : float
            Of the bar; what is no positive number counts as no trading.
        """
        offered = self.share * volume if volume > 0.0 else 0.0
        return math.copysign(min(abs(units), max(offered, self.least_units)), -units)

    def most_bars(self, units: float) -> int:
        """Bars after which a position is closed at the latest."""
        return math.ceil(abs(units) / self.least_units)
