"""Resident memory of training on windows of a panel, and on windows that were all copied before.

Every way runs in a fresh process and tells the kernel's own high-water mark of resident memory
(``VmHWM``): mapped pages of the panel count like any others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory import SYSTEM, environment, status
from benchmarks.report import Cell, Options, Report, Table
from finchaos.core.provenance import random_stream
from finchaos.models.mamba_regime import Config, Outputs, new_network
from finchaos.training.dataset import Batch, BlockShuffle, ShuffledBatches, Windows
from finchaos.training.losses import Loss, huber
from finchaos.training.panel import Panel, PanelWriter
from finchaos.training.trainer import TrainerConfig, fit

FEATURES, WINDOW, BATCH, CHUNK = 31, 64, 256, 250_000
WRITE, LAZY, COPIED = "write the panel", "windows of the panel", "all windows copied"


@dataclass(frozen=True)
class Case:
    """A panel, and how it is trained on.

    Attributes
    ----------
    rows : int
    stride : int
        Rows from one window to the next.
    steps : int
        Batches of 256 windows; 0 for one whole epoch.
    """

    rows: int
    stride: int
    steps: int


CASES: tuple[tuple[Case, tuple[str, ...]], ...] = (
    (Case(10_000_000, WINDOW, 0), (WRITE, LAZY)),
    (Case(10_000_000, 1, 300), (LAZY,)),
    (Case(100_000, 1, 100), (WRITE, LAZY, COPIED)),
)
"""An epoch that reads every row once; windows at every row; a size at which copies fit memory."""


def run(options: Options, cases: tuple[tuple[Case, tuple[str, ...]], ...] = CASES) -> Report:
    """The table of the three ways."""
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory(prefix="finchaos-panel-") as folder:
        for case, ways in cases:
            panel = str(Path(folder) / f"{case.rows}")
            found = {way: _in_fresh_process(case, way, panel, options.backend) for way in ways}
            if COPIED in found and found[LAZY]["loss"] != found[COPIED]["loss"]:
                raise RuntimeError("training differs with where its windows come from")
            rows += [_row(case, way, one) for way, one in found.items()]
    columns = (
        "way",
        "rows",
        "windows",
        "steps",
        "panel MB",
        "all windows copied would take MB",
        "peak resident MB",
        "above what the imports take MB",
        "seconds",
        "mean loss of the last tenth",
    )
    notes = (
        f"{FEATURES} features and a target in float32, windows of {WINDOW} rows, {BATCH} a batch, "
        "a mamba_regime network of one layer. 1 MB is 1e6 bytes.",
        "Every way in a fresh process; the peak is VmHWM and counts mapped pages. The two ways of "
        "the smaller panel take the same windows and end with the same loss, bit for bit.",
    )
    return Report("dataset", (Table("Memory of training", columns, tuple(rows), notes),))


def measured(case: Case, way: str, place: Path, backend: str) -> dict[str, Any]:
    """Peak memory of one way in this process, with what it did."""
    imports = status("VmRSS")
    began = time.perf_counter()
    losses: tuple[float, ...]
    if way == WRITE:
        _write(place, case.rows)
        losses, windows = (0.0,), 0
    else:
        losses, windows = _train(case, way, place, backend)
    spent, peak = time.perf_counter() - began, status("VmHWM")
    tenth = max(1, len(losses) // 10)
    return {
        "peak": peak,
        "above": peak - imports,
        "seconds": spent,
        "windows": windows,
        "steps": len(losses) if windows else 0,
        "loss": float(np.mean(losses[-tenth:])),
    }


def _train(case: Case, way: str, place: Path, backend: str) -> tuple[tuple[float, ...], int]:
    windows = Windows(Panel.open(place), WINDOW, stride=case.stride)
    lazy = ShuffledBatches(windows, BATCH, BlockShuffle(1, "benchmark/windows"))
    network = new_network(
        Config(FEATURES, d_model=8, d_state=4, n_layers=1, horizons=(1,), backend=backend), 1
    )
    steps = case.steps or -(-len(windows) // BATCH)
    config = TrainerConfig(steps=steps, learning_rate=1e-2)
    source = lazy if way == LAZY else Copied(windows, lazy)
    return fit(network, source, _objective, config).losses, len(windows)


def _objective(said: Outputs, batch: Batch) -> Loss:
    return huber(said.variance, batch.targets)


class Copied:
    """The naive twin: every window is copied before training begins."""

    def __init__(self, windows: Windows, order: ShuffledBatches) -> None:
        self._all = windows.batch(np.arange(len(windows)))
        self._order = order

    def next(self) -> Batch:
        """The batch that the lazy way would put together now."""
        numbers = torch.from_numpy(self._order.next_numbers())
        return Batch(self._all.features[numbers], self._all.targets[numbers])

    def state(self) -> dict[str, Any]:
        """Where the order stands."""
        return self._order.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back in the order."""
        self._order.restore(state)

    def identity(self) -> dict[str, Any]:
        """That of the lazy way."""
        return self._order.identity()


def _write(place: Path, rows: int) -> None:
    """Noise, and a target that remembers it, in paths of a chunk each."""
    rng = random_stream(1, "benchmark/panel")
    names = [f"x{k}" for k in range(FEATURES)]
    with PanelWriter(place, names, ["y"], schema="benchmark") as writer:
        for first in range(0, rows, CHUNK):
            x = rng.standard_normal((min(CHUNK, rows - first), FEATURES), dtype=np.float32)
            y = 0.6 * x[:, 0] + 0.8 * np.concatenate([[0.0], x[:-1, 1]])
            chunk = np.concatenate([x, y[:, None]], axis=1, dtype=np.float32)
            writer.append(chunk, new_path=True)


def _row(case: Case, way: str, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    bytes_a_row = 4 * (FEATURES + 1)
    trained = way != WRITE
    return (
        way,
        case.rows,
        found["windows"] if trained else None,
        found["steps"] if trained else None,
        case.rows * bytes_a_row / 1e6,
        (case.rows // case.stride) * WINDOW * bytes_a_row / 1e6 if trained else None,
        found["peak"] / 1e6,
        found["above"] / 1e6,
        found["seconds"],
        found["loss"] if trained else None,
    )


def _in_fresh_process(case: Case, way: str, panel: str, backend: str) -> dict[str, Any]:
    request = json.dumps({"case": asdict(case), "way": way, "panel": panel, "backend": backend})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dataset", request],
        env=environment(SYSTEM),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _answer(request: str) -> None:
    torch.set_num_threads(1)
    asked = json.loads(request)
    case = Case(**asked["case"])
    print(json.dumps(measured(case, asked["way"], Path(asked["panel"]), asked["backend"])))


if __name__ == "__main__":
    _answer(sys.argv[1])
