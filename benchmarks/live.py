"""One bar through the whole paper loop: store, guard, features, network, account, journal, state.

The peer is the same loop with the network stepped in PyTorch, block by block.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.report import Cell, Options, Report, Table
from benchmarks.timing import Protocol, Samples, interleaved_calls
from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from finchaos.core.signals import Signal
from finchaos.live.events import Delivered
from finchaos.live.session import JOURNAL, PaperSession
from finchaos.markets.simulate.heston import HestonConfig, HestonRegime, simulate
from finchaos.models.mamba_regime import LatentReplay
from finchaos.subjects.mamba_regime import MambaRegime, build

SEED, HISTORY, AGREED_BARS = 7, 700, 32
TOLERANCE = 1e-9
"""Largest difference of the two loops' probabilities of stress over :data:`AGREED_BARS`."""
PARAMS = {
    "pretrain_paths": 12,
    "pretrain_bars": 400,
    "pretrain_steps": 30,
    "pretrain_batch": 8,
    "pretrain_rate": 1e-2,
    "finetune_steps": 5,
    "finetune_batch": 4,
    "window_bars": 96,
    "burn_in_bars": 32,
    "warmup_bars": 100,
}
"""Short training; the sizes of the network are the model's own."""
OURS, FLUSHED, TORCH, ALONE = "loop", "flushed", "torch", "model"
NAMES = {
    OURS: "ours, whole loop",
    FLUSHED: "ours, whole loop, every write flushed to the disk",
    TORCH: "whole loop, network stepped in PyTorch",
    ALONE: "ours, the model's session alone",
}


def run(options: Options) -> Report:
    """The table of latencies per bar."""
    protocol = options.protocol
    bars = market(HISTORY + AGREED_BARS + protocol.calls + 3 * protocol.block)
    history, rest = bars.rows(0, HISTORY), bars.rows(HISTORY)
    model = build(PARAMS, seed=SEED).fit(history, seed=SEED)
    times = measure(model, history, rest, protocol)
    base = times[OURS]
    columns = ("path", "p50 us", "p99 us", "min us", "n", "p50 / ours", "p99 / ours")
    rows = [_row(NAMES[key], spent, base) for key, spent in times.items()]
    sizes = model.settings
    notes = (
        f"mamba_regime of {sizes.n_layers} layers of width {sizes.d_model}, features "
        f"{sizes.features}; wall time of a bar, one thread, blocks of {protocol.block} bars in "
        "turn.",
        "The whole loop writes the bar to the store, decides, fills, and writes journal and state "
        f"before the next bar. Both loops decided alike over {AGREED_BARS} bars before anything "
        "was timed.",
        f"Flushing costs what the disk costs: here the folder {tempfile.gettempdir()}.",
    )
    return Report("live", (Table("A bar through the paper loop", columns, tuple(rows), notes),))


def market(count: int) -> Bars:
    """A Heston market with a calm and a stressed regime."""
    regimes = (
        HestonRegime(6.0, 0.01, 0.2, -0.7, 0.08, 120.0),
        HestonRegime(6.0, 0.12, 0.5, -0.7, -0.2, 60.0),
    )
    stream = random_stream(SEED, "benchmark/live")
    return simulate(HestonConfig(regimes), 1, count, stream, seed=SEED).bars(0)


def measure(
    model: MambaRegime, history: Bars, rest: Bars, protocol: Protocol
) -> dict[str, Samples]:
    """Wall times of single bars by path.

    Raises
    ------
    RuntimeError
        If the loops decide differently.
    """
    peer = in_torch(model)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        root = Path(folder)

        def loop(name: str, subject: MambaRegime, sync: bool) -> Callable[[], None]:
            session = opened.enter_context(
                PaperSession.open(root / name, subject, history=history, sync=sync)
            )
            events = (Delivered(rest[row]) for row in range(len(rest)))
            return lambda: session.handle(next(events))

        steps: dict[str, Callable[[], object]] = {
            OURS: loop(OURS, model, False),
            FLUSHED: loop(FLUSHED, model, True),
            TORCH: loop(TORCH, peer, False),
            ALONE: _alone(model, history, rest),
        }
        for step in steps.values():
            for _ in range(AGREED_BARS):
                step()
        _compare(root / OURS, root / TORCH)
        return interleaved_calls(steps, protocol)


def in_torch(model: MambaRegime) -> MambaRegime:
    """The same model, its network stepped in PyTorch."""
    if model.fitted is None:
        raise RuntimeError("the model is not trained")
    fitted = dataclasses.replace(model.fitted)
    fitted.__dict__["replay"] = LatentReplay(fitted.network, backend="torch")
    return dataclasses.replace(model, fitted=fitted)


def _alone(model: MambaRegime, history: Bars, rest: Bars) -> Callable[[], Signal]:
    stream = model.open(history)
    bars: Iterator[int] = iter(range(len(rest)))
    return lambda: stream.step(rest[next(bars)])


def _compare(ours: Path, theirs: Path) -> None:
    found = [np.array(_stress(folder)) for folder in (ours, theirs)]
    difference = float(np.abs(found[0] - found[1]).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(f"the loops differ by {difference:.2g}; nothing was timed")


def _stress(folder: Path) -> list[float]:
    lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
    entries = map(json.loads, lines)
    return [entry["stress"] for entry in entries if entry["event"] == "decision"]


def _row(name: str, spent: Samples, base: Samples) -> tuple[Cell, ...]:
    median, tail = spent.median, spent.quantile(0.99)
    return (
        name,
        1e6 * median,
        1e6 * tail,
        1e6 * spent.minimum,
        spent.n,
        median / base.median,
        tail / base.quantile(0.99),
    )
