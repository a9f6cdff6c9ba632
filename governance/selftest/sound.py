"""Sound models of several kinds, and markets, simulated and real, to validate them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from finchaos.core.subject import Subject
from finchaos.markets import load_builtin
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
    """A market of calm and stress: simulated for odd seeds, a stretch of the S&P 500 for even ones.

    Simulated bars have open, high, low, close and volume of a Heston process that switches.
    """
    if seed % 2:
        return simulate(HestonConfig(), 1, bars, random_stream(seed, "selftest/market")).bars(0)
    whole = load_builtin("spx")
    first = int(random_stream(seed, "selftest/stretch").integers(0, len(whole) - bars))
    return whole.rows(first, first + bars)
