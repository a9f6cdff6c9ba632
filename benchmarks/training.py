"""Forward and backward pass of four layers against every peer."""

from __future__ import annotations

from benchmarks.peers import MAMBA2_64, MAMBA2_128, MAMBA_64, MAMBA_128
from benchmarks.report import Options, Report
from benchmarks.stacks import Case, Group, cases, measure, table

LENGTHS = (128, 512, 2048, 8192)
GROUPS = {
    # Peers that keep every state need up to 300 kB a token: 5 GB for the largest batch here.
    "mamba": (
        Group(("mambapy", "loop", "lstm", "transformer"), 16_384, 8192),
        # Its backward pass is quadratic in the length: half a minute a round at 2048 already.
        Group(("transformers",), 2048, 2048),
    ),
    # The loop keeps four times the states of Mamba-1.
    "mamba2": (
        Group(("transformers", "transformers_64", "lstm", "transformer"), 16_384, 8192),
        Group(("loop",), 4096, 8192),
    ),
}
CASES = cases((MAMBA_64, MAMBA_128, MAMBA2_64, MAMBA2_128), LENGTHS, GROUPS)
NOTES = (
    "Batch 32, or less where a peer would need more than 6 GB or half a minute a pass; both "
    "sides always do the same work.",
    "The default path of transformers for Mamba-1 is not run at L8192: its backward pass is "
    "quadratic in L and would take about ten minutes a round.",
    "mambapy has no Mamba-2 that runs on a CPU.",
    "Deviations: largest difference from ours relative to the largest value; the gradient column "
    "is the worst of all parameters and the input.",
)


def run(options: Options, wanted: tuple[Case, ...] = CASES) -> Report:
    """The table of training passes."""
    found = [measure(case, options, backward=True) for case in wanted]
    return Report("training", (table("Forward and backward", found, NOTES),))
