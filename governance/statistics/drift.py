"""Series of a panel compared between training and test, with limits for each and for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from governance.record import Residual
from governance.statistics.null_distances import BlockPlan, independent_worth, null_distances
from governance.statistics.panels import Panel
from governance.statistics.series_reference import SeriesReference
from governance.statistics.two_sample import DISTANCES, entropy, log_scale_shift, mean_shift

IDENTITY_TOLERANCE = 1e-9
RandomStream = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class NullSettings:
    """How limits are drawn: bins, false-alarm rate and bootstrap draws."""

    bins: int
    false_alarm_rate: float
    draws: int

    def limit(self, drawn: np.ndarray) -> float:
        """The value that draws exceed at the false-alarm rate."""
        return float(np.quantile(drawn, 1.0 - self.false_alarm_rate))


@dataclass(frozen=True, eq=False)
class ComparedSeries:
    """One series in training and in test.

    Attributes
    ----------
    panel, name : str
    reference, current : numpy.ndarray, shapes (n,) and (m,)
        Training and test rows.
    found : dict of str to float
        Distances by name.
    limits : dict of str to float
        Their null limits; empty if the reference is constant.
    """

    panel: str
    name: str
    reference: np.ndarray
    current: np.ndarray
    found: dict[str, float]
    limits: dict[str, float]

    @property
    def label(self) -> str:
        """Panel and name, for tables."""
        return f"{self.panel}: {self.name}"

    @property
    def constant(self) -> bool:
        """Whether the reference never moves."""
        return bool(np.ptp(self.reference) == 0.0)

    @property
    def beyond(self) -> bool:
        """Whether the stability index is beyond its limit; a constant that moved always is."""
        if self.constant:
            return bool((self.current != self.reference[0]).any())
        return self.found["psi"] > self.limits["psi"]

    def excess(self, distance: str) -> float | None:
        """A distance over its limit; None if the reference is constant."""
        limit = self.limits.get(distance, 0.0)
        return self.found[distance] / limit if limit > 0.0 else None

    @property
    def mean_shift(self) -> float | None:
        """Shift of the mean in standard deviations of training, None if that is constant."""
        return _finite(mean_shift(self.reference, self.current))

    @property
    def scale_shift(self) -> float | None:
        """Log ratio of standard deviations, None if either sample is constant."""
        return _finite(log_scale_shift(self.reference, self.current))

    @property
    def worth(self) -> tuple[float | None, float | None]:
        """Independent values that training and test rows are worth; None if constant."""
        first, second = (
            independent_worth(sample) if np.ptp(sample) > 0.0 else None
            for sample in (self.reference, self.current)
        )
        return first, second

    def identities(self, bins: int) -> dict[str, Residual]:
        """How far two distances are from what they equal, computed a second way."""
        p, q = SeriesReference(self.reference, bins).shares(self.current)
        both = self.found["kl_reference_to_current"] + self.found["kl_current_to_reference"]
        gained = float(entropy(0.5 * (p + q)) - 0.5 * (entropy(p) + entropy(q)))
        return {
            "psi": Residual(
                what="index less the sum of both divergences",
                value=self.found["psi"] - both,
                tolerance=IDENTITY_TOLERANCE,
            ),
            "jensen_shannon": Residual(
                what="divergence less the entropy gained by mixing",
                value=self.found["jensen_shannon"] - gained,
                tolerance=IDENTITY_TOLERANCE,
            ),
        }


def compare_panel(
    panel: Panel,
    reference: np.ndarray,
    current: np.ndarray,
    settings: NullSettings,
    rng: RandomStream,
) -> list[ComparedSeries]:
    """Distances and limits of every series of a panel.

    Parameters
    ----------
    panel : Panel
        Names the columns.
    reference, current : numpy.ndarray, shapes (n, s) and (m, s)
    settings : NullSettings
    rng : function from name to numpy.random.Generator
    """
    compared = []
    for j, name in enumerate(panel.series):
        limits: dict[str, float] = {}
        if np.ptp(reference[:, j]) > 0.0:
            drawn = null_distances(
                reference[:, [j]],
                len(current),
                rng(f"drift.{panel.name}.{name}"),
                draws=settings.draws,
                bins=settings.bins,
            )
            limits = {key: settings.limit(drawn[key][:, 0]) for key in DISTANCES}
        found = SeriesReference(reference[:, j], settings.bins).distances(current[:, j])
        compared.append(
            ComparedSeries(panel.name, name, reference[:, j], current[:, j], found, limits)
        )
    return compared


def joint_excess(
    compared: Sequence[ComparedSeries], settings: NullSettings, rng: np.random.Generator
) -> float | None:
    """Largest excess of the stability index over what the largest would be by chance.

    The law of the largest comes from draws in which all series share their rows, so that it
    knows how the series depend on each other. None if every reference is constant.

    References
    ----------
    Westfall & Young, Resampling-Based Multiple Testing (1993), on the law of the largest.
    """
    found = joint_null(compared, settings, rng)
    return None if found is None else found[0] / settings.limit(found[1])


def joint_null(
    compared: Sequence[ComparedSeries],
    settings: NullSettings,
    rng: np.random.Generator,
    *,
    least_block: int = 1,
) -> tuple[float, np.ndarray] | None:
    """The largest stability index over its limit, and draws of it without drift, shape (draws,).

    Blocks have ``least_block`` rows or more.
    """
    moving = [series for series in compared if not series.constant]
    if not moving:
        return None
    reference = np.stack([series.reference for series in moving], axis=1)
    rows = len(moving[0].current)
    drawn = null_distances(
        reference,
        rows,
        rng,
        plan=BlockPlan.of(reference, rows, least_block=least_block),
        draws=settings.draws,
        bins=settings.bins,
    )["psi"]
    limits = np.array([series.limits["psi"] for series in moving])
    largest = max(series.found["psi"] / series.limits["psi"] for series in moving)
    return largest, (drawn / limits).max(axis=1)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
