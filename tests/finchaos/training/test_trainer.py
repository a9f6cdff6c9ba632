"""The training loop: it repeats itself, resumes after kill -9, and stops where it should."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from finchaos.core.errors import CheckpointError, DivergenceError, InputError
from finchaos.models.mamba_regime import Config, Outputs, new_network
from finchaos.training.blocks import run_blocks
from finchaos.training.dataset import Batch
from finchaos.training.logs import CsvLog
from finchaos.training.losses import Loss, huber
from finchaos.training.panel import Panel
from finchaos.training.trainer import TrainerConfig, fit
from finchaos.training.training_state import owned, saved_steps, state_path
from tests.finchaos.training import toy

PLAIN = TrainerConfig(steps=12, learning_rate=1e-2)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return toy.write_panel(tmp_path_factory.mktemp("panels") / "toy")


@pytest.fixture
def place(panel: Panel, tmp_path: Path) -> Path:
    toy.write_panel(tmp_path / "panel")
    return tmp_path / "panel"


class Repeating:
    """The same batches over and over."""

    def __init__(self, *batches: Batch) -> None:
        self.batches, self.at = batches, 0

    def next(self) -> Batch:
        self.at += 1
        return self.batches[(self.at - 1) % len(self.batches)]

    def state(self) -> dict[str, Any]:
        return {"at": self.at}

    def restore(self, state: Any) -> None:
        self.at = state["at"]

    def identity(self) -> dict[str, Any]:
        return {}


def batch(rows: int, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, 4, generator=generator)
    y = x[..., :1].sin()
    y[torch.rand(rows, 6, 1, generator=generator) < 0.3] = float("nan")
    return Batch(x, y)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("step", "where"),
    [(3, ""), (12, ""), (29, ""), (2, "model.safetensors"), (3, "config.json")],
)
def test_killed_and_resumed_is_bit_equal_to_uninterrupted(
    place: Path, tmp_path: Path, step: int, where: str
) -> None:
    whole, expected = toy.run(Panel.open(place), tmp_path / "whole")
    states = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.finchaos.training.toy", str(place), str(states)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, str(step), where], env=environment, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    before = saved_steps(states)
    assert not before or before[-1] < toy.CONFIG.steps
    resumed, found = toy.run(Panel.open(place), states)
    assert toy.digest_of(resumed) == toy.digest_of(whole)
    assert found == expected
    assert (states / "log.csv").read_bytes() == (tmp_path / "whole/log.csv").read_bytes()
    assert saved_steps(states) == saved_steps(tmp_path / "whole") == [25, 30]
    assert not list(states.glob(".step*"))


def test_a_finished_training_is_not_taken_again(panel: Panel, tmp_path: Path) -> None:
    first, expected = toy.run(panel, tmp_path / "t")
    again, found = toy.run(panel, tmp_path / "t")
    assert found == expected
    assert toy.digest_of(first) == toy.digest_of(again)


def test_states_do_not_change_the_training_nor_its_surroundings(
    panel: Panel, tmp_path: Path
) -> None:
    before = torch.get_rng_state()
    kept, _ = toy.run(panel, tmp_path / "t")
    bare, _ = toy.run(panel, None, replace(toy.CONFIG, checkpoint_every=0))
    assert toy.digest_of(kept) == toy.digest_of(bare)
    assert torch.equal(before, torch.get_rng_state())
    other, _ = toy.run(panel, None, replace(toy.CONFIG, checkpoint_every=0, seed=4))
    assert toy.digest_of(other) != toy.digest_of(bare)
    assert not kept.training


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_torn_state_is_refused_and_the_one_before_named(
    panel: Panel, tmp_path: Path, name: str
) -> None:
    toy.run(panel, tmp_path / "t")
    torn = state_path(tmp_path / "t", 30)
    (torn / name).write_bytes((torn / name).read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"step-00000030.*damaged.*step-00000025"):
        toy.run(panel, tmp_path / "t")
    shutil.rmtree(torn)
    whole, _ = toy.run(panel, tmp_path / "w")
    resumed, _ = toy.run(panel, tmp_path / "t")
    assert toy.digest_of(resumed) == toy.digest_of(whole)


def test_the_state_of_another_training_is_refused(panel: Panel, tmp_path: Path) -> None:
    toy.run(panel, tmp_path / "t")
    with pytest.raises(CheckpointError, match=r"another training.*another settings"):
        toy.run(panel, tmp_path / "t", replace(toy.CONFIG, learning_rate=2e-2))
    source, validation = toy.source_of(panel, 5)
    with pytest.raises(CheckpointError, match="another also, batches, network, stage"):
        fit(
            nn.Sequential(nn.Linear(4, 1)),
            source,
            toy.objective,
            toy.CONFIG,
            stage="other",
            validation=validation,
            folder=tmp_path / "t",
            identity={"loss": "another"},
        )


def test_one_process_trains_in_a_folder(panel: Panel, tmp_path: Path) -> None:
    with owned(tmp_path / "t"), pytest.raises(InputError, match="another process"):
        toy.run(panel, tmp_path / "t")


def test_accumulated_small_batches_are_the_large_batch() -> None:
    """Parts know different numbers of targets; their gradients weigh accordingly."""
    whole = batch(12)
    parts = [Batch(whole.features[k : k + 3], whole.targets[k : k + 3]) for k in range(0, 12, 3)]
    assert len({int(torch.isfinite(part.targets).sum()) for part in parts}) > 1
    one, many = toy.Network(0.0).double(), toy.Network(0.0).double()
    config = replace(PLAIN, clip_norm=100.0)

    def double(*batches: Batch) -> Repeating:
        return Repeating(*(Batch(b.features.double(), b.targets.double()) for b in batches))

    a = fit(one, double(whole), toy.objective, config)
    b = fit(many, double(*parts), toy.objective, replace(config, accumulate=4))
    np.testing.assert_allclose(a.losses, b.losses, rtol=1e-12)
    for x, y in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def test_accumulating_what_knows_nothing_moves_nothing() -> None:
    unknown = Batch(batch(2).features, torch.full((2, 6, 1), float("nan")))
    network = toy.Network()
    before = weights(network)
    config = replace(PLAIN, accumulate=2, weight_decay=0.0)
    assert set(fit(network, Repeating(unknown), toy.objective, config).losses) == {0.0}
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def saved_bytes(network: nn.Module, x: Tensor) -> int:
    """Bytes of distinct tensors that a forward pass keeps for the way back."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(kept.values())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradient_checkpointing_keeps_less_and_gives_the_same_bits(dropout: float) -> None:
    kept, recomputed = toy.Network(dropout), toy.Network(dropout)
    a = fit(kept, Repeating(batch(8)), toy.objective, PLAIN)
    b = fit(recomputed, Repeating(batch(8)), toy.objective, replace(PLAIN, recompute=True))
    assert a.losses == b.losses
    assert toy.digest_of(kept) == toy.digest_of(recomputed)
    x = torch.randn(64, 50, 4)
    network = toy.Network(dropout)
    usual = saved_bytes(network, x)
    with run_blocks(network, recompute=True):
        assert saved_bytes(network, x) < 0.5 * usual
    assert "forward" not in network.blocks[0].__dict__


def test_the_mamba_network_learns_the_same_with_recomputed_blocks_and_nearly_in_bfloat16() -> None:
    config = Config(n_features=4, d_model=8, d_state=4, n_layers=2, d_latent=2, horizons=(1,))

    def objective(said: Outputs, one: Batch) -> Loss:
        assert said.variance.dtype == torch.float32
        return huber(said.variance, one.targets)

    def trained(**how: Any) -> tuple[float, ...]:
        network = new_network(config, 1)
        settings = replace(PLAIN, steps=25, **how)
        return fit(network, Repeating(batch(8)), objective, settings).losses

    exact = trained()
    assert trained(recompute=True) == exact
    rounded = trained(precision="bfloat16")
    assert rounded != exact
    assert rounded[0] == pytest.approx(exact[0], rel=0.02)
    assert rounded[-1] < 0.7 * rounded[0]
    assert trained(precision="bfloat16", recompute=True) == rounded


def test_early_stopping_waits_as_long_as_asked_and_gives_the_best_weights() -> None:
    """Validated against the opposite of what is taught: the first validation is the best."""
    taught = batch(8)
    against = Batch(taught.features, -taught.targets)
    network = toy.Network(0.0)
    seen: list[dict[str, Tensor]] = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append(weights(network))

    config = replace(PLAIN, steps=100, validate_every=2, patience=3)
    done = fit(
        network, Repeating(taught), toy.objective, config, validation=[against], progress=progress
    )
    assert done.stopped_early
    assert len(done.losses) == 2 + 3 * 2
    assert done.best_step == 2
    assert all(torch.equal(seen[1][k], v) for k, v in network.state_dict().items())
    with torch.no_grad():
        again = toy.objective(network(against.features), against).mean
    assert float(again) == done.best_loss


def test_the_best_weights_outlive_an_interruption(tmp_path: Path) -> None:
    """The best validation is before the state that is resumed from."""
    taught = batch(8)
    against = Batch(taught.features, -taught.targets)
    config = replace(PLAIN, steps=100, validate_every=2, patience=4, checkpoint_every=3)

    def trained(folder: Path, die_at: int = 0) -> tuple[str, Any]:
        def progress(stage: str, done: int, total: int) -> None:
            if done == die_at:
                raise KeyboardInterrupt

        network = toy.Network()
        done = fit(
            network,
            Repeating(taught),
            toy.objective,
            config,
            validation=[against],
            folder=folder,
            progress=progress,
        )
        return toy.digest_of(network), done

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "t", die_at=7)
    resumed, whole = trained(tmp_path / "t"), trained(tmp_path / "w")
    assert resumed == whole
    assert whole[1].best_step == 2
    assert len(whole[1].losses) == 2 + 4 * 2


def test_gains_too_small_to_count_are_no_gains() -> None:
    config = replace(PLAIN, steps=40, validate_every=1, patience=5, least_gain=100.0)
    done = fit(toy.Network(0.0), Repeating(batch(8)), toy.objective, config, validation=[batch(4)])
    assert (done.stopped_early, done.best_step, len(done.losses)) == (True, 1, 6)


def test_validation_weighs_batches_by_what_they_know() -> None:
    parts = [batch(2, 1), batch(9, 2)]
    config = replace(PLAIN, steps=1, validate_every=1)
    network = toy.Network(0.0)
    done = fit(network, Repeating(batch(4)), toy.objective, config, validation=parts)
    joined = Batch(*(torch.cat([getattr(p, n) for p in parts]) for n in ("features", "targets")))
    with torch.no_grad():
        whole = float(toy.objective(network(joined.features), joined).mean)
    assert done.best_loss == pytest.approx(whole, rel=1e-6)
    unknown = Batch(batch(2).features, torch.full((2, 6, 1), float("nan")))
    with pytest.raises(InputError, match="knows no target"):
        fit(network, Repeating(batch(4)), toy.objective, config, validation=[unknown])


def test_a_loss_that_is_no_number_stops_with_step_and_checkpoint(tmp_path: Path) -> None:
    bad = batch(4)
    poisoned = Batch(bad.features * float("inf"), bad.targets)
    good = [batch(4)] * 7
    config = replace(PLAIN, checkpoint_every=3)
    network = toy.Network(0.0)
    with pytest.raises(DivergenceError, match=r"loss is nan at step 8.*t/step-00000006"):
        fit(network, Repeating(*good, poisoned), toy.objective, config, folder=tmp_path / "t")
    assert all(bool(torch.isfinite(v).all()) for v in network.state_dict().values())
    with pytest.raises(DivergenceError, match=r"at step 1;.*checkpoint: none"):
        fit(network, Repeating(poisoned), toy.objective, PLAIN)
    with pytest.raises(DivergenceError, match="validation loss is nan"):
        fit(
            network,
            Repeating(batch(4)),
            toy.objective,
            replace(PLAIN, validate_every=1),
            validation=[poisoned],
        )


def test_a_gradient_that_is_no_number_stops_before_the_step() -> None:
    def objective(said: Tensor, one: Batch) -> Loss:
        return Loss((said - said.detach()).abs().sqrt().sum(), torch.tensor(1.0))

    network = toy.Network(0.0)
    before = weights(network)
    with pytest.raises(DivergenceError, match="norm of the gradient"):
        fit(network, Repeating(batch(2)), objective, PLAIN)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert not network.training


def test_the_learning_rate_rises_and_falls_as_scipy_free_arithmetic_says() -> None:
    config = TrainerConfig(steps=100, learning_rate=2.0, warmup_share=0.2)
    rates = np.array([config.rate(step) for step in range(100)])
    np.testing.assert_allclose(rates[:20], 2.0 * np.arange(1, 21) / 20)
    np.testing.assert_allclose(rates[20:], 1.0 + np.cos(np.pi * np.arange(80) / 80))
    assert TrainerConfig(steps=5, learning_rate=1.0, warmup_share=0.0).rate(0) == 1.0


def test_long_gradients_are_shortened_and_logged_as_they_were(tmp_path: Path) -> None:
    network = nn.Linear(4, 1, bias=False)
    loud = Batch(100.0 * batch(4).features, 1e4 * batch(4).targets)
    config = TrainerConfig(steps=1, learning_rate=1e-3, weight_decay=0.0)
    taken: list[Tensor] = []
    network.weight.register_hook(lambda gradient: taken.append(gradient.clone()))
    fit(network, Repeating(loud), toy.objective, config, logs=[CsvLog(tmp_path / "log.csv")])
    (row,) = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    assert float(row["gradient_norm"]) == pytest.approx(float(taken[0].norm()), rel=1e-6)
    assert network.weight.grad is not None
    assert float(network.weight.grad.norm()) == pytest.approx(1.0, rel=1e-4)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"steps": -1},
    {"learning_rate": 0.0},
    {"learning_rate": float("nan")},
    {"warmup_share": 1.1},
    {"weight_decay": -1.0},
    {"clip_norm": 0.0},
    {"accumulate": 0},
    {"keep": 0},
    {"seed": -1},
    {"patience": 2},
    {"checkpoint_every": -1},
    {"least_gain": -1.0},
]


@pytest.mark.parametrize("wrong", IMPOSSIBLE, ids=str)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="impossible training"):
        replace(PLAIN, **wrong)


def test_what_lacks_its_other_half_is_refused(tmp_path: Path) -> None:
    def trained(network: nn.Module, config: TrainerConfig = PLAIN, **more: Any) -> None:
        fit(network, Repeating(batch(2)), toy.objective, config, **more)

    network = toy.Network()
    for config, more in (
        (replace(PLAIN, validate_every=1), {}),
        (PLAIN, {"validation": [batch(2)]}),
        (replace(PLAIN, checkpoint_every=1), {}),
        (PLAIN, {"folder": tmp_path}),
    ):
        with pytest.raises(InputError, match="needs both"):
            trained(network, config, **more)
    with pytest.raises(InputError, match="named blocks"):
        trained(nn.Linear(4, 1), replace(PLAIN, precision="bfloat16"))
    with pytest.raises(InputError, match="unknown precision"):
        trained(network, replace(PLAIN, precision="float16"))  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, precision: Any
) -> None:
    config = replace(PLAIN, checkpoint_every=5, precision=precision, recompute=True)

    def trained(folder: Path, die_at: int = 0) -> list[Tensor]:
        def progress(stage: str, done: int, total: int) -> None:
            if done == die_at:
                raise KeyboardInterrupt

        network = toy.Network().cuda()
        fit(
            network,
            Repeating(batch(8)),
            toy.objective,
            config,
            folder=folder,
            progress=progress,
        )
        return [value.cpu() for value in network.parameters()]

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "t", die_at=7)
    pairs = zip(trained(tmp_path / "t"), trained(tmp_path / "w"), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
