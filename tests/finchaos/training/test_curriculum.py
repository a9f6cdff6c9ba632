"""The curriculum: it resumes after kill -9, mixes in what it is told to, and teaches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import simulate
from finchaos.models.mamba_regime import MambaRegimeNetwork, new_network
from finchaos.regimes.kpis import auc
from finchaos.training.curriculum import (
    SWITCHING_MARKET,
    Stage,
    Weights,
    calm_then_switching,
    teach,
)
from finchaos.training.loop import Examples
from finchaos.training.simulated import Drawing
from tests.finchaos.training import toy_curriculum as toy

ROOT = Path(__file__).resolve().parents[3]


def equal(one: MambaRegimeNetwork, other: MambaRegimeNetwork) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def taught(stages: Any, **changes: Any) -> MambaRegimeNetwork:
    network = new_network(toy.CONFIG, 1)
    arguments = {"seed": 1, "burn_in_bars": 20} | changes
    teach(network, stages, toy.units(), toy.DRAWING, **arguments)
    return network


def real_bars(value: float = 0.5) -> Examples:
    """Sequences with forecasts alone: variance and regime are unknown."""
    rng = np.random.default_rng(5)
    features = rng.standard_normal((1, 200, len(toy.SCHEMA.names))).astype(np.float32)
    targets = np.full((1, 200, 4), np.nan, dtype=np.float32)
    targets[..., 1:3] = value
    return Examples(features, targets)


@pytest.mark.parametrize(("stage", "step"), [("calm", 3), ("switching", 1), ("switching", 5)])
def test_killed_and_resumed_has_the_weights_of_uninterrupted(
    stage: str, step: int, tmp_path: Path
) -> None:
    whole, expected = toy.run(tmp_path / "whole")
    command = [sys.executable, "-m", "tests.finchaos.training.toy_curriculum"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = [*command, str(tmp_path / "killed"), stage, str(step)]
    done = subprocess.run(killed, env=environment, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    resumed, losses = toy.run(tmp_path / "killed")
    assert equal(resumed, whole)
    assert losses == expected
    assert {name: len(found) for name, found in losses.items()} == {"calm": 4, "switching": 6}


def test_states_change_nothing_and_the_seed_everything(tmp_path: Path) -> None:
    kept, _ = toy.run(tmp_path / "kept")
    bare, _ = toy.run(None)
    assert equal(kept, bare)
    assert not equal(bare, taught(toy.STAGES, seed=2))


def test_one_batch_in_so_many_is_real() -> None:
    stage = Stage("mixed", 6, 1e-2, SWITCHING_MARKET, real_share=3)
    early = replace(stage, steps=2)
    # Nothing real is seen before the third batch; from then on it decides.
    assert equal(taught([early], real=real_bars()), taught([early], real=real_bars(2.0)))
    assert not equal(taught([stage], real=real_bars()), taught([stage], real=real_bars(2.0)))


def test_real_bars_alone_teach_neither_variance_nor_regime() -> None:
    stage = Stage("real", 3, 1e-2, SWITCHING_MARKET, real_share=1)
    network, before = taught([stage], real=real_bars()), new_network(toy.CONFIG, 1)
    for head in (network.stress_head, network.variance_head):
        assert head.bias.item() == 0.0
    assert not torch.equal(network.forecast_head.bias, before.forecast_head.bias)


@pytest.mark.parametrize("name", ["stress", "variance", "forecast"])
def test_what_weighs_nothing_teaches_nothing(name: str) -> None:
    network = taught(toy.STAGES[1:], weights=replace(Weights(), **{name: 0.0}))
    heads = {
        head: getattr(network, f"{head}_head").bias
        for head in vars(Weights())
        if head != "slowness"
    }
    assert {head for head, bias in heads.items() if not bias.any()} == {name}


def test_calm_markets_say_nothing_of_regimes() -> None:
    network = taught(toy.STAGES[:1])
    assert network.stress_head.bias.item() == 0.0
    assert network.variance_head.bias.item() != 0.0


def test_a_head_for_stress_leaves_the_other_initial_weights() -> None:
    network = new_network(toy.CONFIG, 3)
    assert list(network.state_dict())[-2:] == ["stress_head.weight", "stress_head.bias"]


@pytest.mark.slow
def test_stress_is_told_from_calm_on_paths_never_seen() -> None:
    """Far from a ceiling of 0.90, which only parameters known beforehand reach."""
    config = replace(toy.CONFIG, d_model=16, d_state=8)
    network, units = new_network(config, 1), toy.units()
    drawing = Drawing(paths=48, bars=1000, batch=16, window_bars=300)
    teach(network, calm_then_switching(150, 8e-3), units, drawing, seed=1)
    paths = simulate(SWITCHING_MARKET, 10, 3000, random_stream(9, "held out"))
    with torch.no_grad():
        said = network(torch.from_numpy(units.features(paths)))
    stressed = (paths.regime > 0)[:, 60:].ravel()
    assert auc(said.stress[:, 60:, 0].numpy().ravel(), stressed) > 0.82
    log_variance = np.log(np.maximum(paths.variance, 1e-6))[:, 60:].ravel()
    assert np.corrcoef(said.variance[:, 60:, 0].numpy().ravel(), log_variance)[0, 1] > 0.9


def test_impossible_curricula_are_refused() -> None:
    stage = Stage("one", 1, 1e-2, SWITCHING_MARKET)
    with pytest.raises(InputError, match="different names"):
        taught([stage, stage])
    with pytest.raises(InputError, match=r"'one' needs real bars .*|needs real bars; pass real="):
        taught([replace(stage, real_share=2)])
    with pytest.raises(InputError, match="burn-in must leave something"):
        taught([stage], burn_in_bars=toy.DRAWING.window_bars)
    with pytest.raises(InputError, match="finite and not negative"):
        Weights(stress=-1.0)
    with pytest.raises(InputError, match="a stage has a name"):
        Stage("", 1, 1e-2, SWITCHING_MARKET)
