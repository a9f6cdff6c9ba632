"""Check: is anything left to predict in what the positions earned, or in the forecast's errors?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Hypothesis, MetricSpec
from governance.statistics.holm import holm
from governance.statistics.implied_forecast import density_forecast
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.serial_dependence import (
    arch_lm,
    jarque_bera,
    ljung_box,
    robust_ljung_box,
)

_SHOWN = 40


def _p(name: str, meaning: str) -> MetricSpec:
    return MetricSpec(name=name, unit="probability", better="higher", meaning=meaning)


@dataclass(frozen=True)
class Residuals:
    """Serial correlation, clustering and normality of returns after positions and of errors.

    Parameters
    ----------
    lags : tuple of int
        Up to which autocorrelations are tested, ascending.
    """

    lags: tuple[int, ...] = (1, 5, 20)

    card: ClassVar[CheckCard] = CheckCard(
        name="residuals",
        version=1,
        title="Residuals",
        question="Is anything left to predict in what was earned or in the forecast's errors?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="Returns after positions, and errors of the forecast law, follow nothing before",
            alternative="They follow themselves, or their sizes do",
        ),
        method="Returns net of cost of the out-of-sample positions are tested for autocorrelation "
        "with a statistic that clustering volatility does not inflate. Errors of the forecast are "
        "the normal scores of returns in their law (the subject's own mean and volatility, or what "
        "its regimes imply; the evidence says which), tested for autocorrelation, and their sizes "
        "by Ljung and Box's statistic of squares and by Engle's multiplier, against chi-squared.",
        limitations=(
            "Autocorrelated returns need not be a fault: they may be true reward, stale prices, or "
            "execution at prices that were no longer there",
            "Regimes that imply the law leave clustering within a regime, which is no surprise",
            "Normality is reported and never judged: returns of sound models are not normal",
            "Linear dependence and that of squares alone are seen",
        ),
        references=(
            "Ljung & Box (1978), Biometrika 65",
            "Lobato, Nankervis & Savin (2001), International Economic Review 42",
            "Engle (1982), Econometrica 50; Jarque & Bera (1987), International Statistical Review",
        ),
        metrics=(
            _p("return_probability", "Of returns after positions this autocorrelated, robust"),
            _p("return_square_probability", "Of their squares this autocorrelated"),
            _p("error_probability", "Of forecast errors this autocorrelated, robust"),
            _p("error_square_probability", "Of their squares this autocorrelated"),
            _p("arch_probability", "Of squares of errors this predictable from earlier ones"),
            MetricSpec(name="normality_statistic", unit="chi-squared", better="none",
                       meaning="Jarque and Bera's, of returns after positions"),
            _p("adjusted_probability", "Smallest of a family of tests after Holm's adjustment"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not self.lags or not all(1 <= lag <= 100 for lag in self.lags):
            raise InputError(
                "residuals cannot use these lags", expected="1 to 100", got=str(self.lags)
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield probabilities of what was earned, then of the forecast's errors."""
        tested = out_of_sample(subject, context)
        window, n = context.out_of_sample_window, len(tested.net)
        if n < 4 * max(self.lags) + 4:
            raise Skip(f"{n} periods are too few for {max(self.lags)} lags")
        if np.ptp(tested.net) == 0.0:
            raise Skip("returns that do not vary follow nothing")
        judged = []
        for lag in self.lags:
            probability = _beyond(robust_ljung_box(tested.net, lag), lag)
            squares = _beyond(ljung_box(tested.net**2, lag), lag)
            judged.append(probability)
            for metric, value in (
                ("return_probability", probability),
                ("return_square_probability", squares),
            ):
                yield measured(self, metric, value, n=n, window=window, lags=str(lag))
        yield measured(
            self, "normality_statistic", float(jarque_bera(tested.net)), n=n, window=window
        )
        name, note = "adjusted_probability", f"of {len(judged)} tests"
        value = float(holm(np.array(judged)).min())
        yield measured(self, name, value, n=n, window=window, note=note, family="returns")
        yield from self._errors(subject, context)
        yield self._exhibit(tested.net)

    def _errors(self, subject: Subject, context: Context) -> Iterator[Evidence]:
        window, name = context.out_of_sample_window, "adjusted_probability"
        try:
            forecast = density_forecast(subject, context)
        except Skip as reason:
            yield not_measured(self, name, str(reason), window=window, family="errors")
            return
        errors, n, kind = ndtri(forecast.pit), len(forecast), forecast.kind
        judged = []
        for lag in self.lags:
            for metric, statistic in (
                ("error_probability", robust_ljung_box(errors, lag)),
                ("error_square_probability", ljung_box(errors**2, lag)),
                ("arch_probability", arch_lm(errors, lag)),
            ):
                judged.append(_beyond(statistic, lag))
                yield measured(
                    self,
                    metric,
                    judged[-1],
                    n=n,
                    window=window,
                    note=forecast.note,
                    lags=str(lag),
                    forecast=kind,
                )
        yield measured(
            self,
            name,
            float(holm(np.array(judged)).min()),
            n=n,
            window=window,
            note=f"of {len(judged)} tests; {forecast.note}",
            family="errors",
            forecast=kind,
        )

    def _exhibit(self, net: np.ndarray) -> Exhibit:
        shown = min(_SHOWN, len(net) // 4)

        def correlogram(values: np.ndarray) -> tuple[float, ...]:
            centred = values - values.mean()
            total = float(centred @ centred)
            return tuple(float(centred[k:] @ centred[:-k]) / total for k in range(1, shown + 1))

        return Exhibit(
            check=self.card.name,
            name="correlogram",
            title="Autocorrelation of returns after positions",
            kind="bar",
            columns=(
                Column(name="lag", values=tuple(str(k) for k in range(1, shown + 1))),
                Column(name="returns", values=correlogram(net)),
                Column(name="squared returns", values=correlogram(net**2)),
            ),
            y_label="autocorrelation",
            note=f"Independent returns stay within {1.96 / np.sqrt(len(net)):.3f} of zero at "
            "nineteen lags in twenty.",
        )


def _beyond(statistic: np.ndarray, freedom: int) -> float:
    return float(chi2.sf(float(statistic), freedom))
