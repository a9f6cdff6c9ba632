"""The compiled kernels as operators of torch: schemas, gradients, and graphs that hold them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from finchaos.ssm import MambaBlock, MambaConfig

# Sizes that fill the vectors of every processor, and lengths that reach every chunk: the state
# kept for the gradient is an output like others here, and has room that is never written or read.
D, N, STEPS, LENGTHS = 16, 4, 40, (40, 33)


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_()


def scan_arguments(full: bool, dtype: torch.dtype) -> tuple[object, ...]:
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


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_scan_is_a_sound_operator(full: bool, dtype: torch.dtype) -> None:
    torch.library.opcheck(torch.ops.finchaos.selective_scan.default, scan_arguments(full, dtype))


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_convolution_is_a_sound_operator(full: bool, dtype: torch.dtype) -> None:
    x, weight = numbers(2, STEPS, D, dtype=dtype), numbers(D, 4, dtype=dtype)
    arguments: tuple[object, ...] = (x, weight, None, None, None, False)
    if full:
        bias, before = numbers(D, dtype=dtype), numbers(2, 3, D, dtype=dtype)
        arguments = x, weight, bias, before, torch.tensor(LENGTHS), True
    torch.library.opcheck(torch.ops.finchaos.causal_conv.default, arguments)


def test_views_and_expanded_tensors_are_sound_inputs() -> None:
    _, delta, z, B, *rest = scan_arguments(True, torch.float64)
    wide = numbers(2, STEPS, 2 * D)
    arguments = (wide.chunk(2, dim=-1)[1], delta, z, B.detach()[:, :1].expand(-1, STEPS, -1), *rest)  # type: ignore[attr-defined]
    torch.library.opcheck(
        torch.ops.finchaos.selective_scan.default,
        arguments,
        test_utils=("test_schema", "test_faketensor"),
    )


class _Flat(nn.Module):
    """A block whose state is two tensors: a program of torch.export knows no other classes."""

    def __init__(self, block: MambaBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, state = self.block(x)
        return y, state.conv, state.ssm


def exported(block: MambaBlock, x: Tensor, time: Dim | None = None) -> ExportedProgram:
    shapes = None if time is None else ({1: time},)
    with torch.no_grad():
        return torch.export.export(_Flat(block), (x,), dynamic_shapes=shapes)


def block() -> MambaBlock:
    return MambaBlock(MambaConfig(6, N, backend="cpu"), torch.Generator().manual_seed(1))


def test_a_block_over_a_sequence_is_exported_with_the_kernels_in_it() -> None:
    model, x = block(), numbers(2, STEPS, 6, dtype=torch.float32).detach()
    program = exported(model, x)
    graphs = [part.graph for part in program.graph_module.modules() if hasattr(part, "graph")]
    calls = {str(node.target) for graph in graphs for node in graph.nodes}  # type: ignore[union-attr]
    assert {"finchaos.selective_scan.default", "finchaos.causal_conv.default"} <= calls
    with torch.no_grad():
        y, state = model(x)
        found = program.module()(x)
    for one, other in zip(found, (y, state.conv, state.ssm), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


def test_an_exported_block_takes_any_length() -> None:
    model = block().double()
    program = exported(model, numbers(2, STEPS, 6).detach(), Dim("t", min=2, max=1000))
    for steps in (2, 33, 777):
        x = numbers(2, steps, 6).detach()
        with torch.no_grad():
            y, state = model(x)
            found = program.module()(x)
        for one, other in zip(found, (y, state.conv, state.ssm), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_a_compiled_graph_holds_the_operators_too() -> None:
    """Traced without a break, forwards and backwards; what is traced runs as it is."""
    model, x = block().double(), numbers(2, STEPS, 6)
    compiled = torch.compile(_Flat(model), backend="aot_eager", fullgraph=True)
    (grad,) = torch.autograd.grad(sum(part.sum() for part in compiled(x)), x)
    y, state = model(x)
    (expected,) = torch.autograd.grad(y.sum() + state.conv.sum() + state.ssm.sum(), x)
    torch.testing.assert_close(grad, expected, rtol=0, atol=1e-11)
