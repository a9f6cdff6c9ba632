"""Check: the model against simple challengers on the same bars, costs and delay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Hypothesis, MetricSpec
from governance.statistics.curves import equity_exhibit
from governance.statistics.out_of_sample import OutOfSample, out_of_sample
from governance.statistics.outcomes import (
    difference,
    earning_columns,
    earning_statistics,
    of_histories,
    undefined_reason,
)
from governance.statistics.resampling import Bootstrap, block_length

# Metric of the check, and the statistic whose difference it is.
_DIFFERENCES = {
    "sharpe_difference": "sharpe",
    "annual_return_difference": "annual_return",
    "annual_volatility_difference": "annual_volatility",
    "max_drawdown_difference": "max_drawdown",
    "turnover_difference": "turnover_per_year",
}
_TABLE = (
    ("sharpe", "Sharpe ratio", 1.0, "p.a."),
    ("sortino", "Sortino ratio", 1.0, "p.a."),
    ("annual_return", "return", 100.0, "% p.a."),
    ("annual_volatility", "volatility", 100.0, "% p.a."),
    ("max_drawdown", "deepest drawdown", 100.0, "%"),
    ("calmar", "Calmar ratio", 1.0, "p.a."),
    ("turnover_per_year", "turnover", 1.0, "round trips p.a."),
    ("exposure_share", "mean exposure", 100.0, "%"),
)


@dataclass(frozen=True)
class Challengers:
    """Paired differences from every challenger, with block-bootstrap intervals.

    Parameters
    ----------
    draws : int
        Bootstrap draws.
    level : float
        Confidence level of the intervals.
    """

    draws: int = 1000
    level: float = 0.95

    card: ClassVar[CheckCard] = CheckCard(
        name="challengers",
        version=1,
        title="Comparison with challengers",
        question="Does the model do better than rules that cost nothing to build?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="Model and challenger have the same Sharpe ratio, return, volatility, drawdown "
            "and turnover",
            alternative="They differ",
        ),
        method="Every challenger is refitted on the same training windows and traded on the same "
        "test bars with the same cost and delay as the model. Both histories are resampled by "
        "the same blocks (stationary bootstrap, automatic length), so that what moves both "
        "cancels; the interval is of the difference, model less challenger.",
        limitations=(
            "One historical path; a difference inside its interval supports no claim either way",
            "Several challengers and metrics are compared at once; levels are not adjusted",
            "The challengers' own parameters are fixed, not searched",
            "The interval of the drawdown's difference is a range over resampled histories: these "
            "break falls longer than a block, and need not hold the observed value",
        ),
        references=(
            "Ledoit & Wolf (2008), Robust performance hypothesis testing with the Sharpe ratio, "
            "Journal of Empirical Finance 15",
            "Politis & Romano (1994), The stationary bootstrap, JASA 89",
        ),
        metrics=(
            MetricSpec(name="sharpe_difference", unit="ratio p.a.", better="higher",
                       meaning="Sharpe ratio of the model less that of the challenger"),
            MetricSpec(name="annual_return_difference", unit="fraction p.a.", better="higher",
                       meaning="Compound growth of the model less that of the challenger"),
            MetricSpec(name="annual_volatility_difference", unit="fraction p.a.", better="lower",
                       meaning="Volatility of the model less that of the challenger"),
            MetricSpec(name="max_drawdown_difference", unit="fraction", better="higher",
                       meaning="Drawdown (negative) of the model less that of the challenger: "
                               "positive if the model fell less"),
            MetricSpec(name="turnover_difference", unit="round trips p.a.", better="lower",
                       meaning="Turnover of the model less that of the challenger"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.draws < 100 or not 0.5 <= self.level < 1.0:
            raise InputError(
                "challengers cannot use these parameters",
                expected="draws >= 100 and 0.5 <= level < 1",
                got=f"draws {self.draws}, level {self.level}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the differences from each challenger, their curves and a table of levels."""
        if not context.challengers:
            raise Skip("the plan names no challengers")
        model = out_of_sample(subject, context)
        histories = {"model": model}
        for name in sorted(context.challengers):
            try:
                histories[name] = out_of_sample(context.challengers[name], context)
            except FinchaosError as error:
                for metric in _DIFFERENCES:
                    yield not_measured(
                        self,
                        metric,
                        str(error),
                        window=context.out_of_sample_window,
                        errored=True,
                        challenger=name,
                    )
                continue
            yield from self._compare(model, histories[name], name, context)
        yield equity_exhibit(
            self.card.name, {name: tested.net for name, tested in histories.items()}, model
        )
        yield self._table(histories)

    def _compare(
        self, model: OutOfSample, other: OutOfSample, name: str, context: Context
    ) -> Iterator[Evidence]:
        columns = earning_columns(model)
        columns |= {f"other.{key}": values for key, values in earning_columns(other).items()}
        levels = earning_statistics(model.bars.bars_per_year)
        statistics = {metric: difference(levels[level]) for metric, level in _DIFFERENCES.items()}
        block = block_length(model.net, other.net, model.net - other.net)
        intervals = Bootstrap(block, self.draws, self.level).intervals(
            statistics, columns, context.rng(f"challengers.{name}")
        )
        window = context.out_of_sample_window
        for metric, statistic in statistics.items():
            value = float(statistic(columns))
            if not np.isfinite(value):
                reason = f"of model or challenger: {undefined_reason(_DIFFERENCES[metric])}"
                yield not_measured(self, metric, reason, window=window, challenger=name)
                continue
            yield measured(
                self,
                metric,
                value,
                n=len(model.net),
                window=window,
                interval=of_histories(_DIFFERENCES[metric], intervals[metric]),
                challenger=name,
            )

    def _table(self, histories: dict[str, OutOfSample]) -> Exhibit:
        def cell(tested: OutOfSample, statistic: str, factor: float) -> float | None:
            function = earning_statistics(tested.bars.bars_per_year)[statistic]
            value = factor * float(function(earning_columns(tested)))
            return value if np.isfinite(value) else None

        return Exhibit(
            check=self.card.name,
            name="comparison",
            title="Model and challengers out of sample",
            kind="table",
            columns=(
                Column(name="", values=tuple(name.replace("_", " ") for name in histories)),
                *(
                    Column(
                        name=label,
                        unit=unit,
                        values=tuple(cell(t, statistic, factor) for t in histories.values()),
                    )
                    for statistic, label, factor, unit in _TABLE
                ),
            ),
            note="Net of cost, cash at zero.",
        )
