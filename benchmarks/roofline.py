"""How much of what the machine could do our layers reach, the counts written out.

The bound of a part is the larger of its operations over the peak and its bytes over the bandwidth.
Two bounds are given: parts that stand alone, each reading and writing its values in memory, and the
whole layer as one part, of which only inputs and outputs cross the memory. Peak and bandwidth are
measured in the same run: multiply-adds from registers, and a copy far larger than the caches. What
is counted: :mod:`benchmarks.counts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.counts import FLOAT_BYTES, FORMULAS, Part, parts, projections, whole
from benchmarks.peers import MAMBA2_64, MAMBA2_128, MAMBA_64, MAMBA_128, Shape
from benchmarks.processor_peak import multiply_adds
from benchmarks.report import Cell, Options, Report, Table
from benchmarks.stacks import OURS, Case, measure
from benchmarks.timing import interleaved

CASES = tuple(Case(shape, 32, 512, ()) for shape in (MAMBA_64, MAMBA_128, MAMBA2_64, MAMBA2_128))
PASSES = {"forward+backward": True, "forward": False}
_REGISTERS, _COPY = "multiply-adds from registers", "copy"


@dataclass(frozen=True)
class Machine:
    """What was measured of the machine: operations and bytes per second."""

    peak: float
    bandwidth: float

    def bound(self, part: Part, backward: bool = True) -> float:
        """Least seconds of a part, per token."""
        arithmetic = part.operations(backward) / self.peak
        return max(arithmetic, part.bytes(backward) / self.bandwidth)


@dataclass(frozen=True)
class Probes:
    """Sizes of the probes of the machine: a square product, values of a copy, rows of a layer."""

    product: int = 2048
    copy: int = 2**26
    rows: int = 4096


def run(options: Options, wanted: tuple[Case, ...] = CASES, probes: Probes = Probes()) -> Report:
    """Tables of the fraction reached, of the machine and of the counts."""
    shapes = list(dict.fromkeys(case.shape for case in wanted))
    machine, measured = _probe(options, probes, shapes)
    reached = _reached(options, wanted, machine)
    return Report("roofline", (reached, measured, *(_counts(shape, machine) for shape in shapes)))


def _reached(options: Options, wanted: tuple[Case, ...], machine: Machine) -> Table:
    columns = (
        "work",
        "pass",
        "operations a token and layer",
        "measured ns",
        "bound ns, parts alone",
        "fraction",
        "bound ns, whole layer",
        "fraction of roofline",
        "GFLOP/s",
    )
    rows = [
        _row(case, name, backward, options, machine)
        for case in wanted
        for name, backward in PASSES.items()
    ]
    notes = (
        "Every operation counts as one, exponentials too, and the bound takes all of them at the "
        "speed of multiply-adds from registers, which no scan reaches.",
        "Whole layer: only x, y and their gradients cross the memory.",
    )
    return Table("Fraction of the roofline reached by our layers", columns, tuple(rows), notes)


def _row(
    case: Case, name: str, backward: bool, options: Options, machine: Machine
) -> tuple[Cell, ...]:
    layer = whole(case.shape)
    tokens = case.batch * case.steps * case.shape.layers
    seconds = measure(case, options, backward=backward).times[OURS].median / tokens
    alone = sum(machine.bound(part, backward) for part in parts(case.shape))
    least = machine.bound(layer, backward)
    operations = layer.operations(backward)
    times = (1e9 * seconds, 1e9 * alone, alone / seconds, 1e9 * least, least / seconds)
    return (case.label, name, operations, *times, 1e-9 * operations / seconds)


def _counts(shape: Shape, machine: Machine) -> Table:
    columns = (
        "part",
        "operations forward",
        "operations backward",
        "bytes forward",
        "bytes of both",
        "operation / byte",
        "bound ns of both",
    )
    rows = tuple(
        (
            *(part.name, part.forward, part.backward, part.bytes(False), part.bytes(True)),
            *(part.operations(True) / part.bytes(True), 1e9 * machine.bound(part)),
        )
        for part in (*parts(shape), whole(shape))
    )
    title = f"Work of one layer and token, {shape.label}"
    return Table(title, columns, rows, (FORMULAS[shape.family],))


def _probe(options: Options, probes: Probes, shapes: list[Shape]) -> tuple[Machine, Table]:
    """Measure the machine; operations or bytes of each probe over its shortest time."""
    jobs, amounts = _products(probes, shapes)
    square = next(iter(jobs))
    source = torch.randn(probes.copy)
    jobs[_COPY] = partial(torch.empty_like(source).copy_, source)
    amounts[_COPY] = 2.0 * FLOAT_BYTES * probes.copy
    registers = multiply_adds(amounts[square])
    if registers is not None:
        jobs[_REGISTERS], amounts[_REGISTERS] = registers
    times = interleaved(jobs, options.protocol)
    rates = {name: amounts[name] / spent.minimum for name, spent in times.items()}
    peak = rates.get(_REGISTERS, rates[square])
    machine = Machine(peak, rates[_COPY])
    found = tuple(
        (name, 1e-9 * rate, None if name == _COPY else rate / machine.peak)
        for name, rate in rates.items()
    )
    columns = ("probe", "GFLOP/s, GB/s for the copy", "fraction of peak")
    notes = (
        f"Float32, one thread, shortest of {options.protocol.rounds}; products by torch, those of "
        f"the layers with {probes.rows} tokens. The copy counts bytes read and written.",
        "Without a compiler the large product is taken for the peak."
        if registers is None
        else "Where the large product stays far below the registers, torch's products do not use "
        "the processor's widest vectors; this holds for every peer.",
    )
    return machine, Table("The machine", columns, found, notes)


def _products(
    probes: Probes, shapes: list[Shape]
) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """Jobs and their operations; the large square one first."""
    sizes = {f"product {probes.product} cubed": (probes.product,) * 3}
    for shape in shapes:
        for name, inner, outer in projections(shape):
            sizes[f"{shape.label}: {name} {inner}x{outer}"] = (probes.rows, inner, outer)
    jobs: dict[str, Callable[[], object]] = {}
    amounts = {}
    for name, (rows, inner, outer) in sizes.items():
        a, b = torch.randn(rows, inner), torch.randn(inner, outer)
        repeats = max(1, round(probes.product**3 / (rows * inner * outer)))
        jobs[name] = partial(_repeat, a, b, torch.empty(rows, outer), repeats)
        amounts[name] = 2.0 * rows * inner * outer * repeats
    return jobs, amounts


def _repeat(a: Tensor, b: Tensor, out: Tensor, repeats: int) -> None:
    for _ in range(repeats):
        torch.mm(a, b, out=out)
