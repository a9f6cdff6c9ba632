"""Sound models of several kinds, and simulated markets to validate them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from finchaos.core.subject import Subject
from finchaos.markets.simulate.heston import HestonConfig, simulate
from governance.selftest.volatility_regime import VolatilityRegime

MARKET_BARS = 1200


def _challenger(name: str) -> Callable[[], Subject]:
    def make() -> Subject:
        made: Subject = registry.public_class("governance.challengers", name)()
        return made

    return make


def _classifier() -> Subject:
    made: Subject = registry.module("governance.adapters", "estimator").build(
        {"estimator": "sklearn.linear_model:LogisticRegression"}, seed=0
    )
    return made


KINDS: Mapping[str, Callable[[], Subject]] = {
    "volatility_threshold": _challenger("volatility_threshold"),
    "garch_threshold": _challenger("garch_threshold"),
    "hidden_markov": _challenger("hidden_markov"),
    "jump_model": _challenger("jump_model"),
    "classifier": _classifier,
    "volatility_regime": VolatilityRegime,
}
"""Untrained sound subjects by kind."""


def market(seed: int, bars: int = MARKET_BARS) -> Bars:
    """A simulated market of calm and stress with open, high, low, close and volume."""
    return simulate(HestonConfig(), 1, bars, random_stream(seed, "selftest/market")).bars(0)
