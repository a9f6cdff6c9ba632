"""Charts behind attribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from governance.record import Column, Exhibit, Interval
from governance.statistics.attribution import Attributions


def shares_exhibit(
    check: str,
    features: Sequence[str],
    found: np.ndarray,
    intervals: Sequence[Interval | None],
    at_worst: np.ndarray | None,
    level: float,
) -> Exhibit:
    """Share of every feature with its interval, and its share at the worst bars."""
    columns = [
        Column(name="feature", values=tuple(features)),
        Column(name="share", values=_numbers(found)),
        Column(name="share_low", values=tuple(i.low if i else None for i in intervals)),
        Column(name="share_high", values=tuple(i.high if i else None for i in intervals)),
    ]
    if at_worst is not None:
        columns.append(Column(name="at the worst bars", values=_numbers(at_worst)))
    return Exhibit(
        check=check,
        name="feature_shares",
        title="What moves the decision: share of each feature in the attribution",
        kind="bar",
        columns=tuple(columns),
        y_label="share of absolute attribution",
        note=f"Whiskers: {level:.0%} interval.",
    )


def lags_exhibit(check: str, features: Sequence[str], main: Attributions) -> Exhibit:
    """Share of every feature at every bucket of lags."""
    names, table = main.by_lag_and_feature()
    total = table.sum(axis=0)
    total = total / total.sum()
    return Exhibit(
        check=check,
        name="lags",
        title="How far back the decision looks: attribution by feature and lag",
        kind="heatmap",
        columns=(
            Column(name="feature", values=tuple(features)),
            *(Column(name=n, values=_numbers(total[k])) for k, n in enumerate(names)),
        ),
        y_label="share of absolute attribution",
        note="Columns are bars before the decision; the last bucket ends where the window does.",
    )


def fall_exhibit(
    check: str,
    features: Sequence[str],
    dates: Sequence[str],
    net: np.ndarray,
    change: np.ndarray,
    *,
    name: str,
    what: str,
) -> Exhibit:
    """Signed attribution of every feature at dates around a fall.

    Parameters
    ----------
    net : numpy.ndarray, shape (dates, f)
    change : numpy.ndarray, shape (dates,)
        Change of the decision from the baseline's.
    name, what : str
        Of the exhibit, and which fall.
    """
    return Exhibit(
        check=check,
        name=name,
        title=f"What the model saw around {what}",
        kind="heatmap",
        columns=(
            Column(name="feature", values=(*features, "all together")),
            *(
                Column(name=date, values=(*_numbers(row), float(total)), unit="probability")
                for date, row, total in zip(dates, net, change, strict=True)
            ),
        ),
        y_label="attribution to stress probability",
        note="Positive: towards stress, from what a calm window of training gives. "
        "Each date is explained by the model of the fold that tested it.",
    )


def stability_exhibit(
    check: str, features: Sequence[str], found: Mapping[str, np.ndarray]
) -> Exhibit:
    """Shares of every feature under other baselines and in other folds' models."""
    return Exhibit(
        check=check,
        name="stability",
        title="Shares under other baselines, in models of other folds and seeds, in other tests",
        kind="heatmap",
        columns=(
            Column(name="feature", values=tuple(features)),
            *(Column(name=name, values=_numbers(values)) for name, values in found.items()),
        ),
        y_label="share of absolute attribution",
        note="All columns explain the same test windows, but those named test, which explain the "
        "test of an earlier fold by its own model.",
    )


def permutation_exhibit(
    check: str, names: Sequence[str], found: Sequence[float], intervals: Sequence[Interval | None]
) -> Exhibit:
    """Change of position for every input shuffled."""
    return Exhibit(
        check=check,
        name="permutation",
        title="Mean absolute change of position when one input is shuffled in time",
        kind="bar",
        columns=(
            Column(name="input", values=tuple(names)),
            Column(name="change", values=tuple(found), unit="fraction of capital"),
            Column(name="low", values=tuple(i.low if i else None for i in intervals)),
            Column(name="high", values=tuple(i.high if i else None for i in intervals)),
        ),
        y_label="mean absolute change of position",
    )


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
