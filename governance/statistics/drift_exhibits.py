"""Tables and charts behind drift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from governance.record import Column, Exhibit
from governance.splits import Fold
from governance.statistics.drift import ComparedSeries
from governance.statistics.null_distances import LEAST_ROWS
from governance.statistics.panels import Panel
from governance.statistics.series_reference import SeriesReference

LEAST_ROWS_OF_YEAR = 20


def index_exhibit(check: str, compared: Sequence[ComparedSeries], rate: float) -> Exhibit:
    """Bars of the stability index beside its limit."""
    return Exhibit(
        check=check,
        name="psi",
        title="Population stability index of test rows against training rows",
        kind="bar",
        columns=(
            Column(name="series", values=tuple(series.label for series in compared)),
            Column(name="index", values=tuple(s.found["psi"] for s in compared), unit="nats"),
            Column(
                name=f"limit at {rate:.0%} false alarms",
                values=tuple(s.limits.get("psi") for s in compared),
                unit="nats",
            ),
        ),
        y_label="population stability index, nats",
        note="Limits differ because some series follow themselves more closely than others.",
    )


def series_exhibit(check: str, compared: Sequence[ComparedSeries]) -> Exhibit:
    """Everything found about every series."""
    worth = [series.worth for series in compared]
    columns: dict[str, list[float | None]] = {
        "index": [s.found["psi"] for s in compared],
        "its limit": [s.limits.get("psi") for s in compared],
        "Jensen-Shannon": [s.found["jensen_shannon"] for s in compared],
        "Kolmogorov-Smirnov": [s.found["ks"] for s in compared],
        "KS limit": [s.limits.get("ks") for s in compared],
        "shift of mean, sd": [s.mean_shift for s in compared],
        "log ratio of sd": [s.scale_shift for s in compared],
        "training rows worth": [first for first, _ in worth],
        "test rows worth": [second for _, second in worth],
    }
    return Exhibit(
        check=check,
        name="series",
        title="Drift of every series",
        kind="table",
        columns=(
            Column(name="series", values=tuple(series.label for series in compared)),
            *(Column(name=name, values=tuple(values)) for name, values in columns.items()),
        ),
        note="Rows are worth as many independent values as would fix level and dispersion "
        "equally well.",
    )


def years_exhibit(
    check: str, panel: Panel, index: pd.DatetimeIndex, folds: Sequence[Fold], bins: int
) -> Exhibit | None:
    """Stability index of every series in each calendar year against the training before it.

    None if no year has enough test bars.
    """
    first_test, last_test = folds[0].test_start, folds[-1].test_end
    years = np.asarray(index.year)[:last_test]
    found: dict[str, tuple[float | None, ...]] = {}
    fitted: dict[int, list[SeriesReference]] = {}  # by end of training: years share a fold
    for year in np.unique(years[first_test:]):
        rows = np.flatnonzero(years == year)
        rows = rows[rows >= max(first_test, panel.first)]
        if len(rows) < LEAST_ROWS_OF_YEAR:
            continue
        in_force = next(fold for fold in folds if rows[0] < fold.test_end)
        reference = panel.table[panel.first : in_force.train_end]
        if len(reference) < LEAST_ROWS:
            continue
        if in_force.train_end not in fitted:
            fitted[in_force.train_end] = [SeriesReference(column, bins) for column in reference.T]
        found[str(year)] = tuple(
            one.stability_index(panel.table[rows, j])
            for j, one in enumerate(fitted[in_force.train_end])
        )
    if not found:
        return None
    return Exhibit(
        check=check,
        name="by_year",
        title=f"Population stability index of the {panel.name} by calendar year",
        kind="heatmap",
        columns=(
            Column(name="series", values=panel.series),
            *(Column(name=year, values=values) for year, values in found.items()),
        ),
        note="Each year's test bars against the training rows of the model in force when the "
        f"year's first test bar closed. Series: {panel.source}. A year holds few independent "
        "values of a slow series, so that a large index there need not be drift.",
    )
