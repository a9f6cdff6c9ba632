"""Tensors for the tests of the compiled kernels, losses that weigh everything, and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from finchaos.ssm import causal_conv, native, selective_scan
from finchaos.ssm.native.build import WIDTHS

Tensors = dict[str, torch.Tensor]
LANES = [lanes for lanes in WIDTHS if lanes <= native.widest()]
MOVING = ("u", "delta", "z", "B", "C")
TOLERANCE = {torch.float64: (1e-12, 1e-12), torch.float32: (2e-6, 1e-5)}
"""Of outputs and of gradients, relative to the largest number of the tensor."""


def normal(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Numbers that float32 holds exactly, so that both precisions see the same ones."""
    return torch.randn(*shape, generator=generator).double()


def scan_tensors(
    batch: int,
    time: int,
    d: int,
    n: int,
    *,
    seed: int = 0,
    without: tuple[str, ...] = (),
    positive: bool = False,
) -> Tensors:
    """Arguments of the scan; ``positive`` for step sizes that need no softplus."""
    g = torch.Generator().manual_seed(seed)
    delta, bias = normal(g, batch, time, d) - 2.0, normal(g, d)
    tensors = {
        "u": normal(g, batch, time, d),
        "delta": 0.1 * delta.abs() if positive else delta,
        "A": -torch.exp(normal(g, d, n)),
        "B": normal(g, batch, time, n),
        "C": normal(g, batch, time, n),
        "D": normal(g, d),
        "z": normal(g, batch, time, d),
        "delta_bias": 0.1 * bias.abs() if positive else bias,
        "initial_state": normal(g, batch, d, n),
    }
    return {name: v.float().double() for name, v in tensors.items() if name not in without}


def conv_tensors(
    batch: int, time: int, d: int, width: int, *, seed: int = 0, without: tuple[str, ...] = ()
) -> Tensors:
    g = torch.Generator().manual_seed(seed)
    shapes = {
        "x": (batch, time, d),
        "weight": (d, width),
        "bias": (d,),
        "initial_state": (batch, width - 1, d),
    }
    tensors = {name: normal(g, *shape) for name, shape in shapes.items()}
    return {name: v for name, v in tensors.items() if name not in without}


def leaves(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Tensors:
    """Fresh copies that ask for gradients."""
    return {name: v.detach().to(dtype).clone().requires_grad_() for name, v in tensors.items()}


def scan(tensors: Tensors, backend: str = "cpu", **options: Any) -> Tensors:
    options = {"delta_softplus": True, **options}
    out = selective_scan(**tensors, **options, backend=backend)
    named = {"y": out.y, "last_state": out.last_state, "states": out.states}
    return {name: v for name, v in named.items() if v is not None}


def conv(tensors: Tensors, backend: str = "cpu", **options: Any) -> Tensors:
    y, last = causal_conv(**tensors, **{"activation": "silu", **options}, backend=backend)
    return {"y": y, "last_state": last}


def loss_of(outputs: Tensors) -> torch.Tensor:
    """A sum in which every number of every output counts differently."""
    weights = (
        torch.randn(v.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
        for i, v in enumerate(outputs.values())
    )
    return torch.stack(
        [(v * w.to(v.dtype)).sum() for v, w in zip(outputs.values(), weights, strict=True)]
    ).sum()


def with_gradients(run: Any, tensors: Tensors, **options: Any) -> tuple[Tensors, Tensors]:
    """Outputs of ``run(tensors)`` and the gradients of the loss."""
    outputs = run(tensors, **options)
    loss_of(outputs).backward()
    gradients = {f"grad of {name}": v.grad for name, v in tensors.items() if v.requires_grad}
    assert all(v is not None for v in gradients.values())
    return {name: v.detach() for name, v in outputs.items()}, gradients


def assert_near(found: Tensors, expected: Tensors, tolerance: float) -> None:
    """Differences at most ``tolerance`` of the largest number of a tensor, or of 1e-20."""
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        want = expected[name].double()
        assert tensor.shape == want.shape, name
        if want.numel():
            error = float((tensor.double() - want).abs().max())
            limit = tolerance * max(float(want.abs().max()), 1e-20)
            assert error <= limit, f"{name}: {error} > {limit}"


def assert_same_bits(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
