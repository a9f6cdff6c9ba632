"""How much of what the machine could do our Mamba-1 layer reaches, the counts written out.

Per token and layer, with m the model width, d = 2 m channels, n states, r the rank of the step-size
map and w the width of the convolution. An addition, a multiplication, a division, a maximum, and an
exponential, logarithm or root each count as one operation, although the last three take a dozen
instructions. Bytes are those of float32 tensors that a part must read and write once; weights are
read once for all tokens and left out, as are states, which stay in registers.

============== =========================== ===================== ==================================
part           forward operations          backward              values read and written
============== =========================== ===================== ==================================
norm           4 m                         8 m                   fwd 2 m; bwd 3 m
in_proj        2 m 2d                      twice the forward     fwd m + 2d; bwd 2 (m + 2d)
convolution    2 w d + 4 d (bias, silu)    4 w d + 6 d           fwd 2 d; bwd 3 d
x_proj         2 d (r + 2n)                twice the forward     fwd d + r + 2n; bwd twice that
dt_proj        2 r d                       twice the forward     fwd r + d; bwd twice that
scan           7 n d + 12 d                21 n d + 20 d         fwd 4 d + 2n; bwd 7 d + 4n
out_proj       2 d m                       twice the forward     fwd d + m; bwd 2 (d + m)
residual       m                           m                     fwd 3 m; bwd 3 m
============== =========================== ===================== ==================================

The 7 of the scan: delta A, its exponential, decay h, drive B, their sum, h C, and the sum over
states. Its 12 a channel: bias and softplus (5), delta u, skip (2), silu and gate (4). Backward it
recomputes the states (6), then per state: the adjoint, its carry and the gradients of A, B, C, u
and delta (15).

The bound of a part is the larger of its operations over the matrix-product peak and its bytes over
the copy bandwidth; no code without fusion across parts can be faster. Peak and bandwidth are
measured in the same run: one large product in float32, and a copy far larger than the caches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.peers import MAMBA_64, MAMBA_128, Shape
from benchmarks.report import Options, Report, Table
from benchmarks.stacks import OURS, Case, measure
from benchmarks.timing import interleaved

FLOAT_BYTES = 4
CONV_WIDTH = 4
CASES = (Case(MAMBA_64, 32, 128, ()), Case(MAMBA_64, 32, 512, ()), Case(MAMBA_128, 32, 128, ()))


@dataclass(frozen=True)
class Part:
    """Work of one part of a layer, per token.

    Attributes
    ----------
    name : str
    forward, backward : int
        Operations.
    values_forward, values_backward : int
        Numbers read and written.
    """

    name: str
    forward: int
    backward: int
    values_forward: int
    values_backward: int

    @property
    def operations(self) -> int:
        """Of both passes."""
        return self.forward + self.backward

    @property
    def bytes(self) -> int:
        """Of both passes."""
        return FLOAT_BYTES * (self.values_forward + self.values_backward)


@dataclass(frozen=True)
class Machine:
    """What was measured of the machine: operations and bytes per second."""

    peak: float
    bandwidth: float

    def bound(self, part: Part) -> float:
        """Least seconds of a part, per token."""
        return max(part.operations / self.peak, part.bytes / self.bandwidth)


@dataclass(frozen=True)
class Probes:
    """Sizes of the probes of the machine: a square product, values of a copy, rows of a layer."""

    product: int = 2048
    copy: int = 2**26
    rows: int = 4096


def parts(shape: Shape) -> tuple[Part, ...]:
    """The table above, in numbers.

    Examples
    --------
    >>> sum(part.operations for part in parts(MAMBA_64))
    244864
    """
    m, d, n, w = shape.d_model, 2 * shape.d_model, shape.d_state, CONV_WIDTH
    r = math.ceil(m / 16)
    return (
        Part("norm", 4 * m, 8 * m, 2 * m, 3 * m),
        _projection("in_proj", m, 2 * d),
        Part("convolution", (2 * w + 4) * d, (4 * w + 6) * d, 2 * d, 3 * d),
        _projection("x_proj", d, r + 2 * n),
        _projection("dt_proj", r, d),
        Part("scan", (7 * n + 12) * d, (21 * n + 20) * d, 4 * d + 2 * n, 7 * d + 4 * n),
        _projection("out_proj", d, m),
        Part("residual", m, m, 3 * m, 3 * m),
    )


def run(options: Options, wanted: tuple[Case, ...] = CASES, probes: Probes = Probes()) -> Report:
    """Tables of the counts, of the machine and of the fraction reached."""
    machine, measured = _probe(options, probes, [case.shape for case in wanted])
    shapes = tuple(dict.fromkeys(case.shape for case in wanted))
    reached = _reached(options, wanted, machine)
    return Report("roofline", (reached, measured, *(_counts(shape, machine) for shape in shapes)))


def _reached(options: Options, wanted: tuple[Case, ...], machine: Machine) -> Table:
    columns = (
        "work",
        "operations a token and layer",
        "bytes a token and layer",
        "measured ns a token and layer",
        "bound ns",
        "fraction of bound",
        "GFLOP/s",
        "fraction of matrix peak",
    )
    rows = []
    for case in wanted:
        counted = parts(case.shape)
        operations = sum(part.operations for part in counted)
        bound = sum(machine.bound(part) for part in counted)
        work = case.batch * case.steps * case.shape.layers
        seconds = measure(case, options, backward=True).times[OURS].median / work
        speed = operations / seconds
        counts = (operations, sum(part.bytes for part in counted))
        times = (1e9 * seconds, 1e9 * bound, bound / seconds)
        rows.append((case.label, *counts, *times, 1e-9 * speed, speed / machine.peak))
    notes = (
        "Forward and backward. Every operation counts as one, exponentials too, and the bound "
        "takes all of them at the speed of a matrix product, which no scan reaches.",
    )
    return Table("Fraction of the roofline reached by our Mamba-1", columns, tuple(rows), notes)


def _counts(shape: Shape, machine: Machine) -> Table:
    columns = (
        "part",
        "operations forward",
        "operations backward",
        "bytes",
        "op / byte",
        "bound ns",
    )
    rows = tuple(
        (
            *(part.name, part.forward, part.backward, part.bytes),
            *(part.operations / part.bytes, 1e9 * machine.bound(part)),
        )
        for part in parts(shape)
    )
    return Table(f"Work of one layer and token, {shape.label}", columns, rows)


def _probe(options: Options, probes: Probes, shapes: list[Shape]) -> tuple[Machine, Table]:
    """Measure the machine; operations or bytes of each probe over its shortest time."""
    source = torch.randn(probes.copy)
    target = torch.empty_like(source)
    jobs: dict[str, Callable[[], object]] = {"copy": partial(target.copy_, source)}
    amounts = {"copy": 2.0 * FLOAT_BYTES * probes.copy}

    def product(name: str, rows: int, inner: int, outer: int) -> None:
        a, b = torch.randn(rows, inner), torch.randn(inner, outer)
        out = torch.empty(rows, outer)
        repeats = max(1, round(probes.product**3 / (rows * inner * outer)))
        jobs[name] = partial(_repeat, a, b, out, repeats)
        amounts[name] = 2.0 * rows * inner * outer * repeats

    square = f"product {probes.product} cubed"
    product(square, probes.product, probes.product, probes.product)
    for name, inner, outer in _projections(shapes):
        product(f"{name}, forward", probes.rows, inner, outer)
        product(f"{name}, gradient of input", probes.rows, outer, inner)
        product(f"{name}, gradient of weight", outer, probes.rows, inner)
    times = interleaved(jobs, options.protocol)
    rates = {name: amounts[name] / spent.minimum for name, spent in times.items()}
    machine = Machine(rates[square], rates["copy"])
    found = tuple(
        (name, 1e-9 * rate, None if name == "copy" else rate / machine.peak)
        for name, rate in rates.items()
    )
    columns = ("probe", "GFLOP/s, GB/s for the copy", "fraction of peak")
    notes = (
        f"Float32, one thread, shortest of {options.protocol.rounds}; products of the layer with "
        f"{probes.rows} tokens. The copy counts bytes read and written.",
    )
    return machine, Table("The machine", columns, found, notes)


def _projections(shapes: list[Shape]) -> list[tuple[str, int, int]]:
    found = []
    for shape in dict.fromkeys(shapes):
        m, d, r = shape.d_model, 2 * shape.d_model, math.ceil(shape.d_model / 16)
        sizes = (("in_proj", m, 2 * d), ("x_proj", d, r + 2 * shape.d_state))
        found += [
            (f"d{m} {name} {inner}x{outer}", inner, outer)
            for name, inner, outer in (*sizes, ("dt_proj", r, d), ("out_proj", d, m))
        ]
    return found


def _projection(name: str, inner: int, outer: int) -> Part:
    operations, values = 2 * inner * outer, inner + outer
    return Part(name, operations, 2 * operations, values, 2 * values)


def _repeat(a: Tensor, b: Tensor, out: Tensor, repeats: int) -> None:
    for _ in range(repeats):
        torch.mm(a, b, out=out)
