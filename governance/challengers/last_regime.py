"""Challenger: tomorrow is like today."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.hyper_parameters import HyperParameterFields
from finchaos.core.provenance import digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from governance.regime_rule import CAPABILITIES, in_unless_stressed, log_returns, rule_card


@dataclass(frozen=True)
class LastRegime(HyperParameterFields):
    """Flat after a bar whose move was large for training, in after any other.

    Parameters
    ----------
    quantile : float
        Share of training bars with smaller moves.
    limit : float or None
        Absolute log return that is large; None until fitted, then it is always in.
    """

    quantile: float = 0.80
    limit: float | None = None

    card: ClassVar[ModelCard] = rule_card(
        "last regime",
        "persistence, the least that a regime model must beat",
        ("One bar of memory: it trades all the time",),
        warmup_bars=1,
    )
    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES
    hyper_fields: ClassVar[tuple[str, ...]] = ("quantile",)

    def __post_init__(self) -> None:
        if not 0.0 < self.quantile < 1.0:
            raise InputError("a quantile lies inside (0, 1)", got=str(self.quantile))

    @property
    def digest(self) -> str:
        """SHA-256 of settings and limit."""
        return digest({"challenger": "last_regime", "quantile": self.quantile, "limit": self.limit})

    def fit(self, bars: Bars, *, seed: int) -> LastRegime:
        """The same rule with the limit of these bars; nothing is random."""
        moves = np.abs(log_returns(bars)[1:])
        return replace(self, limit=float(np.quantile(moves, self.quantile)))

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar; the probability of stress is 0 or 1."""
        limit = np.inf if self.limit is None else self.limit
        large = np.abs(log_returns(bars)) > limit
        return in_unless_stressed(bars, large.astype(np.float64), self.card.warmup_bars)
