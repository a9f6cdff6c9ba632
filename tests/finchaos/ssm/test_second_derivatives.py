"""Only the reference has second derivatives; the others refuse them and never give zeros for them.

A loss that is a plain sum is the case to look at: what flows back into the layer then needs no
gradient itself, and PyTorch would take the second derivative for zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from finchaos.core.errors import InputError
from finchaos.ssm import (
    S4D,
    Mamba2Block,
    Mamba2Config,
    MambaBlock,
    MambaConfig,
    S4DConfig,
    causal_conv,
    selective_scan,
    ssd_scan,
)

FAST = ["torch", "cpu"]
Call = Callable[[Tensor], Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def scan(u: Tensor, backend: str) -> Tensor:
    b, t, d = u.shape
    delta, B, C = normal(b, t, d, seed=1).abs(), normal(b, t, 3, seed=2), normal(b, t, 3, seed=3)
    return selective_scan(u, delta, -normal(d, 3).exp(), B, C, z=u, backend=backend).y


def ssd(x: Tensor, backend: str) -> Tensor:
    b, t, h = x.shape
    heads, dt = x.unsqueeze(-1), normal(b, t, h, seed=1).abs()
    B, C = normal(b, t, 1, 3, seed=2), normal(b, t, 1, 3, seed=3)
    return ssd_scan(heads, dt, -normal(h).exp(), B, C, z=heads, backend=backend).y


def conv(x: Tensor, backend: str) -> Tensor:
    return causal_conv(x, normal(5, 4), None, activation="silu", backend=backend)[0]


def mamba(x: Tensor, backend: str) -> Tensor:
    config = MambaConfig(5, 3, backend=backend)
    return MambaBlock(config, torch.Generator().manual_seed(1)).double()(x)[0]


def mamba2(x: Tensor, backend: str) -> Tensor:
    config = Mamba2Config(5, 3, headdim=2, backend=backend)
    return Mamba2Block(config, torch.Generator().manual_seed(1)).double()(x)[0]


def s4d(x: Tensor, backend: str = "auto", form: str = "fft") -> Tensor:
    config = S4DConfig(5, 4, backend=backend, form=form)
    return S4D(config, torch.Generator().manual_seed(1)).double()(x)[0]


CALLS: dict[str, Call] = {
    f"{call.__name__} {backend}": partial(call, backend=backend)
    for call in (scan, ssd, mamba, mamba2)
    for backend in FAST
}
CALLS |= {"conv cpu": partial(conv, backend="cpu"), "s4d fft": partial(s4d, form="fft")}


def gradient(call: Call, x: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    (found,) = torch.autograd.grad(weigh(call(x)), x, create_graph=True)
    return found


@pytest.mark.parametrize("weigh", [torch.sum, lambda y: y.square().sum()], ids=["sum", "squares"])
@pytest.mark.parametrize("name", CALLS)
def test_a_second_derivative_is_refused(name: str, weigh: Callable[[Tensor], Tensor]) -> None:
    x = normal(2, 9, 5).requires_grad_()
    penalty = gradient(CALLS[name], x, weigh).square().sum()
    with pytest.raises(InputError, match=r'a second time.*backend="reference"'):
        penalty.backward()


@pytest.mark.parametrize("name", CALLS)
def test_a_gradient_with_a_graph_is_the_gradient(name: str) -> None:
    x = normal(2, 9, 5).requires_grad_()
    with_graph = gradient(CALLS[name], x, torch.sum)
    (without,) = torch.autograd.grad(CALLS[name](x).sum(), x)
    torch.testing.assert_close(with_graph, without)


@pytest.mark.parametrize("call", [scan, ssd, conv, mamba, mamba2, s4d])
def test_the_reference_has_second_derivatives(call: Callable[..., Tensor]) -> None:
    x = normal(1, 4, 5).requires_grad_()
    assert torch.autograd.gradgradcheck(partial(call, backend="reference"), (x,))


def test_the_chunked_form_of_s4d_has_them_too() -> None:
    x = normal(1, 9, 5).requires_grad_()
    assert torch.autograd.gradgradcheck(partial(s4d, form="chunked"), (x,))


@pytest.mark.parametrize("name", CALLS)
def test_recomputed_activations_give_the_same_gradient(name: str) -> None:
    x = normal(2, 9, 5).requires_grad_()
    (plain,) = torch.autograd.grad(CALLS[name](x).square().sum(), x)
    again: Tensor = checkpoint(CALLS[name], x, use_reentrant=False)
    (found,) = torch.autograd.grad(again.square().sum(), x)
    torch.testing.assert_close(found, plain)
