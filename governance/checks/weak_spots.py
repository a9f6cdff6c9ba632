"""Check: whether a model loses in some part of its history that could have been known before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Hypothesis, MetricSpec
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.resampling import block_length
from governance.statistics.slices import Slice, known_slices, net_of_holding
from governance.statistics.step_down import SliceTests, losing_slices

_SHOWN = 20
_BPS = 1e4


@dataclass(frozen=True)
class WeakSpots:
    """Slices of the out-of-sample periods, tested all at once.

    Parameters
    ----------
    least_periods : int
        Periods that a slice and its rest hold, else it is not tested.
    draws : int
        Resampled histories.
    """

    least_periods: int = 60
    draws: int = 2000

    card: ClassVar[CheckCard] = CheckCard(
        name="weak_spots",
        version=1,
        title="Weak spots",
        question="Is there a part of the out-of-sample history, one that could be told beforehand, "
        "in which the model loses, and more than elsewhere?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="In no slice is the mean net return both below zero and below that of the rest",
            alternative="In one slice at least it is",
        ),
        method="Periods of all folds' tests are sliced by the regime decided, by weekday, month "
        "and year (and hour, of intraday bars), by whether the last move and the last 21 bars were "
        "up or down, and by terciles of realised volatility among all values so far. The cost of "
        "leaving is charged to the period that was held, so that being out costs nothing. In each "
        "slice the mean net return is set against zero and against the rest; Romano and Wolf's "
        "step-down over a stationary block bootstrap adjusts the probabilities of each for all "
        "slices together, and the larger of the two counts.",
        limitations=(
            "Slices nobody thought of are not looked at, nor slices of two things at once",
            "A slice of few bars must lose a lot to be established; read the table beside it",
            "A year that lost may be what the market did, and no weakness that will come again",
            "What the model earned is sliced, not whether its forecasts were right",
        ),
        references=(
            "Romano & Wolf (2005), Exact and approximate stepdown methods for multiple hypothesis "
            "testing, JASA 100",
            "Politis & Romano (1994), The stationary bootstrap, JASA 89",
            "Chung, Kraska, Polyzotis, Tae & Whang (2020), Automated data slicing for model "
            "validation, IEEE TKDE 32",
        ),
        metrics=(
            MetricSpec(name="slices", unit="slices", better="none",
                       meaning="Slices tested"),
            MetricSpec(name="weakest_probability", unit="probability", better="higher",
                       meaning="Smallest probability of a slice, adjusted for all of them, that it "
                       "would lose as much if none did"),
            MetricSpec(name="weakest_mean", unit="bps a bar", better="higher",
                       meaning="Mean net return in that slice"),
            MetricSpec(name="weakest_gap", unit="bps a bar", better="higher",
                       meaning="The same less that of the rest"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.least_periods < 10 or not 100 <= self.draws <= 100_000:
            raise InputError(
                "weak_spots cannot use these parameters",
                expected="least_periods >= 10 and 100 to 100000 draws",
                got=f"{self.least_periods}, {self.draws}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the weakest slice with its probability, and a table of the worst."""
        tested = out_of_sample(subject, context)
        net = net_of_holding(tested.held, tested.gross, context.cost_bps)
        if np.ptp(net) == 0.0:
            raise Skip("net returns never vary")
        slices = known_slices(tested, context.bars, least=self.least_periods)
        if not slices:
            raise Skip(f"no slice holds {self.least_periods} periods and leaves as many")
        found = losing_slices(
            net,
            np.stack([one.rows for one in slices]),
            block=block_length(net),
            draws=self.draws,
            rng=context.rng("weak_spots"),
        )
        order = np.lexsort((found.statistic, found.adjusted_p))
        worst = int(order[0])
        window, n = context.out_of_sample_window, len(net)
        note = f"{slices[worst].by}: {slices[worst].name}"
        yield measured(self, "slices", len(slices), n=n, window=window)
        yield measured(
            self, "weakest_probability", found.adjusted_p[worst], n=n, window=window, note=note
        )
        rows = int(found.rows[worst])
        mean, rest = _BPS * found.mean[worst], _BPS * found.rest[worst]
        yield measured(self, "weakest_mean", mean, n=rows, window=window, note=note)
        yield measured(self, "weakest_gap", mean - rest, n=rows, window=window, note=note)
        yield self._table(net, tested.held != 0.0, slices, found, order[:_SHOWN].tolist())

    def _table(
        self,
        net: np.ndarray,
        exposed: np.ndarray,
        slices: Sequence[Slice],
        found: SliceTests,
        shown: list[int],
    ) -> Exhibit:
        def hit(rows: np.ndarray) -> float | None:
            counted = net[rows & exposed]
            return float((counted > 0.0).mean()) if len(counted) else None

        columns: tuple[tuple[str, str, list[float | str | None]], ...] = (
            ("slice", "", [f"{slices[k].by}: {slices[k].name}" for k in shown]),
            ("periods", "", [float(found.rows[k]) for k in shown]),
            ("mean net", "bps a bar", [float(_BPS * found.mean[k]) for k in shown]),
            ("of the rest", "bps a bar", [float(_BPS * found.rest[k]) for k in shown]),
            ("hit rate", "", [hit(slices[k].rows) for k in shown]),
            ("of the rest ", "", [hit(~slices[k].rows) for k in shown]),
            ("p alone", "", [float(found.p[k]) for k in shown]),
            ("p adjusted", "", [float(found.adjusted_p[k]) for k in shown]),
        )
        return Exhibit(
            check=self.card.name,
            name="slices",
            title="Slices in which the model did worst",
            kind="table",
            columns=tuple(
                Column(name=name, unit=unit, values=tuple(values)) for name, unit, values in columns
            ),
            note=f"The worst {len(shown)} of {len(slices)}. Hit rates are of periods with "
            "exposure; p adjusted is for all slices together.",
        )
