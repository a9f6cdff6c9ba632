"""Our layers against independent packages: same weights, same outputs, same gradients.

In float32 every side also stands against one yardstick, our definition in float64, so that it shows
whose rounding a difference is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import torch
from torch import nn

from benchmarks.accuracy import REFERENCE
from benchmarks.double import InDouble
from benchmarks.peers import MAMBA2_64, MAMBA2_128, MAMBA_64, MAMBA_128, PEERS, common_weights, ours
from benchmarks.report import Cell, Options, Report, Table
from benchmarks.stacks import OURS, Case, Outcome, deviation, inference_pass, training_pass

TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-10}
"""What outputs and gradients may differ by, relative to the largest value."""
_BOTH = ("transformers", "transformers_64")
CASES = tuple(
    Case(shape, batch, steps, peers)
    for shape, peers in (
        (MAMBA_64, ("mambapy", "transformers")),
        (MAMBA_128, ("mambapy", "transformers")),
        (MAMBA2_64, _BOTH),
        (MAMBA2_128, _BOTH),
    )
    for batch, steps in ((2, 77), (2, 512))
)


def run(options: Options, wanted: tuple[Case, ...] = CASES) -> Report:
    """Tables of differences from the oracles, and of errors against the definition."""
    tables = (
        _oracles(wanted, options, torch.float64),
        _oracles(wanted, options, torch.float32),
        _errors(wanted, options),
    )
    return Report("equality", tables)


def _oracles(wanted: Iterable[Case], options: Options, dtype: torch.dtype) -> Table:
    limit = TOLERANCES[dtype]
    rows: list[tuple[Cell, ...]] = []
    for case in wanted:
        mine = _outcomes(case, _ours(case, options.backend), dtype)
        for key in case.peers:
            theirs = _outcomes(case, _peer(case, key), dtype)
            found = [_worst(a, b) for a, b in zip(theirs, mine, strict=True)]
            outputs, gradients, alone = found[0][0], found[0][1], found[1][0]
            equal = "equal" if max(outputs, gradients, alone) <= limit else "NOT EQUAL"
            rows.append((case.label, PEERS[key].name, outputs, gradients, alone, equal))
    name = str(dtype).removeprefix("torch.")
    notes = (
        f"Largest difference relative to the largest value, the worst of all parameters and the "
        f"input for gradients; equal: at most {limit:g}.",
        "The oracles are run with what they convert to float32 left in float64."
        if dtype == torch.float64
        else "Rounding of both sides.",
    )
    columns = ("work", "oracle", "outputs", "gradients", "outputs without gradients", "verdict")
    return Table(f"Equality with other packages, {name}", columns, tuple(rows), notes)


def errors(case: Case, options: Options) -> dict[str, tuple[float, float, float]]:
    """Of every side in float32: outputs, gradients, and outputs without gradients.

    Against our definition in float64; ours under :data:`benchmarks.stacks.OURS`, our definition in
    float32 under ``loop``.
    """
    truth = _outcomes(case, _ours(case, REFERENCE), torch.float64)
    sides = {OURS: _ours(case, options.backend)}
    sides |= {key: _peer(case, key) for key in (*case.peers, "loop")}
    found = {}
    for key, build in sides.items():
        both = zip(_outcomes(case, build, torch.float32), truth, strict=True)
        trained, alone = (_worst(side, true) for side, true in both)
        found[key] = (*trained, alone[0])
    return found


def _errors(wanted: Iterable[Case], options: Options) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in wanted:
        for key, found in errors(case, options).items():
            name = OURS if key == OURS else PEERS[key].name
            rows.append((case.label, name, *found))
    columns = ("work", "side in float32", "outputs", "gradients", "outputs without gradients")
    notes = (
        "Errors of whole stacks against our definition in float64, relative to the largest value.",
    )
    return Table("Errors of four layers in float32", columns, tuple(rows), notes)


def _ours(case: Case, backend: str) -> Callable[[], nn.Module]:
    return lambda: ours(case.shape, common_weights(case.shape), backend)


def _peer(case: Case, key: str) -> Callable[[], nn.Module]:
    return lambda: PEERS[key].build(case.shape, common_weights(case.shape))


def _outcomes(
    case: Case, build: Callable[[], nn.Module], dtype: torch.dtype
) -> tuple[Outcome, Outcome]:
    """Of a training pass and of one without gradients, on the same numbers."""
    generator = torch.Generator().manual_seed(0)
    x, grad = torch.randn(2, case.batch, case.steps, case.shape.d_model, generator=generator).to(
        dtype
    )
    network = build().to(dtype)
    with InDouble() if dtype == torch.float64 else nullcontext():
        trained = training_pass(network, x, grad)()
        return trained, inference_pass(network, x)()


def _worst(found: Outcome, expected: Outcome) -> tuple[float, float]:
    """Deviation of outputs and of the worst gradient; the names must agree."""
    if found.gradients.keys() != expected.gradients.keys():
        raise RuntimeError("the two sides have gradients of different parameters")
    gradients = [deviation(found.gradients[k], own) for k, own in expected.gradients.items()]
    return deviation(found.y, expected.y), max(gradients, default=0.0)
