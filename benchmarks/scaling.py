"""Cost of a forward and backward pass as the sequence doubles: ours must stay linear.

Slope 1 on logarithmic axes is linear, slope 2 quadratic. The figure shows all sides.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.peers import MAMBA2_64, MAMBA_64, PEERS, Shape
from benchmarks.report import Options, Report, Table
from benchmarks.stacks import OURS, Case, measure

LINEAR = 1.1
"""A slope up to this is called linear."""


@dataclass(frozen=True)
class Curve:
    """What is run at which lengths.

    Attributes
    ----------
    shape : Shape
    batch : int
    lengths : tuple of int
        Ours is run at all of them.
    longest : mapping of str to int
        By peer: the last length that fits memory and patience.
    """

    shape: Shape
    batch: int
    lengths: tuple[int, ...]
    longest: Mapping[str, int]


_LENGTHS = tuple(2**k for k in range(7, 16))
CURVES = (
    Curve(MAMBA_64, 4, _LENGTHS, {"mambapy": 8192, "transformers": 512, "transformer": 8192}),
    Curve(MAMBA2_64, 4, _LENGTHS, {"transformers_64": 8192, "transformer": 8192}),
)
Points = dict[str, dict[int, float]]


def curve_points(curve: Curve, options: Options) -> Points:
    """Median seconds by side and length."""
    points: Points = {}
    for steps in curve.lengths:
        peers = tuple(key for key, last in curve.longest.items() if steps <= last)
        found = measure(Case(curve.shape, curve.batch, steps, peers), options, backward=True)
        for key, spent in found.times.items():
            points.setdefault(key, {})[steps] = spent.median
    return points


def slope(times: Mapping[int, float]) -> float:
    """Least-squares slope of log time over log length.

    Examples
    --------
    >>> round(slope({1: 2.0, 2: 8.0, 4: 32.0}), 6)
    2.0
    """
    lengths, seconds = np.log(list(times)), np.log(list(times.values()))
    return float(np.polyfit(lengths, seconds, 1)[0])


def run(options: Options, wanted: tuple[Curve, ...] = CURVES) -> Report:
    """Tables of times and slopes, and the figure."""
    found = [(curve, curve_points(curve, options)) for curve in wanted]
    tables = tuple(_table(curve, points) for curve, points in found)
    figures = {ending: _figure(found, ending) for ending in ("svg", "png")}
    return Report("scaling", tables, figures)


def _table(curve: Curve, points: Points) -> Table:
    columns = ("side", *(f"L{steps} ms" for steps in curve.lengths), "slope", "worst doubling")
    rows = []
    for key, times in points.items():
        cells = [None if steps not in times else 1e3 * times[steps] for steps in curve.lengths]
        rows.append((_name(key), *cells, slope(times), _worst_doubling(times)))
    found = slope(points[OURS])
    verdict = "linear" if found <= LINEAR else "NOT linear"
    notes = (
        f"Ours is {verdict}: slope {found:.3f} on logarithmic axes from L{curve.lengths[0]} to "
        f"L{curve.lengths[-1]}, linear being at most {LINEAR:g}.",
        "Worst doubling: largest factor of time between two neighbouring lengths, per doubling.",
        "A dash: does not fit the memory, or takes minutes.",
    )
    title = f"Forward and backward over length, {curve.shape.label}, B{curve.batch}"
    return Table(title, columns, tuple(rows), notes)


def _worst_doubling(times: Mapping[int, float]) -> float:
    ordered = sorted(times.items())
    neighbours = pairwise(ordered)
    return max(
        (
            (after / before) ** (1.0 / math.log2(longer / shorter))
            for (shorter, before), (longer, after) in neighbours
        ),
        default=math.nan,
    )


def _figure(found: list[tuple[Curve, Points]], ending: str) -> bytes:
    style: Any = {"svg.hashsalt": "finchaos", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    sides = dict.fromkeys(key for _, points in found for key in points)
    colors = {key: f"C{i}" for i, key in enumerate(sides)}
    with mpl.rc_context(style):
        figure = Figure(figsize=(5.2 * len(found), 4.0), layout="constrained")
        axes = figure.subplots(1, len(found), squeeze=False)[0]
        for axis, (curve, points) in zip(axes, found, strict=True):
            for key, times in points.items():
                label, color = f"{_name(key)}, slope {slope(times):.2f}", colors[key]
                width = 2.5 if key == OURS else 1.2
                look: Any = {"lw": width, "ms": 3, "label": label, "color": color}
                axis.loglog(list(times), list(times.values()), "o-", **look)
            axis.set_title(f"{curve.shape.label}, B{curve.batch}")
            axis.set_xscale("log", base=2)
            axis.set_xlabel("steps")
            axis.set_ylabel("forward and backward, s of CPU time")
            axis.legend(fontsize=7)
        buffer = io.BytesIO()
        dated = {"metadata": {"Date": None}} if ending == "svg" else {"dpi": 150}
        figure.savefig(buffer, format=ending, **dated)
        return buffer.getvalue()


def _name(key: str) -> str:
    return "ours" if key == OURS else PEERS[key].name
