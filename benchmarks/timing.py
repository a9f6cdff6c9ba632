"""How the benchmarks measure time: interleaved rounds, process CPU time, medians.

All sides of a comparison run in turn in one process with one thread, so that what disturbs the
machine disturbs them alike. A round's cost is the processor time of this process, which a loaded
machine lengthens less than wall time; single steps of microseconds are measured by the wall clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


@dataclass(frozen=True)
class Protocol:
    """How often things are repeated.

    Attributes
    ----------
    rounds : int
        Timed rounds of a job whose call takes at most ``slow_s``.
    warmups : int
        Untimed calls before; one for a slow job.
    slow_s, very_slow_s : float
        From there on a job gets ``slow_rounds`` and one round. Seconds.
    slow_rounds : int
    calls : int
        Timed calls of a single step.
    block : int
        Calls of one side before the next side has its turn.
    """

    rounds: int = 7
    warmups: int = 2
    slow_s: float = 5.0
    very_slow_s: float = 20.0
    slow_rounds: int = 3
    calls: int = 1000
    block: int = 50

    def rounds_of(self, seconds: float) -> int:
        """Timed rounds of a job whose first call took so long.

        Examples
        --------
        >>> Protocol().rounds_of(1.0), Protocol().rounds_of(6.0), Protocol().rounds_of(60.0)
        (7, 3, 1)
        """
        if seconds <= self.slow_s:
            return self.rounds
        return min(self.rounds, self.slow_rounds if seconds <= self.very_slow_s else 1)


STANDARD = Protocol()


@dataclass(frozen=True)
class Samples:
    """Durations of one job, in seconds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        """The shortest."""
        return min(self.seconds)

    @property
    def n(self) -> int:
        """How many."""
        return len(self.seconds)

    def quantile(self, level: float) -> float:
        """The duration that a share ``level`` does not exceed."""
        return float(np.quantile(self.seconds, level))


def interleaved(
    jobs: Mapping[str, Callable[[], Result]],
    protocol: Protocol,
    check: Callable[[dict[str, Result]], None] | None = None,
) -> dict[str, Samples]:
    """Process CPU time of every job, the jobs in turn in each round.

    Parameters
    ----------
    jobs : mapping of str to callable
    protocol : Protocol
    check : callable, optional
        Sees the result of every job's first call before anything is timed, and raises where they
        disagree.
    """
    first, rounds = {}, {}
    for name, job in jobs.items():
        start = time.process_time()
        first[name] = job()
        rounds[name] = protocol.rounds_of(time.process_time() - start)
    if check is not None:
        check(first)
    first.clear()
    for _ in range(1, protocol.warmups):
        for name, job in jobs.items():
            if rounds[name] == protocol.rounds:
                job()
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(protocol.rounds):
        for name, job in jobs.items():
            if turn < rounds[name]:
                start = time.process_time()
                job()
                spent[name].append(time.process_time() - start)
    return {name: Samples(tuple(times)) for name, times in spent.items()}


def interleaved_calls(
    steps: Mapping[str, Callable[[], object]], protocol: Protocol
) -> dict[str, Samples]:
    """Wall time of single calls, blocks of each side in turn; one block each to warm up."""
    spent: dict[str, list[int]] = {name: [] for name in steps}
    blocks = -(-protocol.calls // protocol.block)
    for _ in range(blocks + 1):
        for name, step in steps.items():
            times = spent[name]
            for _ in range(protocol.block):
                start = time.perf_counter_ns()
                step()
                times.append(time.perf_counter_ns() - start)
    return {
        name: Samples(tuple(1e-9 * t for t in times[protocol.block :]))
        for name, times in spent.items()
    }
