"""A trace is a forward pass with its insides: same outputs, states of the steps, step sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from finchaos.core.errors import InputError
from finchaos.ssm import Mamba2Block, Mamba2Config, MambaBlock, MambaConfig, available_backends

Block = MambaBlock | Mamba2Block
BACKENDS = [name for name in ("reference", "torch", "cpu") if name in available_backends()]
FAMILIES = ("mamba", "mamba2", "mamba2_bias")


def block(family: str, backend: str, dtype: torch.dtype = torch.float64) -> Block:
    generator = torch.Generator().manual_seed(1)
    if family == "mamba":
        return MambaBlock(MambaConfig(6, 3, backend=backend), generator).to(dtype)
    sizes = {"d_state": 5, "headdim": 4, "ngroups": 3, "dt_limit": (0.005, 0.05)}
    config = Mamba2Config(6, bias=family == "mamba2_bias", backend=backend, **sizes)  # type: ignore[arg-type]
    return Mamba2Block(config, generator).to(dtype)


def sequence(steps: int = 70, dtype: torch.dtype = torch.float64, seed: int = 2) -> Tensor:
    return torch.randn(2, steps, 6, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
def test_a_trace_gives_what_forward_gives(
    family: str, backend: str, dtype: torch.dtype, tolerance: float
) -> None:
    model, x = block(family, backend, dtype), sequence(dtype=dtype)
    lengths = torch.tensor([70, 41])
    _, start = model(sequence(9, dtype, seed=3))
    y, last = model(x, start, lengths)  # type: ignore[arg-type]
    trace = model.trace(x, keep=[0, 13, 69], state=start, lengths=lengths)  # type: ignore[arg-type]
    for row, length in enumerate(lengths.tolist()):
        piece = slice(None, length)
        torch.testing.assert_close(trace.y[row, piece], y[row, piece], rtol=0, atol=tolerance)
    assert bool((trace.y[1, 41:] == 0).all())
    torch.testing.assert_close(trace.state.conv, last.conv, rtol=0, atol=tolerance)
    torch.testing.assert_close(trace.state.ssm, last.ssm, rtol=0, atol=tolerance)
    assert trace.steps == (0, 13, 69)
    assert trace.states.shape == (2, 3, *last.ssm.shape[1:])
    # After the last step of each row, padded or not, the kept state is the last one.
    torch.testing.assert_close(trace.at(69), last.ssm, rtol=0, atol=tolerance)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_states_are_those_of_a_cut_sequence(family: str, backend: str) -> None:
    model, x = block(family, backend), sequence()
    whole = model.trace(x)
    assert whole.steps == tuple(range(70))
    for step in (0, 31, 32, 68):
        _, state = model(x[:, : step + 1])
        torch.testing.assert_close(whole.at(step), state.ssm, rtol=1e-12, atol=1e-12)
    assert model.trace(x, keep=()).states.shape[1] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_step_sizes_are_those_that_make_the_states(backend: str) -> None:
    """State after a step = exp(dt A) state before + dt u B, solved for what the input adds."""
    model = block("mamba", backend)
    trace = model.trace(sequence())
    assert (trace.dt > 0).all()
    decay = torch.exp(trace.dt.unsqueeze(-1) * trace.A)
    added = trace.states[:, 1:] - decay[:, 1:] * trace.states[:, :-1]
    # An outer product (d n) of u dt and B: all its two by two minors vanish, but only for the
    # right step sizes.
    minors = added[..., :-1, :1] * added[..., 1:, 1:] - added[..., 1:, :1] * added[..., :-1, 1:]
    assert float(minors.detach().abs().max()) < 1e-12 * float(added.detach().abs().max())


def test_step_sizes_of_mamba_2_by_hand() -> None:
    model, x = block("mamba2", "torch"), sequence()
    trace = model.trace(x, lengths=torch.tensor([70, 41]))
    mixer = model.mixer
    raw = mixer.in_proj(model.norm(x))[..., -mixer.config.nheads :] + mixer.dt_bias
    expected = softplus(raw).clamp(0.005, 0.05)
    expected[1, 41:] = 0.0
    torch.testing.assert_close(trace.dt, expected, rtol=1e-8, atol=0)
    decay = torch.exp(trace.dt * trace.A)
    added = trace.states[:, 1:] - decay[:, 1:, :, None, None] * trace.states[:, :-1]
    torch.testing.assert_close(added[1, 40:], torch.zeros_like(added[1, 40:]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_traces_are_differentiable(family: str, backend: str) -> None:
    model, x = block(family, backend), sequence(37).requires_grad_()
    _, last = model(x[:, :21])
    (expected,) = torch.autograd.grad(last.ssm.square().sum(), x)
    trace = model.trace(x, keep=[20, 36])
    (grad,) = torch.autograd.grad(trace.at(20).square().sum(), x)
    torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-12)
    assert bool((grad[:, 21:] == 0).all())
    (of_dt,) = torch.autograd.grad(model.trace(x).dt.log().sum(), x)
    assert float(of_dt.abs().max()) > 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_future_leaves_a_trace_bit_equal_before_it(family: str, backend: str) -> None:
    model, x = block(family, backend), sequence()
    altered = x.clone()
    altered[:, 45:] += 1.0
    with torch.no_grad():
        one, other = model.trace(x), model.trace(altered)
    for name in ("y", "states", "dt"):
        a, b = getattr(one, name), getattr(other, name)
        assert torch.equal(a[:, :45], b[:, :45]), name
        assert not torch.equal(a[:, 45:], b[:, 45:]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_mixed_precision(family: str) -> None:
    model, x = block(family, "auto", torch.float32), sequence(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = model(x)
        trace = model.trace(x, keep=[5])
    assert torch.equal(trace.y, y)
    assert trace.dt.dtype == trace.states.dtype == torch.float32


def test_what_cannot_be_traced_is_refused() -> None:
    model, x = block("mamba", "torch"), sequence()
    with pytest.raises(InputError, match="increasing step indices"):
        model.trace(x, keep=[5, 5])
    with pytest.raises(InputError, match="x has a shape"):
        model.trace(x[..., :3])
    with pytest.raises(InputError, match="initial_state"):
        model.trace(x, state=model.initial_state(3))
    with pytest.raises(InputError, match=r"after step 6 was not kept; expected one of 2 .* 5 to 9"):
        model.trace(x, keep=[5, 9]).at(6)
