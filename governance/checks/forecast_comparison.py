"""Check: does the model forecast risk better than rules that anybody can follow?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Hypothesis, Interval, MetricSpec
from governance.statistics.benchmark_forecast import ConstantLaw, SmoothedVolatility
from governance.statistics.forecast_comparison import (
    automatic_bandwidth,
    clark_west,
    diebold_mariano,
    fixed_smoothing,
    pinball,
    qlike,
)
from governance.statistics.holm import holm
from governance.statistics.implied_forecast import DensityForecast, density_forecast

_CONSTANT, _SMOOTHED = "constant", "ewma"


@dataclass(frozen=True)
class ForecastComparison:
    """Losses of the model's forecast of the next return against benchmarks and challengers.

    Parameters
    ----------
    level : float
        Of the quantile whose loss is compared.
    decay : float
        Of the exponentially weighted benchmark.
    confidence : float
        Of intervals.
    """

    level: float = 0.05
    decay: float = 0.94
    confidence: float = 0.95

    card: ClassVar[CheckCard] = CheckCard(
        name="forecast_comparison",
        version=1,
        title="Comparison of forecasts",
        question="Does the model forecast risk better than rules that anybody can follow?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="The model's forecasts lose no more than the rival's",
            alternative="They lose more",
        ),
        method="Each law of the next return (a subject's own mean and volatility, or what followed "
        "its regimes in training; the evidence says which is the model's) gives a volatility, "
        "scored by QLIKE against the squared return, and a low quantile, scored by its pinball "
        "loss. Rivals: the law of all training returns, exponentially weighted volatility with "
        "training residuals, and each challenger. Diebold and Mariano's test has Harvey, Leybourne "
        "and Newbold's correction and Bartlett's weights; the one-sided test that is judged takes "
        "the variance from the lowest frequencies, which keeps its level where losses follow each "
        "other. Clark and West's test asks whether the mean forecast says more than a constant.",
        limitations=(
            "A regime model that forecasts no return is judged by what its regimes imply: two "
            "levels of volatility seldom beat a smooth one",
            "The squared return is a noisy measure of variance: real differences need years",
            "A law by regime contains the constant one, and estimating it costs a little",
        ),
        references=(
            "Diebold & Mariano (1995); Harvey, Leybourne & Newbold (1997)",
            "Coroneo & Iacone (2020), Journal of Applied Econometrics 35(4)",
            "Clark & West (2007), Journal of Econometrics 138",
            "Patton (2011), Journal of Econometrics 160",
        ),
        metrics=(
            MetricSpec(name="loss_difference", unit="loss", better="lower",
                       meaning="Mean loss of the model less that of the rival"),
            MetricSpec(name="dm_probability", unit="probability", better="none",
                       meaning="Of a difference this large, either way, after Diebold and Mariano"),
            MetricSpec(name="worse_probability", unit="probability", better="higher",
                       meaning="Of being worse by this much if both are equal"),
            MetricSpec(name="adjusted_probability", unit="probability", better="higher",
                       meaning="Smallest of a rival's of these after Holm's adjustment"),
            MetricSpec(name="mean_probability", unit="probability", better="lower",
                       meaning="Of a mean forecast this good if it says no more than a constant"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not (0.0 < self.level < 0.5 and 0.5 <= self.decay < 1.0 and 0.5 <= self.confidence < 1):
            raise InputError(
                "forecast_comparison cannot use these parameters",
                expected="0 < level < 0.5, 0.5 <= decay < 1, 0.5 <= confidence < 1",
                got=f"{self.level}, {self.decay}, {self.confidence}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield losses against each rival, Clark and West's test, and a table of mean losses."""
        model = density_forecast(subject, context)
        rivals: dict[str, Subject] = {
            _CONSTANT: ConstantLaw(),
            _SMOOTHED: SmoothedVolatility(self.decay),
        }
        rivals |= {name: context.challengers[name] for name in sorted(context.challengers)}
        losses = {"model": self._losses(model)}
        window = context.out_of_sample_window
        for name, rival in rivals.items():
            try:
                other = density_forecast(rival, context)
            except (FinchaosError, Skip) as error:
                metric, errored = "adjusted_probability", not isinstance(error, Skip)
                yield not_measured(
                    self, metric, str(error), window=window, errored=errored, rival=name
                )
                continue
            losses[name] = self._losses(other)
            yield from self._compare(model, losses["model"], losses[name], name, context)
            if name == _CONSTANT:
                yield self._mean(model, other, context)
        yield self._exhibit(losses, model)

    def _losses(self, forecast: DensityForecast) -> dict[str, np.ndarray]:
        outcome = forecast.outcome
        return {
            "qlike": qlike(outcome, forecast.volatility),
            "pinball": pinball(outcome, forecast.quantile(self.level), self.level),
        }

    def _compare(
        self,
        model: DensityForecast,
        own: Mapping[str, np.ndarray],
        other: Mapping[str, np.ndarray],
        rival: str,
        context: Context,
    ) -> Iterator[Evidence]:
        window, n, judged = context.out_of_sample_window, len(model), []
        for loss, values in own.items():
            difference = values - other[loss]
            if np.ptp(difference) == 0.0:
                continue
            found = fixed_smoothing(difference)
            low, high = found.limits(self.confidence)
            interval = Interval(
                low=low, high=high, level=self.confidence, method="fixed-smoothing Student t"
            )
            test = diebold_mariano(difference, bandwidth=automatic_bandwidth(n))
            judged.append(found.worse)
            for metric, value, limits in (
                ("loss_difference", found.difference, interval),
                ("dm_probability", test.two_sided, None),
                ("worse_probability", found.worse, None),
            ):
                yield measured(
                    self,
                    metric,
                    value,
                    n=n,
                    window=window,
                    interval=limits,
                    note=model.note,
                    loss=loss,
                    rival=rival,
                )
        metric = "adjusted_probability"
        if not judged:
            reason = "model and rival forecast the same"
            yield not_measured(self, metric, reason, window=window, rival=rival)
            return
        value, note = float(holm(np.array(judged)).min()), model.note
        yield measured(self, metric, value, n=n, window=window, note=note, rival=rival)

    def _mean(
        self, model: DensityForecast, constant: DensityForecast, context: Context
    ) -> Evidence:
        window, n = context.out_of_sample_window, len(model)
        if np.array_equal(model.mean, constant.mean):
            reason = "the model's mean forecast is the constant one"
            return not_measured(self, "mean_probability", reason, window=window)
        _, probability = clark_west(
            model.outcome, constant.mean, model.mean, bandwidth=automatic_bandwidth(n)
        )
        return measured(self, "mean_probability", probability, n=n, window=window, note=model.note)

    def _exhibit(
        self, losses: Mapping[str, Mapping[str, np.ndarray]], model: DensityForecast
    ) -> Exhibit:
        names = ("qlike", "pinball")
        return Exhibit(
            check=self.card.name,
            name="losses",
            title="Mean losses of forecasts of the next return",
            kind="table",
            columns=(
                Column(name="", values=tuple(name.replace("_", " ") for name in losses)),
                *(
                    Column(name=loss, values=tuple(float(f[loss].mean()) for f in losses.values()))
                    for loss in names
                ),
            ),
            note=f"Lower is better. {model.note}",
        )
