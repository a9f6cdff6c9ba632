"""Charts of exhibits as SVG by matplotlib, byte for byte repeatable.

Nothing of matplotlib's global state stays changed, and none of the user's settings is read.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

from governance.record import Exhibit
from reports import plots
from reports.plots import INK, PANEL_INCHES, QUIET, WIDTH_INCHES
from reports.series import made_mark
from reports.svg import cleaned

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": QUIET,
    "axes.formatter.use_mathtext": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "grid.color": "#dde2e7",
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "path.simplify": True,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "finchaos",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": QUIET,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.color": QUIET,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7.5,
}


def draw(exhibit: Exhibit, prefix: str, description: str) -> str:
    """The exhibit's chart as one ``<svg>`` element.

    Parameters
    ----------
    exhibit : Exhibit
        Of any kind but ``table``.
    prefix : str
        Put before every id in the drawing.
    description : str
        Alternate text; the exhibit's title is added to it.
    """

    def paint(figure: Any) -> None:
        _KINDS[exhibit.kind](figure, exhibit)
        _mark_made_data(figure, exhibit)

    return drawn(paint, prefix, exhibit.title, description)


def drawn(paint: Callable[[Any], None], prefix: str, title: str, description: str) -> str:
    """What ``paint`` puts on a matplotlib figure, as one ``<svg>`` element in the house style.

    Parameters
    ----------
    paint : callable
        Called with the figure.
    prefix : str
        Put before every id in the drawing.
    title, description : str
        Read out to those who cannot see it.
    """
    import matplotlib
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with (
        warnings.catch_warnings(),
        matplotlib.rc_context(),
        matplotlib.style.context(["default", _STYLE]),
    ):
        # Text stays text: the reader's own typeface has the glyph that matplotlib's lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        figure = Figure(figsize=(WIDTH_INCHES, PANEL_INCHES))
        FigureCanvasSVG(figure)
        paint(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return cleaned(buffer.getvalue(), prefix, title, description)


def _mark_made_data(figure: Any, exhibit: Exhibit) -> None:
    """Write into the picture itself that its data are not a recorded market."""
    ax = figure.axes[0]
    ax.text(
        1,
        1.01,
        made_mark(exhibit),
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        fontsize=7,
        color=QUIET,
    )


_KINDS: dict[str, Callable[[Any, Exhibit], None]] = {
    "time_series": plots.time_series,
    "line": plots.line,
    "bar": plots.bar,
    "scatter": plots.scatter,
    "heatmap": plots.heatmap,
}
