"""Challenger: a hidden Markov model of returns, filtered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.hyper_parameters import HyperParameterFields
from finchaos.core.provenance import array_digest, digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from finchaos.regimes.hidden_markov import HiddenMarkov as Model
from finchaos.regimes.hidden_markov import MarkovRule
from governance.regime_rule import CAPABILITIES, in_unless_stressed, log_returns, rule_card


@dataclass(frozen=True, eq=False)
class HiddenMarkov(HyperParameterFields):
    """In the market unless the filtered probability of the volatile state is a half or more.

    Parameters
    ----------
    starts : int
        Fits, of which the likeliest is kept.
    model : finchaos.regimes.hidden_markov.HiddenMarkov or None
        None until fitted: then it is always in.

    References
    ----------
    Hamilton (1989), Econometrica 57(2).
    """

    starts: int = 5
    model: Model | None = None

    card: ClassVar[ModelCard] = rule_card(
        "hidden Markov model",
        "the textbook regime model, by filtering alone",
        ("Trades often: its filter follows single days", "Two Gaussian states with fixed moments"),
        warmup_bars=21,
    )
    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES
    hyper_fields: ClassVar[tuple[str, ...]] = ("starts",)

    @property
    def digest(self) -> str:
        """SHA-256 of settings and fitted values."""
        fitted = None
        if self.model is not None:
            names = ("mean", "variance", "transition", "start")
            fitted = array_digest({name: getattr(self.model, name) for name in names})
        return digest({"challenger": "hidden_markov", "starts": self.starts, "fitted": fitted})

    def fit(self, bars: Bars, *, seed: int) -> HiddenMarkov:
        """The likeliest of several fits to the bars' returns."""
        rule = MarkovRule(starts=self.starts)
        return replace(self, model=Model.fit(log_returns(bars)[1:, None], rule, seed=seed))

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar, each from the bars up to it."""
        if self.model is None:
            return in_unless_stressed(bars, np.zeros(len(bars)), self.card.warmup_bars)
        stress = self.model.filter(log_returns(bars)[:, None])[:, -1]
        return in_unless_stressed(bars, stress, self.card.warmup_bars)
