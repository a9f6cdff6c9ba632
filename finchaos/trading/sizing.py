"""From the probability of stress to exposure: a dimmer, not a switch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError


@dataclass(frozen=True)
class SizingRule:
    """A falling line between two probabilities, and a band within which nothing is traded.

    Attributes
    ----------
    min_position, max_position : float
        Exposure under certain stress and in certain calm, as fractions of capital.
    calm_below : float
        Probability of stress up to which exposure is ``max_position``.
    stressed_above : float
        Probability of stress from which it is ``min_position``.
    band : float
        Smallest change of exposure that is worth a trade. Going to ``min_position`` always is.
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

    def target(self, stress_probability: float) -> float:
        """Exposure wanted at a probability of stress: continuous, never rising with it.

        Examples
        --------
        >>> [round(SizingRule().target(p), 2) for p in (0.1, 0.35, 0.5, 1.0)]
        [1.0, 0.75, 0.5, 0.0]
        """
        way = (stress_probability - self.calm_below) / (self.stressed_above - self.calm_below)
        share = min(max(way, 0.0), 1.0)
        return self.max_position + share * (self.min_position - self.max_position)


class Sizing:
    """Exposure held from bar to bar under a rule.

    Parameters
    ----------
    rule : SizingRule
    """

    def __init__(self, rule: SizingRule) -> None:
        self.rule = rule
        self.held = 0.0

    def step(self, stress_probability: float) -> float:
        """Exposure to hold after the next bar."""
        target = self.rule.target(stress_probability)
        leaves = target == self.rule.min_position
        if leaves or abs(target - self.held) >= self.rule.band:
            self.held = target
        return self.held
