"""Challenger: in and out of the market by chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.hyper_parameters import HyperParameterFields
from finchaos.core.provenance import digest, random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from governance.regime_rule import CAPABILITIES, in_unless_stressed, rule_card


@dataclass(frozen=True)
class RandomEntry(HyperParameterFields):
    """Spells of geometric length, in and out in turn, whatever the market does.

    Parameters
    ----------
    in_bars, out_bars : float
        Mean length of a spell; by default those of a rule with 1.2 round trips a year that is in
        the market two days of three.
    seed : int or None
        Of the draws; None until fitted, then that of no model.
    """

    in_bars: float = 140.0
    out_bars: float = 70.0
    seed: int | None = None

    card: ClassVar[ModelCard] = rule_card(
        "random entry",
        "what trading as often by chance earns",
        ("One draw of many: its own luck is in every difference from it",),
        warmup_bars=0,
    )
    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES
    hyper_fields: ClassVar[tuple[str, ...]] = ("in_bars", "out_bars")

    def __post_init__(self) -> None:
        if not (1.0 <= self.in_bars < np.inf and 1.0 <= self.out_bars < np.inf):
            raise InputError(
                "a spell lasts a bar or more", got=f"in {self.in_bars}, out {self.out_bars}"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of settings and seed."""
        seed = None if self.seed is None else str(self.seed)
        spells = {"in_bars": self.in_bars, "out_bars": self.out_bars}
        return digest({"challenger": "random_entry", **spells, "seed": seed})

    def fit(self, bars: Bars, *, seed: int) -> RandomEntry:
        """The same rule with the draws of this seed; the bars play no part."""
        return replace(self, seed=seed)

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar; a bar's depends on how many there were before it alone."""
        rng = random_stream(self.seed or 0, "random_entry")
        inside = rng.random() < self.in_bars / (self.in_bars + self.out_bars)
        spells, covered = [], 0
        while covered < len(bars):
            length = int(rng.geometric(1.0 / (self.in_bars if inside else self.out_bars)))
            spells.append(np.full(length, not inside))
            covered, inside = covered + length, not inside
        out = np.concatenate(spells)[: len(bars)] if spells else np.empty(0, dtype=bool)
        return in_unless_stressed(bars, out.astype(np.float64), self.card.warmup_bars)
