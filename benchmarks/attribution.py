"""The cost of one explained window: all windows at once against captum, one window at a time."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from benchmarks.compare import compare
from benchmarks.comparisons import table
from benchmarks.peers import SEED, OurStack, Shape
from benchmarks.report import Options, Report, Table
from finchaos.core.provenance import random_stream
from governance.checks.attribution import TorchNetwork

WINDOWS, BARS, NODES = 64, 128, 10
SHAPE = Shape("mamba", 16, 16, layers=2)
TOLERANCE = 1e-4


class Decision(nn.Module):
    """From windows (n, l, m) to a probability (n,)."""

    def __init__(self, stack: nn.Module) -> None:
        super().__init__()
        self.stack = stack

    def forward(self, windows: Tensor) -> Tensor:
        """From the last bar's output; so smooth that no path needs more nodes."""
        return torch.sigmoid(self.stack(windows)[:, -1].mean(dim=-1))


def run(options: Options) -> Report:
    """Integrated Gradients on a stack of Mamba blocks, with as many nodes on both sides."""
    generator = torch.Generator().manual_seed(SEED)
    module = Decision(OurStack(SHAPE, options.backend, generator)).eval()
    rng = random_stream(1, "benchmark/attribution")
    # Away from zero, where the norm of the first block would bend the path.
    baselines = np.broadcast_to(
        1.0 + rng.standard_normal(SHAPE.d_model), (WINDOWS, BARS, SHAPE.d_model)
    ).copy()
    windows = baselines + 0.1 * rng.standard_normal(baselines.shape)
    network, peer = TorchNetwork(module, NODES), IntegratedGradients(module)

    def ours() -> np.ndarray:
        return network.attribute(windows, baselines).values

    def theirs() -> np.ndarray:
        pairs = zip(*(torch.from_numpy(side).float() for side in (windows, baselines)), strict=True)
        found = [
            peer.attribute(row[None], baselines=base[None], n_steps=NODES, method="gausslegendre")
            for row, base in pairs
        ]
        return torch.cat(found).detach().numpy()

    mine, other = ours(), theirs()
    away = float(np.abs(mine - other).max())
    if away > TOLERANCE:
        raise RuntimeError(f"ours and captum's attributions differ by up to {away:.2g}")
    work = f"{WINDOWS} windows of {BARS} bars, {NODES} nodes, {SHAPE.label}"
    spent = compare(work, "captum, one window at a time", ours, theirs, options.protocol.rounds)
    rows = table("Attribution", [spent])
    notes = (
        f"Ours takes {1e3 * spent.ours_s / WINDOWS:.3g} ms of processor time a window, with the "
        "completeness of every one found and refined where it fails.",
    )
    return Report("attribution", (Table(rows.title, rows.columns, rows.rows, notes),))
