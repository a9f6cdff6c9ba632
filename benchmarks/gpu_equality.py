"""The backend ``cuda`` against the definition in float64, from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.accuracy import FLOOR
from benchmarks.machine import installed
from benchmarks.peers import Shape, common_weights, ours
from benchmarks.report import Cell, Options, Report, Table
from finchaos.ssm import causal_conv, cuda, selective_scan, ssd_scan

TOLERANCES = {
    torch.float32: (1e-5, 5e-5),
    torch.bfloat16: (2e-2, 4e-2),
    torch.float16: (3e-3, 8e-3),
}
"""Of outputs and gradients, relative to the largest value; a few roundings for the halves."""
PACKAGES = ("mamba-ssm", "causal-conv1d", "triton")
MOVING = ("u", "delta", "x", "dt", "B", "C", "z")
Tensors = dict[str, Tensor]
Outcome = tuple[Tensors, Tensors]


@dataclass(frozen=True)
class Grid:
    """Sizes at which equality is checked.

    Attributes
    ----------
    batch, channels, headdim, states : int
    steps : tuple of int
    """

    batch: int = 2
    channels: int = 64
    headdim: int = 32
    states: int = 16
    steps: tuple[int, ...] = (77, 500)


def run(options: Options) -> Report:
    """The table; without a GPU one that says so."""
    absence = cuda.absence()
    if absence is not None:
        return not_measured("gpu_equality", absence)
    return Report("gpu_equality", (equality(Grid(), "cuda"),))


def not_measured(name: str, absence: str) -> Report:
    """A report without a figure."""
    table = Table("On a GPU", ("result",), (("no GPU here: not measured",),), (absence,))
    return Report(name, (table,))


def software() -> str:
    """The GPU and what runs on it."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    found = ", ".join(f"{name} {installed(name)}" for name in PACKAGES)
    return f"GPU: {gpu}; torch for CUDA {torch.version.cuda}; {found}."


def equality(grid: Grid, device: str) -> Table:
    """One row for every piece of work and dtype; over all lengths."""
    rows = [_row(name, dtype, grid, device) for name in DOORS for dtype in TOLERANCES]
    rows += [_layer_row(family, half, grid, device) for family in LAYERS for half in (False, True)]
    columns = (*("work", "dtype", "outputs", "may be", "gradients", "worst", "may be", "equal"),)
    notes = (
        "Largest deviation from the backend reference in float64, relative to the largest value of "
        f"the tensor; sequences of {', '.join(map(str, grid.steps))} steps.",
        "complete: initial state, lengths, and a state kept in between; the loss weighs them too.",
        software(),
    )
    return Table("Equality with the definition", columns, tuple(rows), notes)


def _row(name: str, dtype: torch.dtype, grid: Grid, device: str) -> tuple[Cell, ...]:
    door, make, complete = DOORS[name]
    pairs = []
    for steps in grid.steps:
        tensors = {
            k: v.to(dtype) if k in MOVING else v for k, v in make(_Draw(steps), grid, steps).items()
        }
        options: dict[str, Any] = {}
        if complete:
            options["lengths"] = torch.tensor([steps, *[max(1, steps - 2)] * (grid.batch - 1)])
        else:
            tensors.pop("initial_state")
        if complete and door is not causal_conv:
            options["keep"] = [steps // 2]
        if door is not causal_conv:
            options["dt_softplus" if "dt" in tensors else "delta_softplus"] = True
        found = _outcome(door, tensors, device, "cuda", **options)
        wide = {k: v.double() for k, v in tensors.items()}
        pairs.append((found, _outcome(door, wide, "cpu", "reference", **options)))
    return name, _short(dtype), *_verdict(pairs, TOLERANCES[dtype])


def _layer_row(family: str, half: bool, grid: Grid, device: str) -> tuple[Cell, ...]:
    shape = Shape(family, grid.channels // 2, grid.states, 1, grid.headdim)
    weights, pairs = common_weights(shape), []
    for steps in grid.steps:
        x = _Draw(steps)(grid.batch, steps, shape.d_model)
        context = torch.autocast(device, torch.bfloat16) if half else nullcontext()
        with context:
            found = _layer_outcome(ours(shape, weights, "cuda").to(device), x.to(device))
        network = ours(shape, weights, "reference").double()
        pairs.append((found, _layer_outcome(network, x.double())))
    tolerances = TOLERANCES[torch.bfloat16 if half else torch.float32]
    return LAYERS[family], "bfloat16 autocast" if half else "float32", *_verdict(pairs, tolerances)


def _verdict(
    pairs: list[tuple[Outcome, Outcome]], tolerances: tuple[float, float]
) -> tuple[Cell, ...]:
    outputs, gradients = (_deviations([(f[i], e[i]) for f, e in pairs]) for i in range(2))
    name = max(gradients, key=lambda k: gradients[k])
    output, gradient = max(outputs.values()), gradients[name]
    equal = output <= tolerances[0] and gradient <= tolerances[1]
    return output, tolerances[0], gradient, name, tolerances[1], "yes" if equal else "NO"


def _deviations(pairs: list[tuple[Tensors, Tensors]]) -> dict[str, float]:
    """By tensor: the largest difference over the largest value, both over all lengths.

    With one step a gradient may be the difference of equal numbers.
    """
    found = {}
    for name in pairs[0][1]:
        wide = [(mine[name].double().cpu(), theirs[name].double()) for mine, theirs in pairs]
        largest = max(float(theirs.abs().max()) for _, theirs in wide)
        difference = max(float((mine - theirs).abs().max()) for mine, theirs in wide)
        # A NaN compares as smaller than anything.
        finite = all(bool(mine.isfinite().all()) for mine, _ in wide)
        found[name] = difference / max(largest, FLOOR) if finite else math.inf
    return found


def _outcome(
    door: Callable[..., Any], tensors: Tensors, device: str, backend: str, **options: Any
) -> Outcome:
    leaves = {name: v.to(device).detach().requires_grad_() for name, v in tensors.items()}
    placed = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in options.items()}
    found = door(**leaves, backend=backend, **placed)
    outputs = {str(i): out for i, out in enumerate(found) if out is not None}
    torch.autograd.backward(_loss(outputs))
    return _split(outputs, leaves)


def _layer_outcome(network: nn.Module, x: Tensor) -> Outcome:
    x = x.detach().requires_grad_()
    outputs = {"y": network(x)}
    torch.autograd.backward(_loss(outputs))
    return _split(outputs, {"x": x, **dict(network.named_parameters())})


def _split(outputs: Tensors, leaves: Tensors) -> Outcome:
    gradients = {k: torch.zeros_like(v) if v.grad is None else v.grad for k, v in leaves.items()}
    return {k: v.detach() for k, v in outputs.items()}, gradients


def _loss(outputs: Tensors) -> Tensor:
    """Every number of every output, each with a weight of its own."""
    terms = []
    for out in outputs.values():
        weights = torch.linspace(-1.0, 2.0, out.numel(), dtype=torch.float64, device=out.device)
        terms.append((out.double() * weights.view(out.shape)).sum() / out.numel())
    return torch.stack(terms).sum()


class _Draw:
    """Normal numbers that float32 holds, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator)


def _mamba(draw: _Draw, grid: Grid, steps: int) -> Tensors:
    b, d, n = grid.batch, grid.channels, grid.states
    return {
        "u": draw(b, steps, d),
        "delta": draw(b, steps, d) - 2.0,
        "A": -torch.exp(draw(d, n)),
        "B": draw(b, steps, n),
        "C": draw(b, steps, n),
        "D": draw(d),
        "z": draw(b, steps, d),
        "delta_bias": draw(d),
        "initial_state": draw(b, d, n),
    }


def _mamba2(draw: _Draw, grid: Grid, steps: int) -> Tensors:
    b, p, n = grid.batch, grid.headdim, grid.states
    h = grid.channels // p
    return {
        "x": draw(b, steps, h, p),
        "dt": draw(b, steps, h) - 2.0,
        "A": -torch.exp(draw(h)),
        "B": draw(b, steps, 1, n),
        "C": draw(b, steps, 1, n),
        "D": draw(h),
        "z": draw(b, steps, h, p),
        "dt_bias": draw(h),
        "initial_state": draw(b, h, p, n),
    }


def _conv(draw: _Draw, grid: Grid, steps: int) -> Tensors:
    d = grid.channels
    return {
        "x": draw(grid.batch, steps, d),
        "weight": draw(d, 4),
        "bias": draw(d),
        "initial_state": draw(grid.batch, 3, d),
    }


DOORS: dict[str, tuple[Callable[..., Any], Callable[[_Draw, Grid, int], Tensors], bool]] = {
    "selective_scan": (selective_scan, _mamba, False),
    "selective_scan, complete": (selective_scan, _mamba, True),
    "ssd_scan": (ssd_scan, _mamba2, False),
    "ssd_scan, complete": (ssd_scan, _mamba2, True),
    "causal_conv": (causal_conv, _conv, False),
    "causal_conv, complete": (causal_conv, _conv, True),
}
LAYERS = {"mamba": "Mamba block", "mamba2": "Mamba-2 block"}


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
