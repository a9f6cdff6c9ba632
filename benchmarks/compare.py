"""Timing two ways of doing the same work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.timing import Protocol, interleaved


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
    work: str, peer: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> Comparison:
    """Run both to warm up, then in turn ``rounds`` times."""
    spent = interleaved({"ours": ours, "theirs": theirs}, Protocol(rounds=rounds))
    medians = spent["ours"].median, spent["theirs"].median
    return Comparison(work, peer, *medians, spent["theirs"].n)
