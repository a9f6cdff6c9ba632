"""A limit-order book under Hawkes flow: events per second of the flow alone and of the whole book.

Nothing is timed unless every side's rates of events agree with the closed form, and the compiled
book's quotes with those of its own code interpreted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import numpy as np

from benchmarks.report import Cell, Options, Report, Table
from benchmarks.timing import Protocol, interleaved
from finchaos.core.provenance import random_stream, stream_seed
from finchaos.markets.simulate import book_kernel
from finchaos.markets.simulate.book_config import CALM, OrderBookConfig
from finchaos.markets.simulate.book_kernel import Fills, Snapshots
from finchaos.markets.simulate.hawkes import HawkesEvents, simulate_hawkes
from finchaos.markets.simulate.order_book import simulate_order_book

CONFIG = replace(OrderBookConfig(), regimes=(CALM,))
LAW = CONFIG.laws[0]
SEED = 1
_ERRORS = 5.0
_BLOCK = 1 << 14
OURS, INTERPRETED = "ours, compiled", "ours, the same code interpreted"
WHOLE = "ours, with the flow and depth"
ABSENT = "tick is not installed, and no dependency of finchaos; pip install tick measures it."
COLUMNS = ("side", "events run", "events a second", "n", "side's time / ours")


@dataclass(frozen=True)
class Sizes:
    """Seconds of the market that each side runs for; about 3.8 events each."""

    ours: float = 260_000.0
    tick: float = 130_000.0
    plain: float = 5_000.0


FULL = Sizes()


def run(options: Options, sizes: Sizes = FULL) -> Report:
    """The flow against its peers, and the book against its own code interpreted."""
    return Report("order_book", (_flow(options.protocol, sizes), _book(options.protocol, sizes)))


def _flow(protocol: Protocol, sizes: Sizes) -> Table:
    jobs: dict[str, tuple[Callable[[], np.ndarray], float]] = {
        OURS: (partial(_ours, sizes.ours), sizes.ours),
        "plain Python, thinning over lists": (partial(_thinning, sizes.plain), sizes.plain),
    }
    notes = [f"{len(LAW.decay)} decays, branching ratio {LAW.branching_ratio:.2f}"]
    if find_spec("tick") is None:
        notes.append(ABSENT)
    else:
        jobs["tick, SimuHawkesSumExpKernels"] = (partial(_tick, sizes.tick), sizes.tick)

    def check(found: dict[str, np.ndarray]) -> None:
        for name, counts in found.items():
            horizon = jobs[name][1]
            errors = np.sqrt(np.diag(LAW.count_covariance) / horizon)
            # The past is empty at the start: a few events are missing there.
            if (np.abs(counts / horizon - LAW.mean_rate) > _ERRORS * errors + 30 / horizon).any():
                raise RuntimeError(f"{name}: rates {counts / horizon}, should be {LAW.mean_rate}")

    spent = interleaved({name: job for name, (job, _) in jobs.items()}, protocol, check)
    events = {name: float(LAW.mean_rate.sum() * horizon) for name, (_, horizon) in jobs.items()}
    rows = _rows({name: (events[name], spent[name].median, spent[name].n) for name in jobs})
    return Table("Hawkes flow of six channels", COLUMNS, rows, tuple(notes))


def _rows(found: dict[str, tuple[float, float, int]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows of events, seconds and rounds of every side; ours comes first."""
    each = {name: seconds / events for name, (events, seconds, _) in found.items()}
    return tuple(
        (
            name,
            round(events),
            1.0 / each[name],
            n,
            None if name == OURS else each[name] / each[OURS],
        )
        for name, (events, _, n) in found.items()
    )


def _ours(horizon: float) -> np.ndarray:
    events = simulate_hawkes(LAW, horizon, random_stream(SEED, "benchmark/order_book/flow"))
    return np.bincount(events.channel, minlength=LAW.channels)


def _tick(horizon: float) -> np.ndarray:
    from tick.hawkes import SimuHawkesSumExpKernels

    shares = np.array(LAW.excitation) / np.array(LAW.decay)[:, None, None]
    simulation = SimuHawkesSumExpKernels(
        adjacency=np.ascontiguousarray(shares.transpose(1, 2, 0)),
        decays=np.array(LAW.decay),
        baseline=np.array(LAW.base),
        end_time=horizon,
        verbose=False,
        seed=stream_seed(SEED, "benchmark/order_book/tick") % (1 << 31),
    )
    simulation.simulate()
    return np.array([len(times) for times in simulation.timestamps])


def _uniform(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(_BLOCK).tolist()


def _thinning(horizon: float) -> np.ndarray:
    """Ogata's algorithm as one would write it without arrays."""
    draw = _uniform(random_stream(SEED, "benchmark/order_book/thinning"))
    channels, parts = range(LAW.channels), range(len(LAW.decay))
    excited = [[0.0] * LAW.channels for _ in parts]
    counts, clock = [0] * LAW.channels, 0.0
    base = sum(LAW.base)
    while True:
        bound = base + sum(map(sum, excited))
        wait = -float(np.log1p(-next(draw))) / bound
        clock += wait
        if clock > horizon:
            return np.array(counts)
        for p in parts:
            fade = float(np.exp(-LAW.decay[p] * wait))
            excited[p] = [fade * value for value in excited[p]]
        mark = next(draw) * bound
        for i in channels:
            mark -= LAW.base[i] + sum(excited[p][i] for p in parts)
            if mark < 0.0:
                counts[i] += 1
                for p in parts:
                    row = LAW.excitation[p]
                    excited[p] = [excited[p][k] + row[k][i] for k in channels]
                break


def _book(protocol: Protocol, sizes: Sizes) -> Table:
    long, short = _events(sizes.ours), _events(sizes.plain)
    if (_quotes(short, book_kernel.run_book) != _quotes(short, _interpreted())).any():
        raise RuntimeError("the compiled book and its own code interpreted give other quotes")
    jobs = {
        OURS: lambda: _quotes(long, book_kernel.run_book),
        INTERPRETED: lambda: _quotes(short, _interpreted()),
        WHOLE: lambda: _market(sizes.ours),
    }
    spent = interleaved(jobs, protocol)
    run_by = {OURS: len(long), INTERPRETED: len(short), WHOLE: len(_market(sizes.ours))}
    rows = _rows({name: (run_by[name], spent[name].median, spent[name].n) for name in jobs})
    notes = ("the last line draws its flow too, and looks at five levels of depth every minute",)
    return Table("A limit-order book under that flow: trades and quotes", COLUMNS, rows, notes)


def _market(horizon: float) -> np.ndarray:
    rng = random_stream(SEED, "benchmark/order_book/market")
    minutes = np.arange(0.0, horizon, 60.0)
    return simulate_order_book(CONFIG, horizon, rng, depth_times=minutes).bid


def _events(horizon: float) -> HawkesEvents:
    return simulate_hawkes(LAW, horizon, random_stream(SEED, "benchmark/order_book/events"))


def _quotes(flow: HawkesEvents, kernel: Callable[..., Any]) -> np.ndarray:
    quotes = np.empty((len(flow), 4), dtype=np.int64)
    room = 2 * len(flow) + 2 * CONFIG.placement_levels
    fills = Fills(*(np.empty(room, dtype=np.int64) for _ in range(3)))
    none = Snapshots(np.empty(0), *(np.empty((0, 2, 1), dtype=np.int64) for _ in range(2)))
    rng = random_stream(SEED, "benchmark/order_book/orders")
    kernel(CONFIG.open(), CONFIG.rules(), flow.time, flow.channel, rng, quotes, fills, none)
    return quotes


def _interpreted() -> Callable[..., Any]:
    """``run_book`` and all that it calls as plain Python."""
    space: dict[str, Any] = dict(vars(book_kernel))
    for name, kernel in vars(book_kernel).items():
        if hasattr(kernel, "py_func"):
            space[name] = FunctionType(kernel.py_func.__code__, space)
    found: Callable[..., Any] = space["run_book"]
    return found
