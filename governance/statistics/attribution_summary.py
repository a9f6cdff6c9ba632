"""What a committee reads in a minute: one sentence, and one table of the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from governance.record import Column, Exhibit, Interval
from governance.statistics.attribution import Attributions, shares

_MOST_NAMED = 3
_HALF = 0.5


def recent_bars(main: Attributions, share: float = _HALF) -> int:
    """The newest bars of a window that hold at least this share of all absolute attribution."""
    by_lag = np.abs(main.values[:, ::-1]).sum(axis=(0, 2))
    held = np.cumsum(by_lag) / by_lag.sum()
    return int(np.argmax(held >= share - 1e-12)) + 1


def sentence(
    features: Sequence[str], found: np.ndarray, recent: int, others: Mapping[str, np.ndarray]
) -> str:
    """What moves the decision, how far back, and in how many other explanations it is the same.

    Parameters
    ----------
    features : sequence of str
    found : numpy.ndarray, shape (f,)
        Shares in the candidate.
    recent : int
        Newest bars that hold half of it.
    others : mapping of name to numpy.ndarray, shape (f,)
        Shares under other baselines, folds, seeds and tests.
    """
    order = np.argsort(-found, kind="stable")[:_MOST_NAMED]
    named = ", ".join(f"{features[k]} {100.0 * found[k]:.0f} %" for k in order)
    bars = "the newest bar" if recent == 1 else f"the newest {recent} bars"
    text = f"What moves the decision most: {named}. Half of it comes from {bars}."
    if others:
        same = sum(int(np.argmax(values)) == int(order[0]) for values in others.values())
        text += f" {features[order[0]]} is first in {same} of {len(others)} other explanations."
    return text


def summary_exhibit(
    check: str,
    features: Sequence[str],
    main: Attributions,
    intervals: Sequence[Interval | None],
    moved: np.ndarray,
    explanations: Mapping[str, np.ndarray],
) -> Exhibit:
    """Features in the order of their share, with interval, direction, ablation and range.

    Parameters
    ----------
    check : str
    features : sequence of str
    main : Attributions
        Of the candidate; some feature must move it.
    intervals : sequence of Interval or None
        Of the shares.
    moved : numpy.ndarray, shape (n, f)
        Change of the decision when one feature is at its baseline.
    explanations : mapping of name to numpy.ndarray, shape (f,)
        Shares by explanation, the candidate's among them.
    """
    found = shares(main.by_feature)
    if found is None:
        raise ValueError("no feature moves the decision")
    others = {name: values for name, values in explanations.items() if name != "candidate"}
    order = np.argsort(-found, kind="stable").tolist()
    ablated = np.abs(moved).mean(axis=0)
    rank = np.argsort(np.argsort(-ablated, kind="stable"), kind="stable") + 1
    net = main.net_by_feature.mean(axis=0)
    every = np.stack([found, *others.values()])
    return Exhibit(
        check=check,
        name="summary",
        title="Attribution in one minute",
        kind="table",
        columns=(
            Column(name="feature", values=tuple(features[k] for k in order)),
            _column("share", [found[k] for k in order]),
            _column("share, low", [i.low if i else None for i in (intervals[k] for k in order)]),
            _column("share, high", [i.high if i else None for i in (intervals[k] for k in order)]),
            Column(
                name="on average towards",
                values=tuple("stress" if net[k] > 0.0 else "calm" for k in order),
            ),
            _column("ablation moves", [ablated[k] for k in order], "probability"),
            _column("rank by ablation", [rank[k] for k in order]),
            _column("least share elsewhere", [every[:, k].min() for k in order]),
            _column("largest share elsewhere", [every[:, k].max() for k in order]),
        ),
        note=sentence(features, found, recent_bars(main), others)
        + " Elsewhere: other baselines, models of other folds and seeds, tests of other folds.",
    )


def _column(name: str, values: Sequence[float | None], unit: str = "") -> Column:
    numbers = tuple(None if value is None else float(value) for value in values)
    return Column(name=name, values=numbers, unit=unit)
