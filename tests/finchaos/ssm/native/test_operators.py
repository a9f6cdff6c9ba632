"""The compiled kernels as operators of torch: schemas, gradients, and graphs that hold them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from finchaos.ssm import Mamba2Block, MambaBlock
from tests.finchaos.ssm.native.layers import Kind, Layer, layer_of

SIZES = [(16, 4), (5, 3)]
"""Channels and states: such as fill the vectors of every processor, and such as do not."""
STEPS, LENGTHS = 70, (70, 3)


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_()


def scan_arguments(full: bool, dtype: torch.dtype, D: int = 16, N: int = 4) -> tuple[object, ...]:
    """Everything that the operator takes, or only what it requires."""
    u, delta, z = (numbers(2, STEPS, D, dtype=dtype) for _ in range(3))
    B, C = (numbers(2, STEPS, N, dtype=dtype) for _ in range(2))
    A = (-numbers(D, N, dtype=dtype).detach().exp()).requires_grad_()
    if not full:
        delta = delta.detach().abs().requires_grad_()
        return u, delta, None, B, C, A, None, None, None, None, False, [], True
    skip, bias = numbers(D, dtype=dtype), numbers(D, dtype=dtype)
    before, lengths = numbers(2, D, N, dtype=dtype), torch.tensor(LENGTHS)
    return u, delta, z, B, C, A, skip, bias, before, lengths, True, [3, 20], True


def ssd_arguments(full: bool, dtype: torch.dtype, width: int = 8, N: int = 4) -> tuple[object, ...]:
    """The same for Mamba-2: four heads in two groups."""
    x, z = (numbers(2, STEPS, 4, width, dtype=dtype) for _ in range(2))
    B, C = (numbers(2, STEPS, 2, N, dtype=dtype) for _ in range(2))
    dt, A = numbers(2, STEPS, 4, dtype=dtype), -numbers(4, dtype=dtype).detach().exp()
    A = A.requires_grad_()
    if not full:
        dt, limit = dt.detach().abs().requires_grad_(), (0.0, math.inf)
        return x, dt, None, B, C, A, None, None, None, None, False, *limit, [], True
    skip, bias = numbers(4, width, dtype=dtype), numbers(4, dtype=dtype)
    before, lengths = numbers(2, 4, width, N, dtype=dtype), torch.tensor(LENGTHS)
    return x, dt, z, B, C, A, skip, bias, before, lengths, True, 0.01, 1.0, [3, 20], True


both_scans = pytest.mark.parametrize(
    ("operator", "arguments"),
    [("selective_scan", scan_arguments), ("ssd_scan", ssd_arguments)],
)
every_size = pytest.mark.parametrize("sizes", SIZES)
both_types = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
full_or_not = pytest.mark.parametrize("full", [True, False])


@both_scans
@full_or_not
@both_types
@every_size
def test_a_scan_is_a_sound_operator(
    operator: str,
    arguments: Callable[..., tuple[object, ...]],
    full: bool,
    dtype: torch.dtype,
    sizes: tuple[int, int],
) -> None:
    found = getattr(torch.ops.finchaos, operator).default
    torch.library.opcheck(found, arguments(full, dtype, *sizes))


@full_or_not
@both_types
@every_size
def test_the_convolution_is_a_sound_operator(
    full: bool, dtype: torch.dtype, sizes: tuple[int, int]
) -> None:
    D = sizes[0]
    x, weight = numbers(2, STEPS, D, dtype=dtype), numbers(D, 4, dtype=dtype)
    arguments: tuple[object, ...] = (x, weight, None, None, None, False)
    if full:
        bias, before = numbers(D, dtype=dtype), numbers(2, 3, D, dtype=dtype)
        arguments = x, weight, bias, before, torch.tensor(LENGTHS), True
    torch.library.opcheck(torch.ops.finchaos.causal_conv.default, arguments)


@both_scans
def test_views_and_expanded_tensors_are_sound_inputs(
    operator: str, arguments: Callable[..., tuple[object, ...]]
) -> None:
    x, step, z, B, *rest = arguments(True, torch.float64)
    wide = torch.cat([x, x], -1).detach().requires_grad_()  # type: ignore[list-item]
    one = B.detach()[:, :1].expand_as(B)  # type: ignore[attr-defined]
    torch.library.opcheck(
        getattr(torch.ops.finchaos, operator).default,
        (wide.chunk(2, dim=-1)[1], step, z, one, *rest),
        test_utils=("test_schema", "test_faketensor"),
    )


class _Flat(nn.Module):
    """A block whose state is two tensors: a program of torch.export knows no other classes."""

    def __init__(self, block: Layer) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, state = self.block(x)
        return y, state.conv, state.ssm


def exported(block: Layer, x: Tensor, time: Dim | None = None) -> ExportedProgram:
    shapes = None if time is None else ({1: time},)
    with torch.no_grad():
        return torch.export.export(_Flat(block), (x,), dynamic_shapes=shapes)


every_block = pytest.mark.parametrize(
    ("kind", "scan"), [(MambaBlock, "selective_scan"), (Mamba2Block, "ssd_scan")]
)


@every_block
def test_a_block_over_a_sequence_is_exported_with_the_kernels_in_it(kind: Kind, scan: str) -> None:
    model, x = layer_of(kind, "cpu").float(), numbers(2, STEPS, 6, dtype=torch.float32).detach()
    program = exported(model, x)
    graphs = [part.graph for part in program.graph_module.modules() if hasattr(part, "graph")]
    calls = {str(node.target) for graph in graphs for node in graph.nodes}  # type: ignore[union-attr]
    assert {f"finchaos.{scan}.default", "finchaos.causal_conv.default"} <= calls
    with torch.no_grad():
        y, state = model(x)
        found = program.module()(x)
    for one, other in zip(found, (y, state.conv, state.ssm), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


@every_block
def test_an_exported_block_takes_any_length(kind: Kind, scan: str) -> None:
    model = layer_of(kind, "cpu")
    program = exported(model, numbers(2, STEPS, 6).detach(), Dim("t", min=2, max=1000))
    for steps in (2, 33, 777):
        x = numbers(2, steps, 6).detach()
        with torch.no_grad():
            y, state = model(x)
            found = program.module()(x)
        for one, other in zip(found, (y, state.conv, state.ssm), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@every_block
def test_a_compiled_graph_holds_the_operators_too(kind: Kind, scan: str) -> None:
    """Traced without a break, forwards and backwards; what is traced runs as it is."""
    model, x = layer_of(kind, "cpu"), numbers(2, STEPS, 6)
    compiled = torch.compile(_Flat(model), backend="aot_eager", fullgraph=True)
    (grad,) = torch.autograd.grad(sum(part.sum() for part in compiled(x)), x)
    y, state = model(x)
    (expected,) = torch.autograd.grad(y.sum() + state.conv.sum() + state.ssm.sum(), x)
    torch.testing.assert_close(grad, expected, rtol=0, atol=1e-11)
