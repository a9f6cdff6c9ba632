"""Benchmarks that are one number against one peer."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import bootstrap
from benchmarks.compare import Comparison
from benchmarks.report import Options, Report, Table


def sharpe(options: Options) -> Report:
    """Interval of a Sharpe ratio by the stationary bootstrap."""
    found = [bootstrap.sharpe_interval(options.protocol.rounds)]
    return Report("bootstrap", (table("Stationary bootstrap", found),))


def s4d(options: Options) -> Report:
    """The S4D kernel and its filters."""
    from benchmarks import s4d as measured

    rounds = options.protocol.rounds
    found = [*measured.s4d_kernel(rounds), *measured.s4d_filters(rounds)]
    return Report("s4d", (table("S4D", found),))


def table(title: str, found: Iterable[Comparison]) -> Table:
    """One row a comparison."""
    columns = ("work", "peer", "ours median ms", "peer median ms", "n", "peer / ours")
    rows = tuple(
        (one.work, one.peer, 1e3 * one.ours_s, 1e3 * one.peer_s, one.rounds, one.ratio)
        for one in found
    )
    return Table(title, columns, rows)
