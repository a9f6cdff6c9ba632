"""The Mamba-2 block: steps equal the scan, variants mean what they say, bad input is refused."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import silu, softplus

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm.backends import available_backends
from finchaos.ssm.gated_norm import GatedRMSNorm
from finchaos.ssm.mamba2 import Mamba2, Mamba2Block, Mamba2State
from finchaos.ssm.mamba2_config import Mamba2Config

BACKENDS = [name for name in available_backends() if name != "cuda"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two groups": {"ngroups": 2},
    "two groups, norm of the whole": {"ngroups": 2, "norm_per_group": False},
    "norm before the gate": {"norm_before_gate": True, "ngroups": 2},
    "gate only": {"rmsnorm": False},
    "skip by channel": {"D_has_hdim": True},
    "biases": {"bias": True, "conv_bias": False},
    "limited steps": {"dt_limit": (0.01, 0.05)},
    "wide convolution": {"d_conv": 7},
}


def block(dtype: torch.dtype = torch.float64, seed: int = 1, **options: Any) -> Mamba2Block:
    sizes = {"d_model": 6, "d_state": 3, "headdim": 3, "backend": "torch", **options}
    model = Mamba2Block(Mamba2Config(**sizes), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in (model.mixer.D, model.norm.weight):
            parameter += torch.linspace(-0.5, 0.5, parameter.numel())
    return model.to(dtype)


def normal(*shape: int, seed: int = 2, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-6)])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_and_a_continued_pass_equal_one_pass(
    backend: str, variant: str, dtype: torch.dtype, tolerance: float
) -> None:
    model = block(dtype, backend=backend, **VARIANTS[variant])
    x = normal(2, 50, 6, dtype=dtype)
    with torch.no_grad():
        whole, last = model(x)
        state, rows = model.initial_state(2), []
        for t in range(50):
            y, state = model.step(x[:, t], state)
            rows.append(y)
        torch.testing.assert_close(torch.stack(rows, 1), whole, rtol=0, atol=tolerance)
        torch.testing.assert_close(state.ssm, last.ssm, rtol=0, atol=tolerance)
        torch.testing.assert_close(state.conv, last.conv, rtol=0, atol=tolerance)
        # A first piece shorter than the convolution is wide must keep what it has seen.
        for cut in (1, 2, 3, 33):
            first, state = model(x[:, :cut])
            rest, state = model(x[:, cut:], state)
            joined = torch.cat([first, rest], 1)
            torch.testing.assert_close(joined, whole, rtol=0, atol=tolerance)
            torch.testing.assert_close(state.ssm, last.ssm, rtol=0, atol=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_run_through_a_carried_state(backend: str) -> None:
    model, x = block(backend=backend), normal(2, 40, 6).requires_grad_()
    leaves = [x, *model.parameters()]
    weight = normal(2, 40, 6, seed=3)

    def gradients(y: torch.Tensor, state: Mamba2State) -> tuple[torch.Tensor, ...]:
        loss = (y * weight).sum() + state.ssm.square().sum() + state.conv.sum()
        return torch.autograd.grad(loss, leaves)

    expected = gradients(*model(x))
    first, state = model(x[:, :21])
    rest, state = model(x[:, 21:], state)
    for a, b in zip(gradients(torch.cat([first, rest], 1), state), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", ["plain", "biases"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_length_equals_the_sequence_cut_there(backend: str, variant: str) -> None:
    mixer = block(backend=backend, **VARIANTS[variant]).mixer
    x, lengths = normal(5, 40, 6), [0, 1, 2, 33, 40]
    padded, last = mixer(x, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        assert not padded[row, length:].any()
        expected = mixer.initial_state(1)
        if length:
            y, expected = mixer(x[row : row + 1, :length])
            torch.testing.assert_close(padded[row, :length], y[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(last.ssm[row], expected.ssm[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(last.conv[row], expected.conv[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_future_leaves_the_past_bit_equal(backend: str) -> None:
    model, x = block(torch.float32, backend=backend), normal(1, 70, 6, dtype=torch.float32)
    other = torch.cat([x[:, :40], 5.0 * x[:, 40:]], 1)
    before, after = model(x)[0], model(other)[0]
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40:], after[:, 40:])


def test_parameters_have_the_names_and_shapes_of_mamba_ssm() -> None:
    mixer = Mamba2(Mamba2Config(d_model=64, d_state=64, headdim=32, backend="torch"))
    expected = {
        "in_proj.weight": (388, 64),
        "conv1d.weight": (256, 1, 4),
        "conv1d.bias": (256,),
        "dt_bias": (4,),
        "A_log": (4,),
        "D": (4,),
        "norm.weight": (128,),
        "out_proj.weight": (64, 128),
    }
    assert {name: tuple(v.shape) for name, v in mixer.state_dict().items()} == expected
    options = {"bias": True, "conv_bias": False, "D_has_hdim": True, "rmsnorm": False}
    mixer = Mamba2(Mamba2Config(64, headdim=32, ngroups=4, backend="torch", **options))
    shapes = {name: tuple(v.shape) for name, v in mixer.state_dict().items()}
    assert shapes["in_proj.weight"] == (2 * 128 + 2 * 4 * 128 + 4, 64)
    assert shapes["in_proj.bias"] == (2 * 128 + 2 * 4 * 128 + 4,)
    assert (shapes["out_proj.bias"], shapes["D"]) == ((64,), (128,))
    assert not {"conv1d.bias", "norm.weight"} & set(shapes)


def test_initial_rates_and_step_sizes() -> None:
    config = Mamba2Config(512, headdim=2, A_init_range=(2.0, 8.0), dt_min=0.002, backend="torch")
    mixer = Mamba2(config, torch.Generator().manual_seed(3)).double()
    rates = torch.exp(mixer.A_log.detach())
    assert 2.0 * (1 - 1e-6) <= float(rates.min()) < 2.1
    assert 7.9 < float(rates.max()) <= 8.0 * (1 + 1e-6)
    assert abs(float(rates.mean()) - 5.0) < 4 * 6 / math.sqrt(12 * 512)
    step = softplus(mixer.dt_bias.detach())
    assert 2e-3 * (1 - 1e-4) <= float(step.min()) < float(step.max()) <= 0.1 * (1 + 1e-4)
    # Log-uniform: the mean of the logarithm lies midway, within four standard errors.
    spread = math.log(50.0) / math.sqrt(12 * 512)
    assert abs(float(torch.log(step).mean()) - math.log(math.sqrt(2e-4))) < 4 * spread
    assert bool((mixer.D == 1).all())
    assert (
        0.9 / math.sqrt(512)
        < float(mixer.in_proj.weight.detach().abs().max())
        <= 1 / math.sqrt(512)
    )


def test_step_sizes_have_a_floor() -> None:
    config = Mamba2Config(64, headdim=2, dt_min=1e-6, dt_init_floor=1e-3, backend="torch")
    step = softplus(Mamba2(config, torch.Generator().manual_seed(3)).double().dt_bias.detach())
    assert float(step.min()) == pytest.approx(1e-3, rel=1e-4)


def test_same_generator_same_weights() -> None:
    first, second, other = (block(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["mixer.A_log"], other["mixer.A_log"])


def test_rates_skips_and_steps_stay_out_of_weight_decay() -> None:
    mixer = block(torch.float32).mixer
    marked = {n for n, p in mixer.named_parameters() if getattr(p, "_no_weight_decay", False)}
    assert marked == {"A_log", "D", "dt_bias"}


@pytest.mark.parametrize("before", [True, False])
def test_gated_norm_in_numpy(before: bool) -> None:
    norm = GatedRMSNorm(6, groups=2, norm_before_gate=before).double()
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, 7.0))
    y, z = normal(4, 6), normal(4, 6, seed=3)
    gate = z.numpy() / (1 + np.exp(-z.numpy()))
    parts = (y.numpy() if before else y.numpy() * gate).reshape(4, 2, 3)
    power = np.sqrt((parts**2).mean(2, keepdims=True) + 1e-5)
    expected = (parts / power).reshape(4, 6) * np.arange(1.0, 7.0) * (gate if before else 1.0)
    np.testing.assert_allclose(norm(y, z).detach().numpy(), expected, rtol=1e-12)


def test_skip_weights_by_channel_and_by_head_agree() -> None:
    heads, channels = block(), block(D_has_hdim=True)
    weights = heads.state_dict()
    weights["mixer.D"] = weights["mixer.D"].repeat_interleave(3)
    channels.load_state_dict(weights)
    x = normal(2, 9, 6)
    assert torch.equal(heads(x)[0], channels(x)[0])


def test_without_norm_the_gate_is_all() -> None:
    class Gate(torch.nn.Module):
        def forward(self, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            return y * silu(z)

    normed, gated = block().mixer, block(rmsnorm=False).mixer
    gated.load_state_dict(normed.state_dict(), strict=False)
    normed.norm = Gate()
    x = normal(2, 9, 6)
    torch.testing.assert_close(gated(x)[0], normed(x)[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_keeps_recurrence_and_states_in_float32(backend: str) -> None:
    model = block(torch.float32, backend=backend)
    x = normal(2, 40, 6, dtype=torch.float32)
    exact, exact_state = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = model(x)
        step, after = model.step(x[:, 0], state)
    assert y.dtype == step.dtype == torch.float32  # the residual stream
    for kept in (state, after):
        assert kept.ssm.dtype == kept.conv.dtype == torch.float32
    assert float((y - exact).detach().abs().max()) < 0.05
    assert float((state.ssm - exact_state.ssm).detach().abs().max()) < 0.05
    y.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_in_bfloat16_keep_states_in_float32(backend: str) -> None:
    model = block(torch.float32, backend=backend)
    x = normal(2, 40, 6, dtype=torch.float32)
    exact, _ = model(x)
    y, state = model.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert state.ssm.dtype == state.conv.dtype == model.initial_state(1).ssm.dtype == torch.float32
    assert float((y.float() - exact).detach().abs().max()) < 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_strides_give_the_same_numbers(backend: str) -> None:
    model, x = block(backend=backend), normal(2, 20, 6)
    expected = model(x)[0]
    strided = x.transpose(0, 2).contiguous().transpose(0, 2)
    torch.testing.assert_close(model(strided)[0], expected, rtol=0, atol=1e-13)
    expanded = x[:1, :1].expand(2, 20, 6)
    torch.testing.assert_close(
        model(expanded)[0], model(expanded.contiguous())[0], rtol=0, atol=1e-13
    )


def test_a_state_survives_serialisation() -> None:
    model, x = block(), normal(2, 20, 6)
    with torch.no_grad():
        _, state = model(x)
        file = io.BytesIO()
        torch.save(dataclasses.asdict(state), file)
        file.seek(0)
        again = Mamba2State(**torch.load(file, weights_only=True))
        assert torch.equal(model(x, state)[0], copy.deepcopy(model)(x, again)[0])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (normal(2, 0, 6), r"^x has a shape .* \(b, t, m\) with m = 6"),
        (normal(2, 5, 7), r"^x has a shape"),
        (normal(2, 6), r"^x has a shape"),
        (normal(2, 5, 6).float(), r"^x has another type than the weights"),
        (normal(2, 5, 6) / 0, r"^x holds 60 values that are not finite"),
    ],
)
def test_bad_sequences_are_refused(x: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        block().mixer(x)


def test_bad_steps_and_states_are_refused() -> None:
    mixer, x = block().mixer, normal(2, 5, 6)
    state = mixer.initial_state(2)
    with pytest.raises(InputError, match=r"^x has a shape .* \(b, m\)"):
        mixer.step(x, state)
    with pytest.raises(InputError, match="state"):
        mixer(x, mixer.initial_state(3))
    with pytest.raises(InputError, match="state"):
        mixer(x, block(d_state=4).mixer.initial_state(2))
    with pytest.raises(InputError, match="state of another"):
        mixer(x, dataclasses.replace(state, ssm=state.ssm[:, :2]))
    with pytest.raises(InputError, match="state holds 72 values"):
        mixer(x, dataclasses.replace(state, ssm=state.ssm / 0))
    with pytest.raises(InputError, match="state of another"):
        mixer.step(x[:, 0], dataclasses.replace(state, ssm=state.ssm.float()))
    with pytest.raises(InputError, match="lengths must"):
        mixer(x, lengths=torch.tensor([1, 6]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_model": 0}, "positive"),
        ({"chunk_size": 0}, "positive"),
        ({"headdim": 5}, "do not divide"),
        ({"ngroups": 3}, "do not divide"),
        ({"A_init_range": (0.0, 1.0)}, "ranges"),
        ({"A_init_range": (2.0, 1.0)}, "ranges"),
        ({"dt_min": 0.2}, "ranges"),
        ({"dt_limit": (-1.0, 1.0)}, "dt_limit"),
    ],
)
def test_impossible_configurations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        block(**options)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="native"):
        Mamba2Config(d_model=64, backend="native")
