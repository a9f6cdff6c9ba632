"""One function per kind of exhibit: put it on a matplotlib figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import numpy as np

from governance.record import Column, Exhibit
from reports.downsample import extremes
from reports.numbers import unit_style
from reports.series import Series, numbers_of, panels_of, seconds_of, series_of
from reports.tables import words

INK, QUIET = "#1b2733", "#5a6672"
PALETTE = ("#0b4f8a", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours after Okabe and Ito (2008), told apart by the colour-blind; black comes last."""
WIDTH_INCHES, PANEL_INCHES = 5.4, 1.6
_LONGEST_INCHES = 8.6
_BUCKETS = 450
_MOST_MARKS = 2_000
_MOST_CELLS = 3_000
_MOST_WRITTEN_CELLS = 150
_MANY_BARS, _LONG_LABEL, _LONGEST_LABEL = 8, 10, 36


def time_series(figure: Any, exhibit: Exhibit) -> None:
    """Curves over time, one pair of axes per unit."""
    days = seconds_of(exhibit.columns[0]) / 86_400.0
    dated_axis(_lines(figure, exhibit, days)[-1])


def dated_axis(ax: Any) -> None:
    """Dates below axes whose horizontal coordinate counts days since 1970 UTC."""
    import matplotlib.dates

    dates: Any = matplotlib.dates
    locator = dates.AutoDateLocator(tz=UTC, minticks=4, maxticks=10)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))


def line(figure: Any, exhibit: Exhibit) -> None:
    """Curves over the numbers or categories of the first column."""
    first = exhibit.columns[0]
    if any(isinstance(value, str) for value in first.values):
        axes = _lines(figure, exhibit, np.arange(len(first.values), dtype=np.float64))
        axes[-1].set_xticks(range(len(first.values)), [cut(str(v)) for v in first.values])
    else:
        axes = _lines(figure, exhibit, numbers_of(first))
    axes[-1].set_xlabel(_axis_label(first))


def _lines(figure: Any, exhibit: Exhibit, x: np.ndarray) -> Sequence[Any]:
    panels = panels_of(exhibit)
    figure.set_size_inches(
        WIDTH_INCHES, 0.4 + (PANEL_INCHES if len(panels) == 1 else 1.2 * len(panels))
    )
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for number, (ax, (unit, items)) in enumerate(zip(axes, panels, strict=True)):
        for place, item in enumerate(items):
            _curve(ax, x, item, PALETTE[place % len(PALETTE)], dashed=place >= len(PALETTE))
        label = exhibit.y_label if number == 0 else ""
        ax.set_ylabel(cut(label or unit_style(unit).heading or items[0].label))
        _legend(ax, len(items))
        ax.margins(x=0.01)
    return axes


def _curve(ax: Any, x: np.ndarray, item: Series, colour: str, *, dashed: bool) -> None:
    y = numbers_of(item.column)
    rows = extremes(y, _BUCKETS)
    levels = len(np.unique(y[~np.isnan(y)]))
    ax.plot(
        x[rows],
        y[rows],
        color=colour,
        label=cut(item.label),
        linestyle="--" if dashed else "-",
        drawstyle="steps-post" if levels <= 6 and len(y) > 24 else "default",
        marker="o" if len(y) <= 24 else "",
        markersize=3,
    )
    if item.low is not None and item.high is not None:
        ax.fill_between(
            x[rows],
            numbers_of(item.low)[rows],
            numbers_of(item.high)[rows],
            color=_pale(colour),
            linewidth=0,
            zorder=0.5,
        )


def _pale(colour: str) -> str:
    """An opaque tint: translucent fills multiply the objects of a PDF."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * 0.18):02x}" for part in parts)


def bar(figure: Any, exhibit: Exhibit) -> None:
    """Bars per category, lying where there are many or their names are long."""
    items = series_of(exhibit)
    labels = ["" if v is None else cut(str(v)) for v in exhibit.columns[0].values]
    flat = len(labels) > _MANY_BARS or max(map(len, labels), default=0) > _LONG_LABEL
    if flat:
        labels = ["" if v is None else in_lines(str(v)) for v in exhibit.columns[0].values]
        lines = 0.24 if any("\n" in label for label in labels) else 0.17
        height = 0.7 + len(labels) * max(lines, 0.11 * len(items))
        figure.set_size_inches(WIDTH_INCHES, min(height, _LONGEST_INCHES))
    else:
        figure.set_size_inches(WIDTH_INCHES, 0.45 + PANEL_INCHES)
    ax = figure.subplots()
    places = np.arange(len(labels), dtype=np.float64)
    group = 0.76 if flat else 0.76 * min(1.0, 0.15 + 0.1 * len(labels) * len(items))
    thickness = group / len(items)
    for k, item in enumerate(items):
        offset = (k - (len(items) - 1) / 2) * thickness
        _bars(ax, places + offset, item, thickness, PALETTE[k % len(PALETTE)], flat=flat)
    value_label = exhibit.y_label or unit_style(items[0].column.unit).heading or items[0].label
    if flat:
        ax.set_yticks(places, labels)
        ax.invert_yaxis()
        ax.set_xlabel(cut(value_label))
        ax.grid(visible=False, axis="y")
        ax.grid(visible=True, axis="x")
        ax.axvline(0, color=QUIET, linewidth=0.6)
        ax.margins(y=0.01)
    else:
        ax.set_xticks(places, labels)
        ax.set_ylabel(cut(value_label))
        ax.axhline(0, color=QUIET, linewidth=0.6)
    _legend(ax, len(items))


def _bars(
    ax: Any, places: np.ndarray, item: Series, thickness: float, colour: str, *, flat: bool
) -> None:
    values = numbers_of(item.column)
    spread = None
    if item.low is not None and item.high is not None:
        spread = np.abs(np.vstack([values - numbers_of(item.low), numbers_of(item.high) - values]))
    whiskers = {"elinewidth": 0.8, "capsize": 1.5, "ecolor": INK}
    paint = {"color": colour, "label": cut(item.label), "error_kw": whiskers}
    if flat:
        ax.barh(places, values, height=thickness, xerr=spread, **paint)
    else:
        ax.bar(places, values, width=thickness, yerr=spread, **paint)


def scatter(figure: Any, exhibit: Exhibit) -> None:
    """Points over the first column."""
    figure.set_size_inches(WIDTH_INCHES, 2.9)
    ax = figure.subplots()
    x = numbers_of(exhibit.columns[0])
    items = series_of(exhibit)
    for k, item in enumerate(items):
        ax.scatter(
            x,
            numbers_of(item.column),
            s=9,
            color=PALETTE[k % len(PALETTE)],
            linewidths=0,
            label=cut(item.label),
            rasterized=len(x) > _MOST_MARKS,
        )
    ax.grid(visible=True, axis="both")
    ax.set_xlabel(_axis_label(exhibit.columns[0]))
    ax.set_ylabel(cut(exhibit.y_label) or _axis_label(items[0].column))
    _legend(ax, len(items))


def heatmap(figure: Any, exhibit: Exhibit) -> None:
    """A coloured grid: diverging where signs differ; small ones carry their numbers."""
    labels = [cut(str(value)) for value in exhibit.columns[0].values]
    columns = exhibit.columns[1:]
    grid = np.column_stack([numbers_of(column) for column in columns])
    figure.set_size_inches(WIDTH_INCHES, min(0.9 + 0.19 * len(labels), _LONGEST_INCHES))
    ax = figure.subplots()
    ax.grid(visible=False)
    known = grid[~np.isnan(grid)]
    low, high = float(known.min()), float(known.max())
    signed = low < 0 < high
    reach = max(-low, high)
    limits = {"vmin": -reach, "vmax": reach} if signed else {"vmin": low, "vmax": high}
    mesh = ax.pcolormesh(
        grid,
        cmap="PuOr" if signed else "Blues",
        edgecolors="white",
        linewidth=0.4 if grid.size <= _MOST_CELLS else 0.0,
        rasterized=grid.size > _MOST_CELLS,
        **limits,
    )
    ax.set_yticks(np.arange(len(labels)) + 0.5, labels)
    ax.set_xticks(np.arange(len(columns)) + 0.5, [cut(column.name) for column in columns])
    if max(len(column.name) for column in columns) > max(4, 60 // len(columns)):
        ax.tick_params(axis="x", labelrotation=45)
    ax.tick_params(length=0)
    ax.invert_yaxis()
    bar = figure.colorbar(mesh, ax=ax, pad=0.01, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label(cut(exhibit.y_label or unit_style(columns[0].unit).heading))
    if grid.size <= _MOST_WRITTEN_CELLS:
        _write_cells(ax, grid, mesh)


def _write_cells(ax: Any, grid: np.ndarray, mesh: Any) -> None:
    from matplotlib.colors import to_rgb

    for (row, column), value in np.ndenumerate(grid):
        if np.isnan(value):
            continue
        shade = np.dot(to_rgb(mesh.cmap(mesh.norm(value))[:3]), (0.299, 0.587, 0.114))
        colour = INK if shade > 0.55 else "white"
        ax.text(
            column + 0.5,
            row + 0.5,
            f"{value:.2g}",
            ha="center",
            va="center",
            fontsize=6.5,
            color=colour,
        )


def _axis_label(column: Column) -> str:
    heading = unit_style(column.unit).heading
    return cut(f"{words(column.name)} ({heading})" if heading else words(column.name))


def cut(text: str) -> str:
    """A label that leaves room for the drawing; full names stand in the tables."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}\u2026"


def in_lines(text: str) -> str:
    """A label beside a lying bar, in two lines where it is long.

    Examples
    --------
    >>> in_lines("reconstructed, seed 1: flash_crash_2010_minutes")
    'reconstructed, seed 1:\\nflash_crash_2010_minutes'
    """
    return "\n".join(textwrap.wrap(text, _LONGEST_LABEL, max_lines=2, placeholder="\u2026"))


def _legend(ax: Any, count: int) -> None:
    if count > 1:
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=min(count, 6),
            borderaxespad=0.2,
            handlelength=1.4,
            columnspacing=1.4,
        )
