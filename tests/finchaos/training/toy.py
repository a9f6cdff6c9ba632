"""A small training on a panel, as a program: what a kill -9 interrupts and a second start resumes.

``python -m tests.finchaos.training.toy <panel> <folder> <die at step> <dying where>``
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from finchaos.core.provenance import array_digest
from finchaos.training import checkpoint
from finchaos.training.dataset import (
    Batch,
    BatchesInOrder,
    BlockShuffle,
    ShuffledBatches,
    Windows,
    chronological_split,
)
from finchaos.training.logs import CsvLog, Log
from finchaos.training.losses import Loss, huber
from finchaos.training.panel import Panel, PanelWriter
from finchaos.training.trainer import TrainerConfig, Training, fit

CONFIG = TrainerConfig(
    steps=30, learning_rate=1e-2, seed=3, validate_every=4, checkpoint_every=5, accumulate=2
)


class Network(nn.Module):
    """Linear blocks with dropout: its weights depend on torch's generator."""

    def __init__(self, dropout: float = 0.3, seed: int = 1) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4))
                for _ in range(2)
            )
            self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        said: Tensor = self.head(x)
        return said


def objective(said: Tensor, batch: Batch) -> Loss:
    return huber(said, batch.targets)


def write_panel(folder: Path) -> Panel:
    rng = np.random.default_rng(1)
    with PanelWriter(folder, list("abcd"), ["y"], schema="toy") as writer:
        for _ in range(3):
            x = rng.normal(size=(100, 4))
            y = np.sin(x[:, :1]) + 0.1 * rng.normal(size=(100, 1))
            y[rng.random(100) < 0.2] = np.nan
            writer.append(np.concatenate([x, y], axis=1), new_path=True)
    return Panel.open(folder)


def source_of(panel: Panel, batch: int = 4) -> tuple[ShuffledBatches, BatchesInOrder]:
    split = chronological_split(panel.paths, 0.7, purge=2)
    train = Windows(panel, 8, segments=split.train)
    held_out = Windows(panel, 8, stride=8, segments=split.validation)
    shuffle = BlockShuffle(5, "toy/windows", 16, 2)
    return ShuffledBatches(train, batch, shuffle), BatchesInOrder(held_out, 4)


def digest_of(network: nn.Module) -> str:
    return array_digest({name: value.numpy() for name, value in network.state_dict().items()})


def run(
    panel: Panel, folder: Path | None, config: TrainerConfig = CONFIG, die_at: int = 0
) -> tuple[Network, Training]:
    def progress(stage: str, done: int, total: int) -> None:
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    network = Network()
    source, validation = source_of(panel)
    logs: list[Log] = [] if folder is None else [CsvLog(folder / "log.csv")]
    done = fit(
        network,
        source,
        objective,
        config,
        validation=validation if config.validate_every else None,
        folder=folder,
        logs=logs,
        progress=progress,
    )
    return network, done


def die_while_writing(at: int, name: str) -> None:
    """Have the process killed within its ``at``-th checkpoint, before file ``name`` is written."""
    write, seen = checkpoint.write_atomic, []

    def deadly(path: Path, data: bytes) -> None:
        seen.extend([path] * (path.name == name))
        if len(seen) == at:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, data)

    checkpoint.write_atomic = deadly


if __name__ == "__main__":
    place, states, step, where = sys.argv[1:]
    torch.set_num_threads(1)
    if where:
        die_while_writing(int(step), where)
    run(Panel.open(Path(place)), Path(states), die_at=0 if where else int(step))
