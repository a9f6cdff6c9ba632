"""Sound models of several kinds, and markets, simulated and real, to validate them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from finchaos.core.subject import Subject
from finchaos.markets import load_builtin
from finchaos.markets.simulate.heston import HestonConfig, simulate
from governance.selftest.volatility_regime import VolatilityRegime

MARKET_BARS = 1200
_SMALL_NETWORK = {
    "d_model": 8,
    "d_state": 4,
    "n_layers": 1,
    "warmup_bars": 64,
    "pretrain_paths": 24,
    "pretrain_bars": 500,
    "pretrain_steps": 60,
    "pretrain_batch": 16,
    "finetune_steps": 20,
    "window_bars": 128,
    "burn_in_bars": 32,
}
"""A state-space model like the demonstration's that is taught in seconds."""


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


@cache
def _network() -> Subject:
    made: Subject = registry.module("finchaos.subjects", "mamba_regime").build(
        _SMALL_NETWORK, seed=1
    )
    return made


def _kinds() -> dict[str, Callable[[], Subject]]:
    kinds: dict[str, Callable[[], Subject]] = {
        "volatility_threshold": _challenger("volatility_threshold"),
        "garch_threshold": _challenger("garch_threshold"),
        "hidden_markov": _challenger("hidden_markov"),
        "jump_model": _challenger("jump_model"),
        "classifier": _classifier,
        "volatility_regime": VolatilityRegime,
    }
    if find_spec("torch") is not None:  # the harness is installed without networks too
        kinds["mamba_regime"] = _network
    return kinds


KINDS: Mapping[str, Callable[[], Subject]] = _kinds()
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
