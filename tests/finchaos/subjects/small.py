"""A model small enough to train in a test, and a market that has two regimes."""

from __future__ import annotations

from functools import cache
from typing import Any

from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import HestonConfig, HestonRegime, simulate
from finchaos.subjects.mamba_regime import MambaRegime, build

PARAMS: dict[str, Any] = {
    "d_model": 8,
    "d_state": 4,
    "n_layers": 1,
    "pretrain_paths": 12,
    "pretrain_bars": 400,
    "pretrain_steps": 30,
    "pretrain_batch": 8,
    "pretrain_rate": 1e-2,
    "finetune_steps": 5,
    "finetune_batch": 4,
    "window_bars": 96,
    "burn_in_bars": 32,
    "warmup_bars": 100,
}
TRAINING_BARS = 700


@cache
def market(seed: int = 5, bars: int = 1100) -> Bars:
    """A Heston market whose stressed regime is plain to see."""
    regimes = (
        HestonRegime(6.0, 0.01, 0.2, -0.7, 0.08, 120.0),
        HestonRegime(6.0, 0.12, 0.5, -0.7, -0.2, 60.0),
    )
    paths = simulate(HestonConfig(regimes), 1, bars, random_stream(seed, "market"), seed=seed)
    return paths.bars(0)


@cache
def untrained() -> MambaRegime:
    """The pre-trained model."""
    return build(PARAMS, seed=3)


@cache
def trained() -> MambaRegime:
    """The model trained on the first bars of the market."""
    return untrained().fit(market().rows(0, TRAINING_BARS), seed=3)
