"""One token through all layers, batch 1: wall time of a call, against every peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.peers import MAMBA2_64, MAMBA2_128, MAMBA_64, MAMBA_128, Shape, common_weights
from benchmarks.report import Cell, Options, Report, Table
from benchmarks.steps import OURS, STEPS, Step, engine, stream
from benchmarks.timing import Samples, interleaved_calls

AGREED_STEPS = 16
TOLERANCE = 1e-5
"""Largest deviation of a row over :data:`AGREED_STEPS`, relative to the largest value."""


@dataclass(frozen=True)
class Case:
    """Sizes, and who advances.

    Attributes
    ----------
    shape : Shape
    peers : tuple of str
        Keys of :data:`benchmarks.steps.STEPS`.
    """

    shape: Shape
    peers: tuple[str, ...] = tuple(STEPS)


CASES = tuple(Case(shape) for shape in (MAMBA_64, MAMBA_128, MAMBA2_64, MAMBA2_128))


def measure(case: Case, options: Options) -> Mapping[str, Samples]:
    """Wall times of single calls by peer, after the rows were compared.

    Raises
    ------
    RuntimeError
        If two of the same model give different rows.
    """
    torch.manual_seed(0)
    weights = common_weights(case.shape)
    able = [key for key in case.peers if case.shape.family in STEPS[key].families]
    builders = {key: STEPS[key].build for key in able}
    if OURS in builders:
        builders[OURS] = partial(stream, backend=options.backend)
    steps = {key: build(case.shape, weights) for key, build in builders.items()}
    rows = np.random.default_rng(0).standard_normal((AGREED_STEPS, case.shape.d_model))
    rows = rows.astype(np.float32)
    _compare({key: step for key, step in steps.items() if STEPS[key].same_model}, rows)
    return interleaved_calls(
        {key: partial(step, rows[0]) for key, step in steps.items()}, options.protocol
    )


def run(options: Options, wanted: tuple[Case, ...] = CASES) -> Report:
    """The table of latencies."""
    rows: list[tuple[Cell, ...]] = []
    for case in wanted:
        times = measure(case, options)
        base = times[case.peers[0]].median
        rows += [_row(case, key, spent, base) for key, spent in times.items()]
    columns = ("model", "path", "p50 us", "p99 us", "min us", "n", "p50 / ours")
    notes = (
        f"Wall time, batch 1, one thread, blocks of {options.protocol.block} calls in turn; a row "
        "of numpy goes in and comes out on every path.",
        f"The same models gave the same rows over {AGREED_STEPS} steps within {TOLERANCE:g} of "
        "the largest value before anything was timed.",
        *(
            f"compile_stream of {case.shape.label} is advanced by the backend "
            f"{engine(case.shape, options.backend)}."
            for case in wanted
        ),
        f"p99 is about the first call after the others had their turn, one in "
        f"{options.protocol.block}, which finds its weights no longer in the caches.",
    )
    return Report("latency", (Table("One token, batch 1", columns, tuple(rows), notes),))


def _row(case: Case, key: str, spent: Samples, base: float) -> tuple[Cell, ...]:
    return (
        case.shape.label,
        STEPS[key].name,
        1e6 * spent.median,
        1e6 * spent.quantile(0.99),
        1e6 * spent.minimum,
        spent.n,
        spent.median / base,
    )


def _compare(steps: Mapping[str, Step], rows: np.ndarray) -> None:
    """Refuse to time rows that differ from those of the first."""
    outputs = {key: np.stack([step(row).copy() for row in rows]) for key, step in steps.items()}
    first, *others = outputs
    for key in others:
        difference = np.abs(outputs[key] - outputs[first]).max() / np.abs(outputs[first]).max()
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"{key} and {first} give rows that differ by {difference:.2g} of the largest "
                "value; nothing was timed"
            )
