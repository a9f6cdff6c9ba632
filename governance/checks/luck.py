"""Check: whether the timing of positions could be chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Hypothesis, MetricSpec
from governance.statistics.luck import share_as_good, shifted_ratios
from governance.statistics.out_of_sample import out_of_sample

_POINTS = 101


@dataclass(frozen=True)
class Luck:
    """Circular shifts of the positions against the market.

    Parameters
    ----------
    shifts : int
        Spread evenly over the test.
    """

    shifts: int = 1000

    card: ClassVar[CheckCard] = CheckCard(
        name="luck",
        version=1,
        title="Luck of the timing",
        question="Would the same positions, begun at other times, have earned as much?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="When positions are held has nothing to do with what the market does next",
            alternative="They are held at better times",
        ),
        method="The out-of-sample positions of all folds are shifted around the circle of the "
        "test's periods and traded with the same costs. Every shift keeps how often they trade and "
        "how long they stay, and every trend and storm of the market. The probability is the share "
        "of shifts, the true one counted, with a Sharpe ratio as high or higher.",
        limitations=(
            "One market path: luck in the choice of the sample is not seen",
            "It tells timing from chance, not skill from a premium that anybody earns by holding "
            "less in storms",
            "Shifts join the end of the test to its beginning; neighbouring shifts are alike, so "
            "that a thousand say less than a thousand independent ones",
            "It has little power where positions change seldom",
        ),
        references=(
            "Politis & Romano (1992), A circular block-resampling procedure for stationary data",
            "Phipson & Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9",
            "Aronson (2006), Evidence-Based Technical Analysis, chapter 5",
        ),
        metrics=(
            MetricSpec(name="shift_probability", unit="fraction of shifts", better="lower",
                       meaning="Share of shifts with a Sharpe ratio as high as the true one"),
            MetricSpec(name="sharpe_over_shifts", unit="ratio p.a.", better="higher",
                       meaning="Sharpe ratio less the median of the shifts"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not 100 <= self.shifts <= 100_000:
            raise InputError(
                "luck cannot use these parameters", expected="100 to 100000", got=str(self.shifts)
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the probability, the excess, and how the shifts fell."""
        tested = out_of_sample(subject, context)
        if np.ptp(tested.held) == 0.0:
            raise Skip("the exposure never changes: every shift is the same")
        true, by_chance = shifted_ratios(
            tested.held,
            tested.market,
            cost_bps=context.cost_bps,
            bars_per_year=tested.bars.bars_per_year,
            shifts=self.shifts,
        )
        if not (np.isfinite(true) and np.isfinite(by_chance).all()):
            raise Skip("returns that do not vary have no Sharpe ratio")
        window, n = context.out_of_sample_window, len(tested.held)
        yield measured(
            self, "shift_probability", share_as_good(true, by_chance), n=n, window=window
        )
        yield measured(
            self, "sharpe_over_shifts", true - float(np.median(by_chance)), n=n, window=window
        )
        yield self._exhibit(true, by_chance)

    def _exhibit(self, true: float, by_chance: np.ndarray) -> Exhibit:
        share = np.linspace(0.0, 1.0, _POINTS)
        return Exhibit(
            check=self.card.name,
            name="shifts",
            title="Sharpe ratio of the same positions begun at other times",
            kind="line",
            columns=(
                Column(
                    name="Sharpe ratio",
                    unit="p.a.",
                    values=tuple(np.quantile(by_chance, share).tolist()),
                ),
                Column(name="share of shifts with less", values=tuple(share.tolist())),
            ),
            y_label="share of shifts with less",
            note=f"The positions as they were: {true:.2f}.",
        )
