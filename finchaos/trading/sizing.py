"""From the probability of stress to exposure: a dimmer, not a switch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from finchaos.core.errors import InputError
from finchaos.trading.leverage import LeverageMap


@dataclass(frozen=True)
class SizingRule:
    """A falling line between two probabilities, and a band within which nothing is traded.

    It is the :class:`finchaos.trading.leverage.LeverageMap` with two knots; see :attr:`leverage`.

    Attributes
    ----------
    min_position, max_position : float
        Exposure under certain stress and in certain calm, as fractions of capital.
    calm_below : float
        Probability of stress up to which exposure is ``max_position``.
    stressed_above : float
        Probability of stress from which it is ``min_position``.
    band : float
        Smallest change of exposure that is worth a trade. Going to ``min_position`` or to cash
        always is.
    """

    min_position: float = 0.0
    max_position: float = 1.0
    calm_below: float = 0.2
    stressed_above: float = 0.8
    band: float = 0.25

    def __post_init__(self) -> None:
        sound = (
            np.isfinite([self.min_position, self.max_position]).all()
            and self.min_position <= 0.0 <= self.max_position
            and self.min_position < self.max_position
            and 0.0 <= self.calm_below < self.stressed_above <= 1.0
            and 0.0 <= self.band <= self.max_position - self.min_position
        )
        if not sound:
            raise InputError(
                "impossible sizing rule",
                expected="min_position <= 0 <= max_position, calm_below < stressed_above within "
                "[0, 1], a band no wider than the limits",
                got=repr(self),
            )

    @cached_property
    def leverage(self) -> LeverageMap:
        """The rule as a map."""
        return LeverageMap(
            ((self.calm_below, self.max_position), (self.stressed_above, self.min_position)),
            max_long=self.max_position,
            max_short=0.0 - self.min_position,
            band=self.band,
        )

    def target(self, stress_probability: float) -> float:
        """Exposure wanted at a probability of stress: continuous, never rising with it.

        Examples
        --------
        >>> [round(SizingRule().target(p), 2) for p in (0.1, 0.35, 0.5, 1.0)]
        [1.0, 0.75, 0.5, 0.0]
        """
        return self.leverage.target(stress_probability)


class Sizing:
    """Exposure held from bar to bar.

    Parameters
    ----------
    rule : SizingRule or LeverageMap
    """

    def __init__(self, rule: SizingRule | LeverageMap) -> None:
        self.rule = rule.leverage if isinstance(rule, SizingRule) else rule
        self.held = 0.0

    def step(self, stress_probability: float, confidence: float = 1.0) -> float:
        """Exposure to hold after the next bar.

        What is held stays while the change is smaller than the band, but never beyond the limits
        of the confidence, and never when the map says cash or has come to its end under stress.
        """
        target = self.rule.target(stress_probability, confidence)
        least, most = self.rule.limits(confidence)
        must = target in (0.0, self.rule.min_position) or not least <= self.held <= most
        if must or abs(target - self.held) >= self.rule.band:
            self.held = target
        return self.held
