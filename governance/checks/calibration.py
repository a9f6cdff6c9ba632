"""Check: do forecast laws, intervals and stress probabilities mean what they say?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import (
    CheckCard,
    Column,
    Evidence,
    Exhibit,
    Hypothesis,
    MetricSpec,
    Residual,
)
from governance.statistics.calibration import berkowitz_ratio
from governance.statistics.conformal import Intervals, conformal_exhibit, error_bound, intervals
from governance.statistics.forecast_dependence import (
    Influence,
    influence,
    interval_probability,
    uniformity_probability,
)
from governance.statistics.forecast_null import simulate_tests
from governance.statistics.holm import holm, simulated_probability
from governance.statistics.implied_forecast import DensityForecast, density_forecast
from governance.statistics.proportion import exact_interval
from governance.statistics.resampling import Bootstrap, block_length
from governance.statistics.serial_dependence import ljung_box
from governance.statistics.storms import Storms, storms_exhibit, storms_of

_BINS, _LAGS = 20, 10
_LOCAL_BARS = 250


_OF_STORMS = (
    "brier_score", "brier_skill", "reliability", "resolution", "uncertainty", "discrimination",
)  # fmt: skip
_INDEPENDENCE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "berkowitz_probability": berkowitz_ratio,
    "rank_dependence_probability": lambda pit: ljung_box(pit, _LAGS),
    "spread_dependence_probability": lambda pit: ljung_box((pit - 0.5) ** 2, _LAGS),
}


def _p(name: str, meaning: str) -> MetricSpec:
    return MetricSpec(name=name, unit="probability", better="higher", meaning=meaning)


@dataclass(frozen=True)
class Calibration:
    """Probability integral transforms, intervals, variance ratio, and stress probabilities.

    Parameters
    ----------
    intervals : tuple of float
        Shares that central intervals of the next return should hold.
    horizon : int
        Bars after which a stress probability is held against what came.
    storm_quantile : float
        Of realised volatility in training, above which bars are a storm.
    draws : int
        Of simulated nulls and resampled histories.
    adaptation : float
        Step gamma of adaptive conformal intervals, a bar.
    """

    intervals: tuple[float, ...] = (0.5, 0.8, 0.95)
    horizon: int = 21
    storm_quantile: float = 0.75
    draws: int = 499
    adaptation: float = 0.005

    card: ClassVar[CheckCard] = CheckCard(
        name="calibration",
        version=1,
        title="Calibration",
        question="Do the probabilities mean what they say?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="Every next return is a draw of the law forecast for it",
            alternative="Ranks of returns in their laws are not uniform, or follow each other",
        ),
        method="The law is the subject's own mean and volatility with standardised residuals of "
        "training (forecast: given), or, where it gives none, what followed the same regime in "
        "training (forecast: implied). Uniformity of ranks and coverage of intervals are judged "
        "with the dependence of blocks of bars, laws' own error included; independence by "
        "Berkowitz's ratio and Ljung and Box's statistic of ranks and of their squared distance "
        "from the middle, against simulated forecasts that are right. Intervals are split-"
        "conformal: quantiles of training with the finite-sample correction. Beside them stand "
        "adaptive ones, which ask for alpha_t errors instead of alpha, alpha_t rising by gamma "
        "(alpha - error) after every bar: their mean error comes within (max(alpha, 1 - alpha) + "
        "gamma) / (gamma n) of alpha whatever the market does. Adaptive coverage therefore says "
        "nothing for the forecast; what it had to pay in width beside split intervals, and how "
        "low split coverage falls over 250 bars, does. The stress "
        "probability is scored against storms: the next bars' realised volatility above its "
        "training quantile.",
        limitations=(
            "A regime model that forecasts no return is judged by what its regimes imply",
            "A stress probability need not be the probability of this storm: discrimination says "
            "more of it than reliability",
            "Storms of neighbouring bars overlap; intervals resample blocks for that",
            "Split-conformal coverage is promised for exchangeable returns, which markets are not; "
            "adaptive coverage is promised on average over time, not in any one stretch",
            "Adaptive intervals may be the whole line after errors in a row; the mean width leaves "
            "those out and their number stands beside it",
        ),
        references=(
            "Diebold, Gunther & Tay (1998), International Economic Review 39(4)",
            "Berkowitz (2001), Journal of Business & Economic Statistics 19(4)",
            "Murphy (1973); Stephenson, Coelho & Jolliffe (2008): decomposition of the Brier score",
            "Yates (1982), External correspondence: decompositions of the mean probability score",
            "Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World",
            "Gibbs & Candes (2021), Adaptive conformal inference under distribution shift, NeurIPS",
        ),
        metrics=(
            MetricSpec(name="uniformity_distance", unit="probability", better="lower",
                       meaning="Largest distance of the ranks' distribution from uniform"),
            _p("uniformity_probability", "Of such a distance, ranks following each other"),
            _p("berkowitz_probability", "Of scores this far from independent standard normal ones"),
            _p("rank_dependence_probability", "Of ranks this autocorrelated"),
            _p("spread_dependence_probability", "Of ranks' distances this autocorrelated"),
            MetricSpec(name="interval_coverage", unit="fraction of bars", better="near",
                       meaning="Share of next returns within the interval"),
            _p("interval_probability", "Of coverage this far off, errors following each other"),
            MetricSpec(name="conformal_coverage", unit="fraction of bars", better="near",
                       meaning="Share of next returns within a split or adaptive interval"),
            MetricSpec(name="conformal_width", unit="return per bar", better="lower",
                       meaning="Mean width of the intervals that have ends"),
            MetricSpec(name="conformal_worst_window", unit="fraction of bars", better="higher",
                       meaning="Lowest coverage over any 250 bars in a row"),
            MetricSpec(name="variance_ratio", unit="ratio", better="near",
                       meaning="Mean squared error over forecast variance, of a given forecast"),
            _p("adjusted_probability", "Smallest of a family of tests after Holm's adjustment"),
            MetricSpec(name="brier_score", unit="probability squared", better="lower",
                       meaning="Mean squared difference of stress probability and storm"),
            MetricSpec(name="brier_skill", unit="fraction", better="higher",
                       meaning="Reduction of that score from always saying the training rate"),
            MetricSpec(name="reliability", unit="probability squared", better="lower",
                       meaning="Part of the score from probabilities that differ from rates"),
            MetricSpec(name="resolution", unit="probability squared", better="higher",
                       meaning="Part that rates of storms differing by probability take off"),
            MetricSpec(name="uncertainty", unit="probability squared", better="none",
                       meaning="Variance of storms, which no forecast changes"),
            MetricSpec(name="discrimination", unit="probability", better="higher",
                       meaning="Mean stress probability before storms less that before calm"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        shares = self.intervals and all(0.0 < share < 1.0 for share in self.intervals)
        if (
            not (shares and 0.0 < self.storm_quantile < 1.0)
            or self.draws < 99
            or not 2 <= self.horizon <= 260
            or not 0.0 < self.adaptation < 1.0
        ):
            raise InputError(
                "calibration cannot use these parameters",
                expected="shares between 0 and 1, draws >= 99, a horizon of 2 to 260 bars, an "
                "adaptation between 0 and 1",
                got=f"{self.intervals}, {self.storm_quantile}, {self.draws}, {self.horizon}, "
                f"{self.adaptation}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what ranks, intervals and scale say, then what stress probabilities are worth."""
        try:
            forecast = density_forecast(subject, context)
        except Skip as reason:
            for metric in ("adjusted_probability", "variance_ratio"):
                window = context.out_of_sample_window
                yield not_measured(self, metric, str(reason), window=window)
        else:
            yield from self._ranks(forecast, influence(forecast), context)
            yield from self._scale(forecast, context)
            yield from self._conformal(forecast, context)
            yield self._exhibit(forecast)
        yield from self._storms(subject, context)

    def _ranks(
        self, forecast: DensityForecast, errors: Influence, context: Context
    ) -> Iterator[Evidence]:
        window, n, kind = context.out_of_sample_window, len(forecast), forecast.kind

        def said(metric: str, value: float, note: str = forecast.note) -> Evidence:
            return measured(
                self, metric, value, n=n, window=window, note=note, forecast=kind
            )  # fmt: skip

        distance, uniform = uniformity_probability(
            forecast, errors, self.draws, context.rng("calibration:uniformity")
        )
        yield said("uniformity_distance", distance)
        yield said("uniformity_probability", uniform)
        null = simulate_tests(forecast, (), self.draws, context.rng("calibration:null")).pit
        ties = context.rng("calibration:ties")
        found: dict[str, float] = {}
        for metric, statistic in _INDEPENDENCE.items():
            value = float(statistic(forecast.pit))
            found[metric] = simulated_probability(value, statistic(null), ties)
            yield said(metric, found[metric])
        covered = [interval_probability(forecast, errors, share) for share in self.intervals]
        yield from self._intervals(forecast, covered, context)
        for family, values in (
            ("uniformity", [uniform, *covered]),
            ("independence", list(found.values())),
        ):
            yield measured(
                self,
                "adjusted_probability",
                float(holm(np.array(values)).min()),
                n=n,
                window=window,
                note=f"of {len(values)} tests; {forecast.note}",
                family=family,
                forecast=kind,
            )

    def _intervals(
        self, forecast: DensityForecast, probabilities: list[float], context: Context
    ) -> Iterator[Evidence]:
        window, n, kind = context.out_of_sample_window, len(forecast), forecast.kind
        for share, probability in zip(self.intervals, probabilities, strict=True):
            tail, level = 0.5 * (1.0 - share), f"{share:g}"
            inside = (forecast.outcome >= forecast.quantile(tail)) & (
                forecast.outcome <= forecast.quantile(1.0 - tail)
            )
            yield measured(
                self,
                "interval_coverage",
                float(inside.mean()),
                n=n,
                window=window,
                interval=exact_interval(int(inside.sum()), n),
                note=forecast.note,
                level=level,
                forecast=kind,
            )
            name = "interval_probability"
            yield measured(self, name, probability, n=n, window=window, level=level, forecast=kind)

    def _conformal(
        self, forecast: DensityForecast, context: Context
    ) -> Iterator[Evidence | Exhibit]:
        made = {
            (f"{share:g}", method): intervals(forecast, share, gamma)
            for share in self.intervals
            for method, gamma in (("split", 0.0), ("adaptive", self.adaptation))
        }
        for (level, method), found in made.items():
            yield self._coverage(found, forecast, context, level, method)
            bounded = int(found.bounded.sum())
            unbounded = len(forecast) - bounded
            note = f"{unbounded} of {len(forecast)} intervals were the whole line and are left out"
            where = {"level": level, "method": method, "forecast": forecast.kind}
            yield self._said(
                "conformal_width", found.mean_width, context, bounded,
                where, note if unbounded else forecast.note, "every interval was the whole line",
            )  # fmt: skip
            yield self._said(
                "conformal_worst_window", found.worst_window(_LOCAL_BARS), context, len(forecast),
                where, forecast.note, f"fewer than {_LOCAL_BARS} forecasts",
            )  # fmt: skip
        yield conformal_exhibit(self.card.name, made, _LOCAL_BARS, self.adaptation)

    def _coverage(
        self, found: Intervals, forecast: DensityForecast, context: Context, level: str, method: str
    ) -> Evidence:
        inside, n = (~found.missed).astype(np.float64), len(forecast)
        drawn = Bootstrap(block_length(inside), self.draws).intervals(
            {"coverage": lambda columns: columns["inside"].mean(axis=-1)},
            {"inside": inside},
            context.rng(f"calibration:conformal:{method}:{level}"),
        )["coverage"]
        alpha = 1.0 - float(level)
        residual = Residual(
            what="mean error less alpha, within the bound of adaptive conformal inference",
            value=float(found.missed.mean()) - alpha,
            tolerance=error_bound(n, alpha, self.adaptation),
        )
        return measured(
            self, "conformal_coverage", float(inside.mean()), n=n,
            window=context.out_of_sample_window,
            interval=drawn or exact_interval(int(inside.sum()), n),
            self_check=residual if method == "adaptive" else None, note=forecast.note,
            level=level, method=method, forecast=forecast.kind,
        )  # fmt: skip

    def _said(
        self, metric: str, value: float, context: Context, n: int, where: dict[str, str],
        note: str, undefined: str,
    ) -> Evidence:  # fmt: skip
        window = context.out_of_sample_window
        if np.isnan(value):
            return not_measured(self, metric, undefined, window=window, errored=False, **where)
        return measured(
            self, metric, float(value), n=n, window=window, interval=None, self_check=None,
            unit="", note=note, **where,
        )  # fmt: skip

    def _scale(self, forecast: DensityForecast, context: Context) -> Iterator[Evidence]:
        window = context.out_of_sample_window
        if forecast.kind == "implied":
            reason = "the subject forecasts no volatility of its own"
            yield not_measured(self, "variance_ratio", reason, window=window)
            return
        squares = forecast.residual**2
        statistics = {"ratio": lambda columns: columns["z"].mean(axis=-1)}
        interval = Bootstrap(block_length(squares), self.draws).intervals(
            statistics, {"z": squares}, context.rng("calibration:scale")
        )["ratio"]
        value = float(squares.mean())
        yield measured(
            self, "variance_ratio", value, n=len(forecast), window=window, interval=interval
        )

    def _storms(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        window = context.out_of_sample_window
        found = storms_of(subject, context, self.horizon, self.storm_quantile)
        if not isinstance(found, Storms):
            for metric in _OF_STORMS:
                yield not_measured(self, metric, found, window=window)
            return
        score = found.score
        n = len(found.event)
        intervals = found.intervals(self.draws, context.rng("calibration:storms"))
        for metric, value in (
            ("brier_score", score.score),
            ("brier_skill", found.skill),
            ("reliability", score.reliability),
            ("resolution", score.resolution),
            ("uncertainty", score.uncertainty),
            ("discrimination", found.discrimination),
        ):
            if np.isnan(value):
                reason = "storms, or calm, never came"
                yield not_measured(self, metric, reason, window=window)
                continue
            yield measured(
                self, metric, value, n=n, window=window, interval=intervals.get(metric),
                note=found.note,
            )  # fmt: skip
        yield storms_exhibit(self.card.name, found, self.draws, context.rng("calibration:bins"))

    def _exhibit(self, forecast: DensityForecast) -> Exhibit:
        counts = np.histogram(forecast.pit, bins=_BINS, range=(0.0, 1.0))[0]
        edges = np.linspace(0.0, 1.0, _BINS + 1)
        return Exhibit(
            check=self.card.name,
            name="ranks",
            title="Where returns fell in their forecast laws",
            kind="bar",
            columns=(
                Column(
                    name="rank",
                    values=tuple(f"{a:.2f}-{b:.2f}" for a, b in pairwise(edges)),
                ),
                Column(
                    name="over expected",
                    values=tuple((counts * _BINS / len(forecast)).tolist()),
                ),
            ),
            y_label="times as many as expected",
            note=f"Level at 1 if the forecast is right. {forecast.note}",
        )
