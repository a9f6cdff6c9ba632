"""Tables behind the figures of sensitivity."""

from __future__ import annotations

from collections.abc import Mapping

from governance.record import Column, Exhibit
from governance.statistics.joint_sensitivity import FACTORS, Together
from governance.statistics.screening import LEVELS, Screening
from governance.statistics.sobol import VarianceShares


def tornado_exhibit(check: str, changes: Mapping[str, float]) -> Exhibit:
    """Bars of the change of the Sharpe ratio by one factor, the largest first."""
    ordered = sorted(changes, key=lambda name: -abs(changes[name]))
    return Exhibit(
        check=check,
        name="tornado",
        title="Change of the Sharpe ratio by one factor at a time",
        kind="bar",
        columns=(
            Column(name="factor", values=tuple(ordered)),
            Column(name="change", unit="p.a.", values=tuple(changes[name] for name in ordered)),
        ),
        y_label="change of the Sharpe ratio",
    )


def screening_exhibit(check: str, together: Together, found: Screening) -> Exhibit:
    """A table of elementary effects."""
    return Exhibit(
        check=check,
        name="screening",
        title="Effect of several factors on the Sharpe ratio, moved together",
        kind="table",
        columns=(
            Column(name="factor", values=FACTORS),
            together.ranges,
            Column(name="mean absolute effect", values=tuple(found.effect.tolist())),
            Column(name="spread of effects", values=tuple(found.spread.tolist())),
        ),
        note=f"Morris' design, {found.asked} different points on a grid of {LEVELS} levels.",
    )


def variance_exhibit(check: str, together: Together, found: VarianceShares) -> Exhibit:
    """A table of shares of variance."""
    return Exhibit(
        check=check,
        name="variance_shares",
        title="Shares of several factors in the variance of the Sharpe ratio, moved together",
        kind="table",
        columns=(
            Column(name="factor", values=FACTORS),
            together.ranges,
            Column(name="first order", values=tuple(found.first.tolist())),
            Column(name="first order, half width", values=tuple(found.first_error.tolist())),
            Column(name="total", values=tuple(found.total.tolist())),
            Column(name="total, half width", values=tuple(found.total_error.tolist())),
        ),
        note=f"Saltelli's design, {found.asked} points, every factor uniform on {LEVELS} levels.",
    )
