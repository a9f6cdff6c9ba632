"""Pictures of a market's state as a model sees it: orbits, manifolds, ribbons, delays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.charts import drawn
from reports.downsample import extremes
from reports.plots import INK, PALETTE, QUIET, dated_axis

STRESS, TRIPPED = "#d55e00", "#000000"
WIDTH_INCHES = 6.85
_SHADES = ("#dbe7f1", "#f6dcc8", "#e7c4de", "#cbe9dd")
"""Pale tints of the palette, calmest regime first."""
_BUCKETS = 600
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True)
class Picture:
    """A drawing with what must be said about it.

    Attributes
    ----------
    name : str
        Of letters and underscores; also the file's name.
    title, caption : str
    svg : str
        One ``<svg>`` element.
    """

    name: str
    title: str
    caption: str
    svg: str


def orbit(
    name: str,
    points: np.ndarray,
    regime: np.ndarray,
    axes: Sequence[str],
    *,
    title: str,
    caption: str,
) -> Picture:
    """A path through two coordinates, each point in the colour of its regime.

    Parameters
    ----------
    name : str
    points : numpy.ndarray, shape (t, 2)
        In the order of time.
    regime : numpy.ndarray, shape (t,), int
        0 is the calmest.
    axes : sequence of str
        Labels of the two coordinates.
    title, caption : str
    """

    def paint(figure: Any) -> None:
        figure.set_size_inches(WIDTH_INCHES, 4.2)
        ax = figure.subplots()
        ax.plot(*points.T, color=QUIET, linewidth=0.25, alpha=0.5, rasterized=True)
        _regimes(ax, points, regime, size=5)
        ax.plot(*points[-1], marker="o", color=INK, markersize=5, label="last bar")
        _labelled(ax, axes)
        _legend(ax)

    return _picture(name, title, caption, paint)


def manifold(
    name: str,
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    *,
    title: str,
    caption: str,
) -> Picture:
    """Clouds of points beside each other, coloured by regime.

    Parameters
    ----------
    name : str
    panels : sequence of (str, numpy.ndarray of shape (n, 2), numpy.ndarray of shape (n,))
        Heading, points and regimes of each.
    title, caption : str
    """

    def paint(figure: Any) -> None:
        figure.set_size_inches(WIDTH_INCHES, 3.5 * int(np.ceil(len(panels) / 2)))
        grid = figure.subplots(int(np.ceil(len(panels) / 2)), 2, squeeze=False)
        for ax in grid.ravel()[len(panels) :]:
            ax.set_visible(False)
        for ax, (heading, points, regime) in zip(grid.ravel(), panels, strict=False):
            _regimes(ax, points, regime, size=4)
            ax.set_title(heading, fontsize=8, color=INK)
            ax.set_xticks([])
            ax.set_yticks([])
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=4, markerscale=2.5)

    return _picture(name, title, caption, paint)


def ribbon(
    name: str,
    index: pd.DatetimeIndex,
    close: np.ndarray,
    regime: np.ndarray,
    *,
    title: str,
    caption: str,
) -> Picture:
    """The price on a log scale over a ground in the colour of the regime.

    Parameters
    ----------
    name : str
    index : pandas.DatetimeIndex, shape (t,)
    close : numpy.ndarray, shape (t,)
    regime : numpy.ndarray, shape (t,), int
    title, caption : str
    """

    def paint(figure: Any) -> None:
        figure.set_size_inches(WIDTH_INCHES, 2.8)
        ax = figure.subplots()
        days = _days(index)
        for label in np.unique(regime):
            for first, last in _spells(regime == label):
                ax.axvspan(days[first], days[last], color=_shade(label), linewidth=0)
        rows = extremes(np.log(close), _BUCKETS)
        ax.plot(days[rows], close[rows], color=INK, linewidth=0.9)
        _log_scale(ax)
        ax.set_ylabel("close, log scale")
        ax.grid(visible=False)
        ax.margins(x=0)
        for label in np.unique(regime):
            ax.plot([], [], color=_shade(label), linewidth=6, label=_called(label))
        dated_axis(ax)
        _legend(ax)

    return _picture(name, title, caption, paint)


def leverage(
    name: str,
    index: pd.DatetimeIndex,
    confidence: np.ndarray | None,
    position: np.ndarray,
    tripped: np.ndarray | None,
    *,
    title: str,
    caption: str,
) -> Picture:
    """Confidence that the market is calm, and what is held because of it.

    Parameters
    ----------
    name : str
    index : pandas.DatetimeIndex, shape (t,)
    confidence : numpy.ndarray or None, shape (t,)
        Probability of the calm.
    position : numpy.ndarray, shape (t,)
        Fraction of capital.
    tripped : numpy.ndarray or None, shape (t,), bool
    title, caption : str
    """

    def paint(figure: Any) -> None:
        panels = 1 if confidence is None else 2
        figure.set_size_inches(WIDTH_INCHES, 0.4 + 1.5 * panels)
        axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
        days = _days(index)
        if confidence is not None:
            rows = extremes(confidence, _BUCKETS)
            axes[0].plot(days[rows], confidence[rows], color=PALETTE[0], linewidth=0.8)
            axes[0].set_ylabel("confidence")
            axes[0].set_ylim(-0.03, 1.03)
        rows = extremes(position, _BUCKETS)
        axes[-1].plot(days[rows], position[rows], color=PALETTE[2], linewidth=0.8)
        axes[-1].set_ylabel("exposure")
        if tripped is not None and tripped.any():
            low = min(0.0, float(position.min())) - 0.06
            hit = np.flatnonzero(tripped)
            axes[-1].scatter(
                days[hit], np.full(len(hit), low), s=5, color=TRIPPED, label="kill switch latched"
            )
            _legend(axes[-1])
        axes[-1].margins(x=0)
        dated_axis(axes[-1])

    return _picture(name, title, caption, paint)


def delays(name: str, found: np.ndarray, *, unit: str, title: str, caption: str) -> Picture:
    """How long stress went unseen, spell by spell; the last bar counts those never seen.

    Parameters
    ----------
    name : str
    found : numpy.ndarray, shape (s,)
        Infinite where missed.
    unit : str
        Of the delays.
    title, caption : str
    """

    def paint(figure: Any) -> None:
        figure.set_size_inches(WIDTH_INCHES, 2.3)
        ax = figure.subplots()
        seen, missed = found[np.isfinite(found)], int(np.isinf(found).sum())
        top = max(float(seen.max(initial=0.0)), 1.0)
        counts, edges = np.histogram(seen, bins=min(24, int(top) + 1), range=(0.0, top + 1.0))
        width = edges[1] - edges[0]
        ax.bar(edges[:-1], counts, width=0.92 * width, align="edge", color=PALETTE[0], label="seen")
        if missed:
            ax.bar(
                edges[-1] + width,
                missed,
                width=0.92 * width,
                align="edge",
                color=STRESS,
                label=f"never seen: {missed}",
            )
        if len(found):
            middle = float(np.sort(found)[(len(found) - 1) // 2])
            if np.isfinite(middle):
                ax.axvline(middle, color=INK, linewidth=0.8, label=f"median {middle:g}")
        ax.set_xlabel(f"{unit} from the onset to the first alarm")
        ax.set_ylabel("spells")
        _legend(ax)

    return _picture(name, title, caption, paint)


def _picture(name: str, title: str, caption: str, paint: Callable[[Any], None]) -> Picture:
    return Picture(name, title, caption, drawn(paint, name.replace("_", "-"), title, caption))


def _regimes(ax: Any, points: np.ndarray, regime: np.ndarray, *, size: float) -> None:
    for label in np.unique(regime):
        chosen = points[regime == label]
        ax.scatter(
            *chosen.T,
            s=size,
            linewidths=0,
            alpha=0.7,
            color=PALETTE[int(label) % len(PALETTE)],
            label=_called(label),
            rasterized=True,
        )


def _called(label: int) -> str:
    return f"regime {label}" + (", calmest" if label == 0 else "")


def _shade(label: int) -> str:
    return _SHADES[int(label) % len(_SHADES)]


def _log_scale(ax: Any) -> None:
    """Plain numbers at 1, 2 and 5 of each power of ten: mathematical text is switched off."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _days(index: pd.DatetimeIndex) -> np.ndarray:
    return index.as_unit("ns").asi8 / _DAY_NS


def _spells(flag: np.ndarray) -> list[tuple[int, int]]:
    """First row of each run of true and the row after it, the last row at most."""
    change = np.diff(np.concatenate([[False], flag, [False]]).astype(np.int8))
    ends = np.minimum(np.flatnonzero(change == -1), len(flag) - 1)
    return list(zip(np.flatnonzero(change == 1).tolist(), ends.tolist(), strict=True))


def _labelled(ax: Any, axes: Sequence[str]) -> None:
    ax.set_xlabel(axes[0])
    ax.set_ylabel(axes[1])
    ax.grid(visible=True, axis="both")


def _legend(ax: Any) -> None:
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        borderaxespad=0.2,
        handlelength=1.4,
        markerscale=2.0,
    )
