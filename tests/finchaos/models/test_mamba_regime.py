"""The network: shapes, causality, its bar-by-bar form, and weights from a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from finchaos.core.errors import InputError
from finchaos.models.mamba_regime import Config, LatentReplay, new_network

CONFIG = Config(n_features=5, d_model=8, d_state=4, horizons=(1, 7))
X = np.random.default_rng(1).normal(size=(60, 5))


def test_shapes() -> None:
    out = new_network(CONFIG, 1)(torch.zeros(2, 9, 5))
    assert out.latents.shape == (2, 9, 3)
    assert out.variance.shape == (2, 9, 1)
    assert out.targets.shape == (2, 9, 3)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_traced_latents_are_the_latents(backend: str) -> None:
    network = new_network(replace(CONFIG, backend=backend), 1).double()
    x = torch.from_numpy(X)[None].requires_grad_()
    expected = network.latents(x)
    latents, traces = network.traced_latents(x, keep=[10, 59])
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-13)
    assert [tuple(trace.states.shape) for trace in traces] == [(1, 2, 16, 4)] * 2
    # What a block hands on is what the next one takes.
    again = network.blocks[1].trace(traces[0].y, keep=())
    assert torch.equal(again.dt, traces[1].dt)
    (grad,) = torch.autograd.grad(latents[:, -1].sum(), x)
    (wanted,) = torch.autograd.grad(expected[:, -1].sum(), x)
    torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-12)


def test_bar_by_bar_form_equals_torch_and_any_cut_the_same_bits() -> None:
    network = new_network(CONFIG, 1).double()
    with torch.no_grad():
        expected = network.latents(torch.from_numpy(X)[None])[0].numpy()
    replay = LatentReplay(network)
    whole = replay.advance(X)
    np.testing.assert_allclose(whole, expected, rtol=1e-10, atol=1e-12)
    session = replay.fresh()
    rows = np.concatenate(
        [session.advance(X[:1]), session.advance(X[1:40]), session.advance(X[40:])]
    )
    assert np.array_equal(rows, whole)


def test_the_future_leaves_the_past_bit_equal() -> None:
    replay = LatentReplay(new_network(CONFIG, 1))
    altered = X.copy()
    altered[30:] += 1.0
    before, after = replay.fresh().advance(X), replay.fresh().advance(altered)
    assert np.array_equal(before[:30], after[:30])
    assert not np.array_equal(before[30:], after[30:])


def test_weights_come_from_the_seed_and_nothing_else() -> None:
    state = torch.get_rng_state()
    first = new_network(CONFIG, 7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    again, other = new_network(CONFIG, 7).state_dict(), new_network(CONFIG, 8).state_dict()
    torch.set_rng_state(state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [n for n in first if n.endswith("weight") and "norm" not in n]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


@pytest.mark.parametrize("wrong", [{"n_layers": 0}, {"horizons": ()}, {"horizons": (0,)}])
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="positive"):
        Config(5, **wrong)  # type: ignore[arg-type]
