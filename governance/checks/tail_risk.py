"""Check: are rare losses as rare, as scattered and as deep as the forecast says?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Hypothesis, MetricSpec
from governance.statistics.coverage import (
    conditional_ratio,
    coverage_ratio,
    dynamic_quantile,
    independence_ratio,
)
from governance.statistics.expected_shortfall import shortfall_and_hits, shortfall_given_hits
from governance.statistics.forecast_dependence import coverage_probability, influence
from governance.statistics.forecast_null import simulate_tests
from governance.statistics.holm import holm, simulated_probability
from governance.statistics.implied_forecast import DensityForecast, density_forecast
from governance.statistics.proportion import exact_interval

HitStatistic = Callable[[np.ndarray], np.ndarray]

_FAMILIES = {
    "coverage": ("coverage_probability",),
    "clustering": ("independence_probability", "dynamic_quantile_probability"),
    "joint": ("kupiec_probability", "conditional_probability"),
    "shortfall": ("shortfall_given_hits_probability", "shortfall_probability"),
}


def _p(name: str, meaning: str) -> MetricSpec:
    return MetricSpec(name=name, unit="probability", better="higher", meaning=meaning)


@dataclass(frozen=True)
class TailRisk:
    """Value at risk and expected shortfall of the next return, back-tested.

    Parameters
    ----------
    levels : tuple of float
        Probabilities of a loss beyond the value at risk, ascending.
    draws : int
        Of the simulated nulls.
    lags : int
        Earlier hits in the dynamic quantile test.
    """

    levels: tuple[float, ...] = (0.01, 0.025, 0.05)
    draws: int = 499
    lags: int = 4

    card: ClassVar[CheckCard] = CheckCard(
        name="tail_risk",
        version=1,
        title="Tail risk",
        question="Are rare losses as rare, as scattered and as deep as the forecast says?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="Every next return is a draw of the law forecast for it",
            alternative="Losses beyond the value at risk are more or fewer, cluster, or are deeper",
        ),
        method="A subject that forecasts a volatility is taken at its word, with standardised "
        "residuals of training for the shape (forecast: given). For any other the law is what "
        "followed the same regime in training (forecast: implied); every number says which. Hits "
        "are returns below the quantile. Coverage is judged with a standard error from sums over "
        "blocks of bars, so that clustered hits do not count as so many independent ones. "
        "Kupiec's, Christoffersen's, the dynamic quantile and the two shortfall tests are compared "
        "with simulated forecasts that are right, laws estimated anew from as many training rows. "
        "Within each family of tests probabilities are adjusted after Holm over tests and levels.",
        limitations=(
            "A regime model that forecasts no return is judged by a law it never claimed: what "
            "followed its regimes. Two regimes leave clustering that these tests will find",
            "All tests but coverage take the law as right in full, so that clustering left over "
            "counts against shortfall as well",
            "With ten hits expected no test sees less than a doubling of their number",
            "A constant error in the scale of a given volatility is absorbed by the residuals of "
            "training; the check calibration measures it as the variance ratio",
        ),
        references=(
            "Kupiec (1995), Journal of Derivatives 3(2)",
            "Christoffersen (1998), International Economic Review 39(4)",
            "Engle & Manganelli (2004), Journal of Business & Economic Statistics 22(4)",
            "Acerbi & Szekely (2014), Backtesting expected shortfall, Risk",
            "Dufour (2006), Monte Carlo tests with nuisance parameters",
        ),
        metrics=(
            MetricSpec(name="hit_rate", unit="fraction of bars", better="near",
                       meaning="Share of next returns below the value at risk"),
            _p("coverage_probability", "Of a hit rate this far off, errors following each other"),
            _p("kupiec_probability", "Of a hit rate this far off, errors independent"),
            _p("independence_probability", "Of hits following hits this much"),
            _p("conditional_probability", "Of both together"),
            _p("dynamic_quantile_probability", "Of hits this predictable from the past"),
            MetricSpec(name="shortfall_given_hits", unit="relative to forecast", better="higher",
                       meaning="Z1: negative if losses beyond the value at risk are deeper"),
            _p("shortfall_given_hits_probability", "Of a Z1 this low"),
            MetricSpec(name="shortfall", unit="relative to forecast", better="higher",
                       meaning="Z2: negative if such losses are deeper or more frequent"),
            _p("shortfall_probability", "Of a Z2 this low"),
            _p("adjusted_probability", "Smallest of a family of tests after Holm's adjustment"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        sound = self.levels and all(0.0 < level < 0.5 for level in self.levels)
        if not sound or self.draws < 99 or not 1 <= self.lags <= 20:
            raise InputError(
                "tail_risk cannot use these parameters",
                expected="levels between 0 and 0.5, draws >= 99, 1 to 20 lags",
                got=f"levels {self.levels}, draws {self.draws}, lags {self.lags}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield rates and probabilities by level, then one probability a family."""
        forecast = density_forecast(subject, context)
        window, n = context.out_of_sample_window, len(forecast)
        found = self._measurements(forecast, context)
        kind = forecast.kind
        for (metric, level), value in found.items():
            said = f"{level:g}"
            if np.isnan(value):
                reason = "no return fell below the value at risk, or it is no loss"
                yield not_measured(self, metric, reason, window=window, level=said, forecast=kind)
                continue
            yield measured(
                self,
                metric,
                value,
                n=n,
                window=window,
                interval=exact_interval(round(value * n), n) if metric == "hit_rate" else None,
                note=forecast.note,
                level=said,
                forecast=kind,
            )
        for family, metrics in _FAMILIES.items():
            values = np.array([v for (metric, _), v in found.items() if metric in metrics])
            values = values[np.isfinite(values)]
            name = "adjusted_probability"
            if not len(values):
                reason = "none of its tests could be measured"
                yield not_measured(self, name, reason, window=window, family=family, forecast=kind)
                continue
            yield measured(
                self,
                name,
                float(holm(values).min()),
                n=n,
                window=window,
                note=f"of {len(values)} tests; {forecast.note}",
                family=family,
                forecast=kind,
            )
        yield self._exhibit(forecast, context)

    def _measurements(
        self, forecast: DensityForecast, context: Context
    ) -> dict[tuple[str, float], float]:
        errors = influence(forecast)
        null = simulate_tests(forecast, self.levels, self.draws, context.rng("tail_risk:null"))
        ties = context.rng("tail_risk:ties")
        found: dict[tuple[str, float], float] = {}

        def judge(metric: str, level: float, value: float, drawn: np.ndarray, tail: str) -> None:
            known = np.isfinite(value) and bool(np.isfinite(drawn).any())
            found[metric, level] = (
                simulated_probability(value, drawn, ties, tail=tail) if known else float("nan")
            )

        for place, level in enumerate(self.levels):
            quantile, shortfall = forecast.quantile(level), forecast.shortfall(level)
            hits, drawn = forecast.outcome < quantile, null.hits[place]
            found["hit_rate", level] = float(hits.mean())
            found["coverage_probability", level] = coverage_probability(forecast, errors, level)
            for metric, statistic in _statistics(level, quantile, self.lags).items():
                judge(metric, level, float(statistic(hits)), statistic(drawn), "upper")
            losses = bool((shortfall < 0.0).all())
            relative = (
                np.where(hits, forecast.outcome / shortfall, 0.0) if losses else hits * np.nan
            )
            for metric, value, nulls in (
                ("shortfall_given_hits", shortfall_given_hits(relative, hits),
                 shortfall_given_hits(null.relative[place], drawn)),
                ("shortfall", shortfall_and_hits(relative, hits, level),
                 shortfall_and_hits(null.relative[place], drawn, level)),
            ):  # fmt: skip
                found[metric, level] = float(value)
                judge(f"{metric}_probability", level, float(value), nulls, "lower")
        return found

    def _exhibit(self, forecast: DensityForecast, context: Context) -> Exhibit:
        level = min(self.levels)
        quantile = forecast.quantile(level)
        hits = forecast.outcome < quantile
        times = context.bars.index[forecast.rows + 1]
        return Exhibit(
            check=self.card.name,
            name="hits",
            title=f"Returns against their forecast {100 * level:g} % quantile",
            kind="time_series",
            columns=(
                Column(name="time", values=tuple(stamp.isoformat() for stamp in times)),
                Column(name="return", unit="%", values=_percent(forecast.outcome)),
                Column(name="value at risk", unit="%", values=_percent(quantile)),
                Column(
                    name="below it",
                    unit="%",
                    values=tuple(
                        100.0 * float(value) if hit else None
                        for value, hit in zip(forecast.outcome, hits, strict=True)
                    ),
                ),
            ),
            y_label="return of the next bar, %",
            note=f"{int(hits.sum())} of {len(hits)} below, {level * len(hits):.0f} expected; "
            + forecast.note,
        )


def _statistics(level: float, quantile: np.ndarray, lags: int) -> dict[str, HitStatistic]:
    return {
        "kupiec_probability": lambda hits: coverage_ratio(hits, level),
        "independence_probability": independence_ratio,
        "conditional_probability": lambda hits: conditional_ratio(hits, level),
        "dynamic_quantile_probability": lambda hits: dynamic_quantile(
            hits, quantile, level, lags=lags
        ),
    }


def _percent(values: np.ndarray) -> tuple[float, ...]:
    return tuple((100.0 * values).tolist())
