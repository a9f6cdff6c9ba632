"""The Mamba block: steps equal the scan, parameters are those of mamba-ssm."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import softplus

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm import Mamba, MambaBlock, MambaConfig


def block(dtype: torch.dtype, seed: int = 1, **sizes: int) -> MambaBlock:
    config = MambaConfig(**{"d_model": 6, "d_state": 3, **sizes})
    return MambaBlock(config, torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_steps_equal_the_scan_and_so_does_a_continued_scan(
    dtype: torch.dtype, tolerance: float
) -> None:
    model = block(dtype)
    x = torch.randn(2, 50, 6, dtype=dtype, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole, last = model(x)
        state = model.initial_state(2)
        rows = []
        for t in range(50):
            y, state = model.step(x[:, t], state)
            rows.append(y)
        torch.testing.assert_close(torch.stack(rows, 1), whole, rtol=0, atol=tolerance)
        torch.testing.assert_close(state.ssm, last.ssm, rtol=0, atol=tolerance)
        torch.testing.assert_close(state.conv, last.conv, rtol=0, atol=tolerance)
        # A first piece shorter than the convolution is wide must keep what it has seen.
        first, state = model(x[:, :2])
        rest, _ = model(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, rtol=0, atol=tolerance)


def test_parameters_have_the_names_and_shapes_of_mamba_ssm() -> None:
    mixer = Mamba(MambaConfig(d_model=64, d_state=16))
    shapes = {name: tuple(value.shape) for name, value in mixer.state_dict().items()}
    assert shapes == {
        "in_proj.weight": (256, 64),
        "conv1d.weight": (128, 1, 4),
        "conv1d.bias": (128,),
        "x_proj.weight": (36, 128),
        "dt_proj.weight": (128, 4),
        "dt_proj.bias": (128,),
        "A_log": (128, 16),
        "D": (128,),
        "out_proj.weight": (64, 128),
    }


def test_initial_rates_and_step_sizes() -> None:
    mixer = Mamba(MambaConfig(d_model=64, d_state=5), torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(
        torch.exp(mixer.A_log),
        torch.arange(1.0, 6.0).double().expand(128, 5),
        rtol=1e-6,
        atol=0,
    )
    step = softplus(mixer.dt_proj.bias.detach())
    assert 1e-3 * (1 - 1e-4) <= float(step.min()) < float(step.max()) <= 0.1 * (1 + 1e-4)
    # Log-uniform: the mean of the logarithm lies midway, within four standard errors.
    spread = math.log(100.0) / math.sqrt(12 * 128)
    assert abs(float(torch.log(step).mean()) - math.log(0.01)) < 4 * spread


def test_reference_backend_gives_the_same_block() -> None:
    x = torch.randn(1, 20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    fast = block(torch.float64)
    slow = MambaBlock(MambaConfig(6, 3, backend="reference")).double()
    slow.load_state_dict(fast.state_dict())
    torch.testing.assert_close(slow(x)[0], fast(x)[0], rtol=1e-11, atol=1e-11)


def test_same_generator_same_weights() -> None:
    first, second, other = (block(torch.float32, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["mixer.in_proj.weight"], other["mixer.in_proj.weight"])


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        MambaConfig(d_model=0)
    with pytest.raises(UnknownNameError, match="avx"):
        MambaConfig(d_model=4, backend="avx")


@pytest.mark.parametrize("backend", ["reference", "torch", "auto"])
def test_padding_comes_out_as_zero_on_every_way(backend: str) -> None:
    model = MambaBlock(MambaConfig(6, 3, backend=backend)).double()
    y, _ = model(torch.ones(2, 9, 6, dtype=torch.float64), lengths=torch.tensor([9, 4]))
    assert bool((y[1, 4:] == 0).all())
    assert bool((y[0] != 0).any(-1).all())
