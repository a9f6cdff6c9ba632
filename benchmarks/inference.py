"""Forward pass of four layers without a record for gradients, against every peer."""

from __future__ import annotations

from benchmarks.peers import MAMBA2_64, MAMBA2_128, MAMBA_64, MAMBA_128
from benchmarks.report import Options, Report
from benchmarks.stacks import Case, Group, cases, measure, table
from benchmarks.training import LENGTHS

GROUPS = {
    "mamba": (
        Group(
            ("mambapy", "mambapy_loop", "transformers", "loop", "lstm", "transformer"),
            16_384,
            8192,
        ),
    ),
    "mamba2": (
        Group(("transformers", "transformers_64", "loop", "lstm", "transformer"), 16_384, 8192),
    ),
}
CASES = cases((MAMBA_64, MAMBA_128, MAMBA2_64, MAMBA2_128), LENGTHS, GROUPS)
NOTES = (
    "Batch 32, or less where a training pass of a peer would need more than 6 GB; both sides "
    "always do the same work.",
    "mambapy, sequential: its own loop, which is faster than its parallel scan where nothing is "
    "differentiated; it is not what that package does by default.",
    "mambapy has no Mamba-2 that runs on a CPU.",
)


def run(options: Options, wanted: tuple[Case, ...] = CASES) -> Report:
    """The table of inference passes."""
    found = [measure(case, options, backward=False) for case in wanted]
    return Report("inference", (table("Forward without gradients", found, NOTES),))
