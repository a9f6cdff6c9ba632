"""Tensors for the tests of the compiled kernels, losses that weigh everything, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from finchaos.ssm import causal_conv, native, selective_scan, ssd_scan
from finchaos.ssm.native.build import WIDTHS
from tests.finchaos.ssm.ssd_tensors import make

Tensors = dict[str, torch.Tensor]
Run = Callable[..., Tensors]
LANES = [lanes for lanes in WIDTHS if lanes <= native.widest()]
MOVING = ("u", "delta", "x", "dt", "z", "B", "C")
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


def ssd_tensors(
    batch: int,
    time: int,
    heads: int,
    width: int,
    groups: int,
    states: int,
    *,
    seed: int = 0,
    without: tuple[str, ...] = (),
    positive: bool = False,
    by_channel: bool = False,
) -> Tensors:
    """Arguments of the scan of Mamba-2; ``by_channel`` for a skip weight a channel."""
    skip = (heads, width) if by_channel else (heads,)
    tensors = make(batch, time, heads, width, groups, states, seed=seed, skip=skip)
    if positive:
        for name in ("dt", "dt_bias"):
            tensors[name] = 0.1 * tensors[name].abs()
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


def scan(
    tensors: Tensors, backend: str = "cpu", *, softplus: bool = True, **options: Any
) -> Tensors:
    out = selective_scan(**tensors, delta_softplus=softplus, **options, backend=backend)
    return {name: v for name, v in out._asdict().items() if v is not None}


def ssd(
    tensors: Tensors, backend: str = "cpu", *, softplus: bool = True, **options: Any
) -> Tensors:
    out = ssd_scan(**tensors, dt_softplus=softplus, **options, backend=backend)
    return {name: v for name, v in out._asdict().items() if v is not None}


def conv(tensors: Tensors, backend: str = "cpu", **options: Any) -> Tensors:
    y, last = causal_conv(**tensors, **{"activation": "silu", **options}, backend=backend)
    return {"y": y, "last_state": last}


class Kernel(NamedTuple):
    """A door of the compiled kernels, and small tensors for it by batch and time.

    ``step`` and ``bias`` are the names of the step size and its bias, ``x`` that of the input.
    """

    run: Run
    make: Callable[..., Tensors]
    x: str = "x"
    step: str = "dt"
    bias: str = "dt_bias"


def _small_scan(batch: int, time: int, **options: Any) -> Tensors:
    return scan_tensors(batch, time, 5, 3, **options)


def _small_ssd(batch: int, time: int, **options: Any) -> Tensors:
    return ssd_tensors(batch, time, 4, 3, 2, 5, **options)


def _small_conv(batch: int, time: int, **options: Any) -> Tensors:
    return conv_tensors(batch, time, 5, 4, **options)


SCANS = {
    "scan": Kernel(scan, _small_scan, "u", "delta", "delta_bias"),
    "ssd": Kernel(ssd, _small_ssd),
}
KERNELS = {**SCANS, "conv": Kernel(conv, _small_conv)}


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


def assert_finite(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        assert bool(torch.isfinite(tensor).all()), name


def assert_near(
    found: Tensors,
    expected: Tensors,
    tolerance: float,
    plain: Callable[[], Tensors] | None = None,
) -> None:
    """Differences at most ``tolerance`` of the largest number of a tensor.

    A gradient may be a sum in which nearly all cancels, over a row or behind a norm that leaves but
    a direction. Sixteen roundings of the largest number of all tensors are allowed too, and four
    times the error of ``plain``: the same, computed in the same type by the definition.
    """
    assert found.keys() == expected.keys()
    largest = max([float(v.abs().max()) for v in expected.values() if v.numel()], default=0.0)
    for name, tensor in found.items():
        want = expected[name].double()
        assert tensor.shape == want.shape, name
        if want.numel():
            error = deviation(tensor, want)
            roundings = 16 * torch.finfo(tensor.dtype).eps * largest
            limit = max(tolerance * float(want.abs().max()), roundings, 1e-26)
            if error > limit and plain is not None:
                limit = 4 * deviation(plain()[name], want)
            assert error <= limit, f"{name}: {error} > {limit}"


def deviation(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach().double() - expected).abs().max())


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
