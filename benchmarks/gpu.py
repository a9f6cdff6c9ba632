"""Time on a GPU beside that of the processor of the same machine.

Whole stacks of four layers at the sizes of the other benchmarks, by the wall clock until the GPU is
done; the backend ``cpu`` computes the same with all threads of the machine.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu_equality import not_measured, software
from benchmarks.peers import (
    MAMBA2_64,
    MAMBA2_128,
    MAMBA_64,
    MAMBA_128,
    Shape,
    common_weights,
    mamba_ssm,
    ours,
)
from benchmarks.report import Cell, Options, Report, Table
from benchmarks.stacks import (
    Case,
    Group,
    Outcome,
    cases,
    deviation,
    inference_pass,
    training_pass,
)
from benchmarks.training import LENGTHS
from finchaos.ssm import cuda
from finchaos.ssm.cuda.packages import kernels

GPU, CPU = "cuda", "cpu"
"""Devices; the processor's backend has its name."""
BACKEND = "cuda"
GROUPS = {family: (Group((), 32_768, 8192),) for family in ("mamba", "mamba2")}
STEPS = 200
"""Tokens of the measurement of single steps."""


@dataclass(frozen=True)
class Work:
    """What is timed.

    Attributes
    ----------
    cases : tuple of Case
    budget_s : float
        No round is begun once the rounds of a measurement took so long.
    """

    cases: tuple[Case, ...] = cases((MAMBA_64, MAMBA_128, MAMBA2_64, MAMBA2_128), LENGTHS, GROUPS)
    budget_s: float = 1.0


def run(options: Options, work: Work | None = None) -> Report:
    """Passes and single steps; without a GPU a table that says so."""
    absence = cuda.absence()
    if absence is not None:
        return not_measured("gpu", absence)
    work = work or Work()
    return Report("gpu", _speed(options, work, GPU))


def layers(options: Options, work: Work | None = None) -> Report:
    """Our stacks beside mamba-ssm's own layers with the same weights, both on the GPU."""
    absence = cuda.absence()
    if absence is not None:
        return not_measured("gpu_layers", absence)
    work = work or Work()
    rows = [row for case in work.cases for row in _beside_theirs(case, options, work, GPU)]
    columns = ("work", "pass", "ours ms", "mamba-ssm ms", "mamba-ssm / ours", "output deviation")
    notes = (
        "Same weights, float32. The layers of mamba-ssm take part in our residual blocks, with "
        "chunks of the length that ours have; their Triton kernels are compiled to the precision "
        "that ours ask for, which their default for float32 is not.",
        software(),
    )
    return Report(
        "gpu_layers", (Table("Beside mamba-ssm's own layers", columns, tuple(rows), notes),)
    )


def _speed(options: Options, work: Work, device: str) -> tuple[Table, ...]:
    threads = os.cpu_count() or 1
    passes = tuple(
        _pass_row(case, backward, options, work, device)
        for case in work.cases
        for backward in (False, True)
    )
    columns = (
        *("work", "pass", "GPU ms", "GPU bfloat16 ms", "CPU ms", "CPU / GPU"),
        *("GPU tokens a second", "CPU tokens a second", "GPU peak MB", "deviation"),
    )
    notes = (
        f"CPU: the backend cpu with {threads} threads on the same machine; medians of the wall "
        "clock.",
        "bfloat16: under autocast, parameters and states in float32.",
        "Deviation: largest difference of GPU, float32, and CPU relative to the largest value; "
        "of the outputs, and with a backward pass of the worst gradient.",
        software(),
    )
    shapes = tuple(dict.fromkeys(case.shape for case in work.cases))
    steps = tuple(_step_row(shape, device) for shape in shapes)
    return (
        Table("Stacks of layers", columns, passes, notes),
        Table(
            "One token through a stack, batch 1",
            ("work", "GPU us", "CPU us", "GPU / CPU"),
            steps,
            ("step() of the layers, each token waited for; CPU: one thread.",),
        ),
    )


def _pass_row(
    case: Case, backward: bool, options: Options, work: Work, device: str
) -> tuple[Cell, ...]:
    weights = common_weights(case.shape)
    timed = partial(_median, rounds=options.protocol.rounds, budget_s=work.budget_s)
    on_gpu = _pass(ours(case.shape, weights, BACKEND), case, backward, device)
    seconds = timed(on_gpu)
    peak = _peak_bytes(on_gpu)
    with torch.autocast(device, torch.bfloat16):
        half = timed(on_gpu)
    with _threads(os.cpu_count() or 1):
        on_cpu = _pass(ours(case.shape, weights, CPU), case, backward, CPU)
        beside = timed(on_cpu)
        difference = _difference(on_gpu(), on_cpu())
    tokens = case.batch * case.steps
    return (
        *(case.label, _name(backward), 1e3 * seconds, 1e3 * half, 1e3 * beside, beside / seconds),
        *(round(tokens / seconds), round(tokens / beside), peak / 1e6, difference),
    )


def _difference(found: Outcome, expected: Outcome) -> float:
    """The largest of the output, or of the gradients where there are any."""
    pairs = [(found.gradients[name], value) for name, value in expected.gradients.items()]
    pairs = pairs or [(found.y, expected.y)]
    return max(deviation(mine.cpu(), theirs.cpu()) for mine, theirs in pairs)


def _beside_theirs(
    case: Case, options: Options, work: Work, device: str
) -> Iterator[tuple[Cell, ...]]:
    weights = common_weights(case.shape)
    networks = (ours(case.shape, weights, BACKEND), mamba_ssm(case.shape, weights))
    timed = partial(_median, rounds=options.protocol.rounds, budget_s=work.budget_s)
    for backward in (False, True):
        mine, theirs = (_pass(network, case, backward, device) for network in networks)
        with kernels().full_products():
            difference = _difference(mine(), replace(theirs(), gradients={}))
            seconds, others = timed(mine), timed(theirs)
        yield (
            *(case.label, _name(backward), 1e3 * seconds, 1e3 * others),
            *(others / seconds, difference),
        )


def _pass(network: nn.Module, case: Case, backward: bool, device: str) -> Callable[[], Outcome]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(case.batch, case.steps, case.shape.d_model, generator=generator).to(device)
    network = network.to(device)
    return training_pass(network, x, torch.ones_like(x)) if backward else inference_pass(network, x)


def _step_row(shape: Shape, device: str) -> tuple[Cell, ...]:
    weights = common_weights(shape)
    seconds = []
    for backend, where in ((BACKEND, device), (CPU, CPU)):
        network = ours(shape, weights, backend).to(where)
        seconds.append(_median(_stepper(network.layers, shape, where), STEPS, 5.0))
    return shape.label, 1e6 * seconds[0], 1e6 * seconds[1], seconds[0] / seconds[1]


def _stepper(layers: nn.ModuleList, shape: Shape, device: str) -> Callable[[], Tensor]:
    stack: list[Any] = list(layers)
    states = [layer.initial_state(1) for layer in stack]
    token = torch.ones(1, shape.d_model, device=device)

    def step() -> Tensor:
        x = token
        with torch.no_grad():
            for i, layer in enumerate(stack):
                x, states[i] = layer.step(x, states[i])
        return x

    return step


def _median(job: Callable[[], object], rounds: int, budget_s: float) -> float:
    """Wall time of a call, in seconds; two calls to warm up."""
    spent: list[float] = []
    for turn in range(rounds + 2):
        _finish()
        start = time.perf_counter()
        job()
        _finish()
        if turn >= 2:
            spent.append(time.perf_counter() - start)
        if sum(spent) > budget_s:
            break
    return statistics.median(spent)


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_bytes(job: Callable[[], object]) -> int:
    """What a call needs at most beside what was there before."""
    if not torch.cuda.is_available():
        return 0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    job()
    return torch.cuda.max_memory_allocated() - before


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _name(backward: bool) -> str:
    return "forward, backward" if backward else "forward"
