"""Check: what is left of the Sharpe ratio after the search that found the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.statistics.dependence import effective_sample_size
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.overfitting import (
    Overfitting as Search,
)
from governance.statistics.overfitting import (
    SharpeRecord,
    backtest_overfitting,
    expected_maximum,
)
from governance.trials import Trials

_NO_REGISTER = "the plan names no register of trials"
_NO_RETURNS = "the plan names no returns of the trials"
_POINTS = 101
_OF_SEARCH = ("unrecorded_trials", "overfitting_probability", "loss_share", "promise_kept")
_KEPT_LEVEL = 0.9
"""Two-sided: each end holds at 95 %."""


@dataclass(frozen=True)
class Overfitting:
    """Probabilistic and deflated Sharpe ratio, track record, and overfitting of the search.

    Parameters
    ----------
    level : float
        At which a Sharpe ratio above zero is called established.
    blocks : int
        That the trials' returns are cut into.
    """

    level: float = 0.95
    blocks: int = 16

    card: ClassVar[CheckCard] = CheckCard(
        name="overfitting",
        version=2,
        title="Overfitting by search",
        question="Would the best of so many trials have looked as good without any skill?",
        pillar="outcomes_analysis",
        method="The out-of-sample returns give the probability that the true Sharpe ratio is above "
        "zero, with their skewness, kurtosis and the number of independent periods that they are "
        "worth. With the register of trials, the hurdle is the best ratio expected of as many "
        "trials without skill. With the trials' returns, every half of the blocks of time chooses "
        "a trial and the other half judges it; what the chosen trials earned in the judging half, "
        "over what they had earned in the one that chose them, is the share of the promise kept.",
        limitations=(
            "Trials that nobody recorded count for nothing: a register shows what was added to it",
            "All trials count as independent, which is severe where they are alike",
            "The hurdle's spread is that of the trials' scores where these are Sharpe ratios, and "
            "of ratios without skill over as many periods where they are not",
            "What was learnt from looking at the test, without a trial, is not seen",
        ),
        references=(
            "Bailey & López de Prado (2012), The Sharpe ratio efficient frontier",
            "Bailey & López de Prado (2014), The deflated Sharpe ratio",
            "Bailey, Borwein, López de Prado & Zhu (2017), The probability of backtest overfitting",
        ),
        metrics=(
            MetricSpec(name="probabilistic_sharpe", unit="probability", better="higher",
                       meaning="Probability that the true Sharpe ratio is above zero"),
            MetricSpec(name="track_record", unit="years", better="higher",
                       meaning="Length of the out-of-sample record"),
            MetricSpec(name="least_track_record", unit="years", better="lower",
                       meaning="Length from which this Sharpe ratio would be established"),
            MetricSpec(name="trials", unit="trials", better="none",
                       meaning="Recorded before the model was chosen"),
            MetricSpec(name="deflated_sharpe", unit="probability", better="higher",
                       meaning="Probability that the true Sharpe ratio is above the best expected "
                               "of as many trials without skill"),
            MetricSpec(name="unrecorded_trials", unit="trials", better="lower",
                       meaning="Trials whose returns are there and that the register lacks"),
            MetricSpec(name="overfitting_probability", unit="probability", better="lower",
                       meaning="Share of splits in which the best in one half is below the median "
                               "in the other"),
            MetricSpec(name="loss_share", unit="fraction of splits", better="lower",
                       meaning="Share of splits in which the best in one half loses in the other"),
            MetricSpec(name="promise_kept", unit="fraction", better="higher",
                       meaning="Mean Sharpe ratio of the best of one half in the other half, over "
                               "that in the half that chose it"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not 0.5 < self.level < 1.0 or self.blocks % 2 or not 2 <= self.blocks <= 20:
            raise InputError(
                "overfitting cannot use these parameters",
                expected="0.5 < level < 1, and 2, 4, ... or 20 blocks",
                got=f"level {self.level}, blocks {self.blocks}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what the record says alone, then with the trials, then of their returns."""
        tested = out_of_sample(subject, context)
        if np.ptp(tested.net) == 0.0:
            raise Skip("returns that do not vary have no Sharpe ratio")
        window, n = context.out_of_sample_window, len(tested.net)
        year = tested.bars.bars_per_year
        worth = float(effective_sample_size(tested.net))
        record = SharpeRecord.of(tested.net, periods=min(worth, n))
        yield measured(
            self, "probabilistic_sharpe", record.probability_above(0.0), n=n, window=window
        )
        yield measured(self, "track_record", n / year, n=n, window=window)
        least = record.least_periods(0.0, self.level)
        if np.isfinite(least):
            years = least * n / (record.periods * year)
            yield measured(self, "least_track_record", years, n=n, window=window)
        else:
            reason = "the Sharpe ratio is not above zero: no record would be long enough"
            yield not_measured(self, "least_track_record", reason, window=window)
        if context.trials is None:
            for metric in ("trials", "deflated_sharpe"):
                yield not_measured(self, metric, _NO_REGISTER, window=window)
        else:
            hurdle = expected_maximum(context.trials.count, _spread(context.trials, record, year))
            yield measured(self, "trials", float(context.trials.count), n=n, window=window)
            value = record.probability_above(hurdle)
            note = f"hurdle {hurdle * np.sqrt(year):.3g} a year"
            yield measured(self, "deflated_sharpe", value, n=n, window=window, note=note)
        yield from self._search(context)

    def _search(self, context: Context) -> Iterator[Evidence | Exhibit]:
        window = context.out_of_sample_window
        returns = None if context.trials is None else context.trials.returns
        if context.trials is None or returns is None:
            reason = _NO_REGISTER if context.trials is None else _NO_RETURNS
            for metric in _OF_SEARCH:
                yield not_measured(self, metric, reason, window=window)
            return
        n = len(returns)
        unknown = max(0, returns.shape[1] - context.trials.count)
        yield measured(self, "unrecorded_trials", float(unknown), n=n, window=window)
        found = backtest_overfitting(returns, self.blocks)
        yield measured(self, "overfitting_probability", found.probability, n=n, window=window)
        yield measured(self, "loss_share", found.loss_share, n=n, window=window)
        kept = found.kept(_KEPT_LEVEL)
        if kept is None:
            reason = "the best trials had no reward for risk even where they were chosen"
            yield not_measured(self, "promise_kept", reason, window=window)
        else:
            value, interval = kept
            note = f"of {returns.shape[1]} trials"
            yield measured(
                self, "promise_kept", value, n=n, window=window, interval=interval, note=note
            )
        yield _exhibit(self.card.name, found)


def _spread(trials: Trials, record: SharpeRecord, year: float) -> float:
    """Standard deviation of the trials' ratios, per period."""
    if trials.sharpe_scores and len(trials.scores) > 1:
        return float(trials.scores.std(ddof=1) / np.sqrt(year))
    return float(1.0 / np.sqrt(record.periods - 1.0))


def _exhibit(check: str, found: Search) -> Exhibit:
    share = np.linspace(0.0, 1.0, _POINTS)
    return Exhibit(
        check=check,
        name="ranks",
        title="Where the best trial of one half ranks in the other",
        kind="line",
        columns=(
            Column(name="share of splits", values=tuple(share.tolist())),
            Column(
                name="relative rank",
                values=tuple((1.0 / (1.0 + np.exp(-np.quantile(found.logits, share)))).tolist()),
            ),
        ),
        y_label="relative rank, 1 is best",
        note=f"{len(found.logits)} splits; below one half is below the median.",
    )
