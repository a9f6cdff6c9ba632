"""Errors of the float32 backends against the definition in float64, and gradient checks.

The error of a tensor is max |found - expected| / max |expected|, expected being what the backend
``reference`` computes in float64 from the same numbers, both maxima over all batches of a size:
with one step and one sequence every output has the same factor B . C, which may cancel. Outputs,
last states and the gradients of every input are compared; losses are fixed random weightings of
outputs and last state, and the maxima run over them too, because for a single one the gradient of
a rate in common to a head's channels, states, steps and rows may cancel to a thousandth of its
terms: there the definition's own error in float32 is a matter of luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import Cell, Options, Report, Table
from finchaos.ssm.backends import choose_backend
from finchaos.ssm.scan import selective_scan
from finchaos.ssm.ssd import ssd_scan

FLOOR = 1e-30
"""Values below are zero to float32; errors are not relative to less."""
HEAD_WIDTH = 8
LOSSES = 4
REFERENCE = "reference"
OUTPUTS = ("y", "last state")
INPUTS = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state")
_MAMBA2_NAMES = {"u": "x", "delta": "dt", "delta_bias": "dt_bias"}
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a scan apart from the batch.

    Attributes
    ----------
    steps, channels, states : int
    complete : bool
        Whether skip, gate, bias and initial state are given; for Mamba-2 also a B and C per head.
    """

    steps: int
    channels: int
    states: int
    complete: bool


@dataclass(frozen=True)
class Grid:
    """All combinations of sizes."""

    batches: tuple[int, ...] = (1, 3)
    steps: tuple[int, ...] = (1, 2, 3, 31, 32, 33, 77, 512, 2048)
    channels: tuple[int, ...] = (16, 24, 64)
    states: tuple[int, ...] = (4, 16, 64)

    def sizes(self) -> Iterable[Sizes]:
        """One by one, without the batch."""
        axes = (self.steps, self.channels, self.states, (False, True))
        return (Sizes(*point) for point in product(*axes))


@dataclass(frozen=True)
class Extremes:
    """Step sizes and decay rates far from ordinary ones, no softplus."""

    delta: tuple[float, ...] = (1e-6, 1e-3, 1.0, 40.0)
    rate: tuple[float, ...] = (1e-3, 16.0, 200.0)
    sizes: Sizes = Sizes(512, 16, 16, complete=False)
    batch: int = 2


@dataclass(frozen=True)
class Scan:
    """A scan and how to make its inputs."""

    name: str
    call: Callable[..., Any]
    inputs: Callable[[Sizes, int], Tensors]
    softplus: str


def mamba_inputs(sizes: Sizes, batch: int) -> Tensors:
    """Inputs of :func:`finchaos.ssm.scan.selective_scan`, in float32."""
    draw = _Draw(sizes, batch)
    b, t, d, n = batch, sizes.steps, sizes.channels, sizes.states
    found = {
        "u": draw(b, t, d),
        "delta": draw(b, t, d) - 2.0,
        "A": -torch.exp(draw(d, n)),
        "B": draw(b, t, n),
        "C": draw(b, t, n),
    }
    if sizes.complete:
        found |= {"D": draw(d), "z": draw(b, t, d), "delta_bias": draw(d)}
        found |= {"initial_state": draw(b, d, n)}
    return found


def mamba2_inputs(sizes: Sizes, batch: int) -> Tensors:
    """Inputs of :func:`finchaos.ssm.ssd.ssd_scan`, in float32, under the names of Mamba-1."""
    draw = _Draw(sizes, batch)
    b, t, p, n = batch, sizes.steps, HEAD_WIDTH, sizes.states
    h = sizes.channels // p
    g = h if sizes.complete else 1
    found = {
        "u": draw(b, t, h, p),
        "delta": draw(b, t, h) - 2.0,
        "A": -torch.exp(draw(h)),
        "B": draw(b, t, g, n),
        "C": draw(b, t, g, n),
    }
    if sizes.complete:
        found |= {"D": draw(h), "z": draw(b, t, h, p), "delta_bias": draw(h)}
        found |= {"initial_state": draw(b, h, p, n)}
    return found


def _mamba2(**inputs: Any) -> Any:
    return ssd_scan(**{_MAMBA2_NAMES.get(name, name): value for name, value in inputs.items()})


SCANS = (
    Scan("Mamba-1", selective_scan, mamba_inputs, "delta_softplus"),
    Scan("Mamba-2", _mamba2, mamba2_inputs, "dt_softplus"),
)


def results(
    scan: Scan, inputs: Tensors, backend: str, dtype: torch.dtype, softplus: bool
) -> Tensors:
    """Outputs, and gradients of every loss, by name, computed in ``dtype``."""
    leaves = {name: value.to(dtype).requires_grad_() for name, value in inputs.items()}
    out = scan.call(**leaves, **{scan.softplus: softplus}, backend=backend)
    y, last = out[0], out[1]
    weigh = torch.Generator().manual_seed(1)
    losses = [
        sum(
            (torch.randn(tensor.shape, generator=weigh).to(dtype) * tensor).sum()
            for tensor in (y, last)
        )
        for _ in range(LOSSES)
    ]
    gradients = [
        torch.autograd.grad(loss, list(leaves.values()), retain_graph=True) for loss in losses
    ]
    outputs = dict(zip(OUTPUTS, (y.detach(), last.detach()), strict=True))
    return outputs | {
        name: torch.stack(of_losses) for name, *of_losses in zip(leaves, *gradients, strict=True)
    }


@dataclass(frozen=True)
class Deviation:
    """How far a tensor is off: largest difference, and largest expected value."""

    difference: float
    largest: float

    def __or__(self, other: Deviation) -> Deviation:
        """Of two tensors taken together."""
        difference = max(self.difference, other.difference)
        return Deviation(difference, max(self.largest, other.largest))

    @property
    def error(self) -> float:
        """Relative."""
        return self.difference / max(self.largest, FLOOR)


Deviations = dict[str, Deviation]


def deviations(
    scan: Scan, inputs: Tensors, backends: tuple[str, ...], *, softplus: bool = True
) -> dict[str, Deviations]:
    """By backend and tensor."""
    expected = results(scan, inputs, REFERENCE, torch.float64, softplus)
    return {
        backend: {
            name: _deviation(tensor, expected[name])
            for name, tensor in results(scan, inputs, backend, torch.float32, softplus).items()
        }
        for backend in backends
    }


def worst_by_steps(
    scan: Scan, grid: Grid, backends: tuple[str, ...]
) -> dict[tuple[str, int], dict[str, float]]:
    """Largest error of every tensor over the other axes of the grid, by backend and length."""
    found: dict[tuple[str, Sizes], Deviations] = {}
    for batch, sizes in product(grid.batches, grid.sizes()):
        inputs = scan.inputs(sizes, batch)
        for backend, tensors in deviations(scan, inputs, backends).items():
            seen = found.setdefault((backend, sizes), {})
            seen.update({name: value | seen.get(name, value) for name, value in tensors.items()})
    worst: dict[tuple[str, int], dict[str, float]] = {}
    for (backend, sizes), tensors in found.items():
        row = worst.setdefault((backend, sizes.steps), {})
        row.update({name: max(v.error, row.get(name, 0.0)) for name, v in tensors.items()})
    return worst


def worst(scan: Scan, grid: Grid, backends: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """By backend: largest error of outputs and last states, and of gradients."""
    found: dict[str, tuple[float, float]] = {}
    for (backend, _), row in worst_by_steps(scan, grid, backends).items():
        outputs, gradients = found.get(backend, (0.0, 0.0))
        found[backend] = (
            max(outputs, *(row[name] for name in OUTPUTS)),
            max(gradients, *(value for name, value in row.items() if name in INPUTS)),
        )
    return found


def compared_backends(options: Options) -> tuple[str, ...]:
    """Ours as asked for, the one without a compiler, and the definition itself in float32."""
    return tuple(dict.fromkeys((choose_backend(options.backend).name, "torch", REFERENCE)))


def run(options: Options, grid: Grid = Grid(), extremes: Extremes = Extremes()) -> Report:
    """Tables of errors, of extreme values and of gradient checks."""
    backends = compared_backends(options)
    tables = [_grid_table(scan, grid, backends) for scan in SCANS]
    tables += [_extremes_table(extremes, backends), _gradient_table(backends)]
    return Report("accuracy", tuple(tables))


def _grid_table(scan: Scan, grid: Grid, backends: tuple[str, ...]) -> Table:
    found = worst_by_steps(scan, grid, backends)
    rows = [
        (backend, steps, *(cells.get(name) for name in OUTPUTS + INPUTS))
        for (backend, steps), cells in sorted(found.items())
    ]
    notes = (
        f"Worst of batch {grid.batches}, channels {grid.channels}, states {grid.states}, with and "
        "without skip, gate, bias and initial state; float32 against the reference in float64, "
        "relative to the largest value.",
        "From the column u on: gradients. The backend reference is the definition itself in "
        "float32: errors near its own lie in the numbers, not in the algorithm.",
    )
    columns = ("backend", "L", *OUTPUTS, *INPUTS)
    return Table(f"Accuracy of the {scan.name} scan", columns, tuple(rows), notes)


def _extremes_table(extremes: Extremes, backends: tuple[str, ...]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for delta, rate in product(extremes.delta, extremes.rate):
        inputs = mamba_inputs(extremes.sizes, extremes.batch)
        inputs |= {"delta": torch.full_like(inputs["delta"], delta)}
        inputs |= {"A": torch.full_like(inputs["A"], -rate)}
        for backend, found in deviations(SCANS[0], inputs, backends, softplus=False).items():
            outputs = max(found[name].error for name in OUTPUTS)
            gradients = max(value.error for name, value in found.items() if name in INPUTS)
            rows.append((delta, rate, backend, outputs, gradients))
    columns = ("delta", "|A|", "backend", "outputs", "gradients")
    notes = ("An error of inf would mean a value that is not finite.",)
    return Table("Extreme step sizes and rates, Mamba-1", columns, tuple(rows), notes)


def _gradient_table(backends: tuple[str, ...]) -> Table:
    rows = [
        (scan.name, backend, _gradient_check(scan, backend))
        for scan, backend in product(SCANS, backends)
    ]
    notes = ("torch.autograd.gradcheck of all inputs in float64, default tolerances.",)
    return Table(
        "Gradients against finite differences", ("scan", "backend", "result"), tuple(rows), notes
    )


def _deviation(found: Tensor, expected: Tensor) -> Deviation:
    difference = (found.double() - expected).abs()
    finite = bool(found.isfinite().all())
    return Deviation(float(difference.max()) if finite else math.inf, float(expected.abs().max()))


def _gradient_check(scan: Scan, backend: str) -> str:
    inputs: Mapping[str, Tensor] = scan.inputs(Sizes(5, 2 * HEAD_WIDTH, 3, complete=True), 2)
    leaves = [value.double().requires_grad_() for value in inputs.values()]

    def call(*values: Tensor) -> tuple[Tensor, Tensor]:
        named = dict(zip(inputs, values, strict=True))
        out = scan.call(**named, **{scan.softplus: True}, backend=backend)
        return out[0], out[1]

    passed = torch.autograd.gradcheck(call, leaves, raise_exception=False)
    return "passed" if passed else "FAILED"


class _Draw:
    """Random float32 tensors, the same for the same sizes."""

    def __init__(self, sizes: Sizes, batch: int) -> None:
        seed = sizes.steps + 10_000 * sizes.states + 1_000_000 * batch
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator)
