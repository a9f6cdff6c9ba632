"""Without a compiler: the scan in plain PyTorch against mambapy's parallel scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.report import Cell, Options, Report, Table
from benchmarks.stacks import GRADIENT_TOLERANCE, OUTPUT_TOLERANCE, deviation
from benchmarks.timing import Samples, interleaved
from finchaos.ssm import selective_scan

OURS, PEER = "ours", "mambapy"
NAMES = ("u", "delta", "A", "B", "C", "D")


@dataclass(frozen=True)
class Case:
    """Sizes of a scan b t d n."""

    batch: int
    steps: int
    channels: int
    states: int

    @property
    def label(self) -> str:
        """In words."""
        return f"scan B{self.batch}, L{self.steps}, D{self.channels}, N{self.states}"


CASES = (Case(32, 128, 128, 16), Case(32, 512, 128, 16), Case(8, 2048, 128, 16))


@dataclass(frozen=True)
class Measured:
    """Times of one case, and deviations of mambapy's outputs and worst gradient from ours."""

    case: Case
    times: dict[str, Samples]
    output: float
    gradient: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.times[PEER].median / self.times[OURS].median


def measure(case: Case, options: Options) -> Measured:
    """Forward and backward of the scan alone.

    Raises
    ------
    RuntimeError
        If the two disagree.
    """
    from mambapy.mamba import MambaBlock, MambaConfig

    inputs = _inputs(case)
    grad = torch.randn_like(inputs["u"])
    sizes = {"d_model": case.channels // 2, "n_layers": 1, "d_state": case.states}
    scan = MambaBlock(MambaConfig(**sizes)).selective_scan
    found: list[float] = []

    def check(first: dict[str, list[Tensor]]) -> None:
        pairs = zip(first[PEER], first[OURS], strict=True)
        output, *gradients = [deviation(theirs, mine) for theirs, mine in pairs]
        found.extend((output, max(gradients)))
        if not (output <= OUTPUT_TOLERANCE and max(gradients) <= GRADIENT_TOLERANCE):
            raise RuntimeError(f"mambapy and ours disagree by {found}; nothing was timed")

    jobs = {
        OURS: _pass(lambda *args: selective_scan(*args, backend="torch")[0], inputs, grad),
        PEER: _pass(scan, inputs, grad),
    }
    times = interleaved(jobs, options.protocol, check)
    return Measured(case, times, found[0], found[1])


def run(options: Options, wanted: tuple[Case, ...] = CASES) -> Report:
    """The table of the fallback."""
    columns = (
        "work",
        "peer",
        "ours median ms",
        "ours min ms",
        "peer median ms",
        "peer min ms",
        "n",
        "peer / ours",
        "output deviation",
        "gradient deviation",
    )
    rows = tuple(_row(measure(case, options)) for case in wanted)
    title = "The scan alone in plain PyTorch, forward and backward"
    return Report("fallback", (Table(title, columns, rows),))


def _row(found: Measured) -> tuple[Cell, ...]:
    mine, theirs = found.times[OURS], found.times[PEER]
    return (
        found.case.label,
        "mambapy, parallel scan",
        *(1e3 * mine.median, 1e3 * mine.minimum),
        *(1e3 * theirs.median, 1e3 * theirs.minimum, theirs.n),
        *(found.ratio, found.output, found.gradient),
    )


def _inputs(case: Case) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    b, t, d, n = case.batch, case.steps, case.channels, case.states
    return {
        "u": torch.randn(b, t, d, generator=g),
        "delta": 0.1 * torch.rand(b, t, d, generator=g) + 1e-3,
        "A": -torch.arange(1.0, n + 1).repeat(d, 1),
        "B": torch.randn(b, t, n, generator=g),
        "C": torch.randn(b, t, n, generator=g),
        "D": torch.ones(d),
    }


def _pass(
    scan: Callable[..., Tensor], inputs: dict[str, Tensor], grad: Tensor
) -> Callable[[], list[Tensor]]:
    """Output, then gradients in the order of :data:`NAMES`."""

    def run() -> list[Tensor]:
        leaves = [inputs[name].detach().requires_grad_() for name in NAMES]
        y = scan(*leaves)
        return [y.detach(), *torch.autograd.grad(y, leaves, grad)]

    return run
