"""How much the kernels round in float32: not more than the definition in that type does."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import softplus

from finchaos.ssm import selective_scan, ssd_scan
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.layers import BLOCKS, Kind, Layer, layer_of
from tests.finchaos.ssm.native.tensors import (
    LANES,
    Tensors,
    leaves,
    loss_of,
    normal,
    ssd,
    ssd_tensors,
    with_gradients,
)

STEPS, WIDTH = 512, 64
NARROW = torch.float32


def stack(kind: Kind, backend: str, dtype: torch.dtype) -> list[Layer]:
    made = [layer_of(kind, backend, d_model=WIDTH, d_state=16).to(dtype) for _ in range(4)]
    for i, layer in enumerate(made):
        for weight in layer.parameters():
            if weight.dim() == 2:
                g, bound = torch.Generator().manual_seed(i), weight.shape[1] ** -0.5
                torch.nn.init.uniform_(weight, -bound, bound, generator=g)
    return made


def through(layers: list[Layer], x: torch.Tensor) -> tuple[Tensors, Tensors]:
    """Outputs of the layers one after another, gradients in the input and all weights."""
    x = x.clone().requires_grad_()
    y = x
    for layer in layers:
        y, _ = layer(y)
    loss_of({"y": y}).backward()
    gradients = {
        f"{i} {name}": v.grad
        for i, layer in enumerate(layers)
        for name, v in layer.named_parameters()
    }
    return {"y": y.detach()}, gradients | {"x": x.grad}


def deviation(found: Tensors, expected: Tensors) -> float:
    """Root mean square of the tensors' errors, each in units of the tensor."""
    errors = [
        float((found[name].double() - v).square().sum() / v.square().sum())
        for name, v in expected.items()
    ]
    return (sum(errors) / len(errors)) ** 0.5


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_stack_rounds_no_more_than_the_definition(kind: Kind) -> None:
    # A residual far larger than what is added to it: no sum may begin from there.
    x = 30.0 * normal(torch.Generator().manual_seed(9), 1, STEPS, WIDTH)
    exact = through(stack(kind, "reference", torch.float64), x)
    plain = through(stack(kind, "reference", NARROW), x.to(NARROW))
    for lanes in LANES:
        with use_lanes(lanes):
            found = through(stack(kind, "cpu", NARROW), x.to(NARROW))
        for which, times in ((0, 1.5), (1, 1.25)):
            limit = times * deviation(plain[which], exact[which])
            assert deviation(found[which], exact[which]) <= limit


@pytest.mark.parametrize("lanes", LANES)
def test_softplus_keeps_its_small_digits(lanes: int) -> None:
    """From no state and with B = C = 1 the output of a single step is the step size itself."""
    x = torch.linspace(-20.0, 20.0, 8001)
    n = len(x)
    one, rates = torch.ones(1, 1, 1), -torch.ones(n)
    with use_lanes(lanes):
        by_channel = selective_scan(
            torch.ones(1, 1, n), x[None, None], rates[:, None], one, one,
            delta_softplus=True, backend="cpu",
        )  # fmt: skip
        by_head = ssd_scan(
            torch.ones(1, 1, n, 1), x[None, None], rates, one[None], one[None],
            dt_softplus=True, backend="cpu",
        )  # fmt: skip
    expected = softplus(x.double(), threshold=50)
    for y in (by_channel.y, by_head.y):
        error = (y.flatten().double() - expected) / expected
        assert float(error.abs().max()) <= 4e-7


@pytest.mark.parametrize("lanes", LANES)
def test_the_gradient_of_the_rates_is_exact_over_many_rows(lanes: int) -> None:
    """A head's is a sum over rows, steps, channels and states in which most terms cancel."""
    tensors = ssd_tensors(20, 512, 8, 16, 2, 16)
    exact = leaves(tensors, torch.float64)
    expected = with_gradients(ssd, exact, backend="reference")[1]["grad of A"]
    with use_lanes(lanes):
        found = with_gradients(ssd, leaves(tensors, NARROW))[1]["grad of A"]
    error = (found.double() - expected).abs().max() / expected.abs().max()
    assert float(error) <= 4e-7
