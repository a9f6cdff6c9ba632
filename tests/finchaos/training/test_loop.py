"""The optimisation loop: it learns, repeats itself, and masks what is unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finchaos.core.errors import InputError
from finchaos.models.mamba_regime import Config, new_network
from finchaos.training.determinism import one_thread
from finchaos.training.loop import Examples, Schedule, roughness, train
from finchaos.training.losses import masked_huber

CONFIG = Config(n_features=2, d_model=8, d_state=4, n_layers=1, d_latent=2, horizons=(1,))
SCHEDULE = Schedule(60, 8, 40, 10, 1e-2, 0.0)


def examples() -> Examples:
    """Targets that a memory of the first feature gives: its running mean."""
    x = np.random.default_rng(1).normal(size=(6, 120, 2))
    mean = np.zeros((6, 120))
    for t in range(1, 120):
        mean[:, t] = 0.8 * mean[:, t - 1] + 0.6 * x[:, t, 0]
    targets = np.stack([mean, np.full_like(mean, np.nan)], axis=-1)
    return Examples(x, targets)


def run(
    seed: int = 1, schedule: Schedule = SCHEDULE
) -> tuple[list[float], dict[str, torch.Tensor]]:
    network = new_network(CONFIG, 1)
    with one_thread():
        losses = train(network, examples(), schedule, np.random.default_rng(seed), stage="test")
    return list(losses), network.state_dict()


def test_it_learns_what_can_be_learnt() -> None:
    losses, _ = run(schedule=Schedule(150, 8, 40, 10, 2e-2, 0.0))
    assert np.mean(losses[-6:]) < 0.2 * np.mean(losses[:6])


def test_same_stream_same_bits() -> None:
    first, second, other = run(1), run(1), run(2)
    assert first[0] == second[0] != other[0]
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


def test_no_steps_leave_the_network_as_it_was() -> None:
    losses, weights = run(schedule=Schedule(0, 8, 40, 10, 1e-2))
    assert losses == []
    untouched = new_network(CONFIG, 1).state_dict()
    assert all(torch.equal(weights[name], untouched[name]) for name in weights)


def test_unknown_targets_teach_nothing() -> None:
    said = torch.ones(2, 3, 2, requires_grad=True)
    targets = torch.zeros(2, 3, 2)
    targets[..., 1] = float("nan")
    loss = masked_huber(said, targets)
    loss.backward()
    assert float(loss.detach()) == 0.5
    assert said.grad is not None
    assert bool((said.grad[..., 0] != 0).all())
    assert not said.grad[..., 1].any()
    none_known = masked_huber(said, torch.full((2, 3, 2), float("nan")))
    assert float(none_known.detach()) == 0.0


def test_roughness_of_constants_noise_and_slow_waves() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(4, 2000, 3, generator=generator)
    wave = torch.sin(torch.arange(2000.0) / 100.0).reshape(1, -1, 1)
    assert float(roughness(torch.ones(1, 50, 2))) == 0.0
    assert float(roughness(noise)) == pytest.approx(2.0, abs=0.05)
    assert float(roughness(wave)) < 1e-3


def test_slowness_makes_latents_slower() -> None:
    def latents(slowness: float) -> torch.Tensor:
        network = new_network(CONFIG, 1)
        schedule = Schedule(30, 8, 40, 10, 1e-2, slowness)
        train(network, examples(), schedule, np.random.default_rng(1), stage="test")
        with torch.no_grad():
            return network.latents(torch.from_numpy(examples().features.astype(np.float32)))

    assert float(roughness(latents(1.0))) < float(roughness(latents(0.0)))


@pytest.mark.parametrize(
    "wrong", [(-1, 8, 40, 10, 1e-2), (5, 0, 40, 10, 1e-2), (5, 8, 10, 10, 1e-2), (5, 8, 40, 10, 0)]
)
def test_impossible_schedules_are_refused(wrong: tuple[int, int, int, int, float]) -> None:
    with pytest.raises(InputError, match="impossible training schedule"):
        Schedule(*wrong)


def test_thread_settings_come_back_even_after_an_error() -> None:
    before = torch.get_num_threads()
    inside = []

    def fail() -> None:
        with one_thread():
            inside.append(torch.get_num_threads())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert inside == [1]
    assert torch.get_num_threads() == before
