"""Timing two ways of doing the same work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Medians of interleaved process times, in seconds of processor time.

    Attributes
    ----------
    work, peer : str
    ours_s, peer_s : float
    rounds : int
    """

    work: str
    peer: str
    ours_s: float
    peer_s: float
    rounds: int

    @property
    def ratio(self) -> float:
        """How many times the peer's time ours is faster."""
        return self.peer_s / self.ours_s


def compare(
    work: str, peer: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 5
) -> Comparison:
    """Run both once to warm up, then in turn ``rounds`` times."""
    ours(), theirs()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for times, job in zip(spent, (ours, theirs), strict=True):
            start = time.process_time()
            job()
            times.append(time.process_time() - start)
    return Comparison(work, peer, statistics.median(spent[0]), statistics.median(spent[1]), rounds)
