"""Check: have inputs, latents or outputs moved away from what the model was trained on?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Capability, Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Evidence, Exhibit, Hypothesis, MetricSpec, Residual, Window
from governance.statistics.drift import ComparedSeries, NullSettings, compare_panel, joint_excess
from governance.statistics.drift_exhibits import index_exhibit, series_exhibit, years_exhibit
from governance.statistics.null_distances import LEAST_ROWS
from governance.statistics.panels import Panel, inputs_panel, latents_panel, outputs_panel
from governance.statistics.two_sample import DISTANCES

LEAST_CURRENT_ROWS = 20

_MEANINGS = {
    "psi": ("nats", "Population stability index of test rows against training rows"),
    "kl_reference_to_current": ("nats", "Kullback-Leibler divergence of test from training rows"),
    "kl_current_to_reference": ("nats", "Kullback-Leibler divergence of training from test rows"),
    "jensen_shannon": ("nats", "Jensen-Shannon divergence, at most ln 2"),
    "ks": ("fraction", "Largest gap between the two distribution functions"),
}
_METRICS = (
    *(MetricSpec(name=name, unit=unit, better="lower", meaning=meaning)
      for name, (unit, meaning) in _MEANINGS.items()),
    *(MetricSpec(name=f"{name}_excess", unit="multiple of null limit", better="lower",
                 meaning=f"{name} over its null limit: above 1 where the two samples are further "
                         "apart than two of the same law would be, but for the false-alarm rate")
      for name in DISTANCES),
    MetricSpec(name="shift_direction", unit="training standard deviations", better="near",
               meaning="Mean of the test rows less that of the training rows, with its sign"),
    MetricSpec(name="scale_shift", unit="log ratio", better="near",
               meaning="Logarithm of standard deviation in test over that in training"),
    MetricSpec(name="effective_size", unit="independent observations", better="none",
               meaning="Independent values that the test rows are worth"),
    MetricSpec(name="share_beyond_null", unit="fraction of series", better="lower",
               meaning="Series whose population stability index is beyond its null limit; without "
                       "drift the false-alarm rate is expected"),
    MetricSpec(name="joint_excess", unit="multiple of joint null limit", better="lower",
               meaning="Largest psi_excess of the panel over what the largest would be by chance: "
                       "above 1 at the false-alarm rate for the panel as a whole"),
)  # fmt: skip


@dataclass(frozen=True)
class Drift:
    """Distances of test rows from training rows, against limits from a block-bootstrap null.

    Parameters
    ----------
    bins : int
        Bins at equal shares of the training rows.
    false_alarm_rate : float
        Rate at which a limit is exceeded without drift.
    draws : int
        Bootstrap draws behind a limit.
    """

    bins: int = 10
    false_alarm_rate: float = 0.05
    draws: int = 400

    card: ClassVar[CheckCard] = CheckCard(
        name="drift",
        version=1,
        title="Drift",
        question="Do the market and the model still look as they did in training?",
        pillar="ongoing_monitoring",
        hypothesis=Hypothesis(
            null="Training and test rows come from one stationary law",
            alternative="Their distributions differ",
        ),
        method="The last fold's training rows are the reference, its test rows the current sample, "
        "for every input, latent and output of the candidate. Bins are quantiles of the "
        "reference, half a count is added to each bin of both samples. Limits are quantiles of "
        "the same distance between two samples drawn from the reference in circular blocks, of "
        "the actual sizes less what blocks lose of the long-run variance, so that they hold "
        "for series that follow themselves closely. Under an autoregression of 0.97 a fixed "
        "limit of 0.25 on the stability index (2000 against 500 rows) is exceeded by two in "
        "five samples without drift, these limits by about one in twenty.",
        limitations=(
            "Each series is compared on its own: a change of dependence alone is not seen",
            "The reference is taken as stationary; a training window with several regimes "
            "widens the limits",
            "A sample worth few independent values, see effective_size, can show gross drift only",
            "Training rows worth fewer than about 20 independent values make limits tight: with "
            "three spells of stress in training, one sample in six is beyond without drift",
            "Drift says that the world or the model's view of it changed, not that the model errs",
            "Latents and outputs on training rows are in-sample",
        ),
        references=(
            "Siddiqi (2006), Credit Risk Scorecards",
            "Yurdakul (2018), Statistical Properties of Population Stability Index",
            "Westfall & Young (1993), Resampling-Based Multiple Testing",
            "Lin (1991), Divergence measures based on the Shannon entropy",
            "Politis & Romano (1992), A circular block-resampling procedure for stationary data",
            "Künsch (1989), The jackknife and the bootstrap for general stationary observations",
        ),
        metrics=_METRICS,
    )

    def __post_init__(self) -> None:
        tail_draws = self.draws * self.false_alarm_rate
        if self.bins < 2 or not 0.0 < self.false_alarm_rate < 0.5 or tail_draws < 5:
            raise InputError(
                "drift cannot use these parameters",
                expected="two bins or more, a rate below 0.5 and draws times rate of at least 5",
                got=f"{self.bins} bins, rate {self.false_alarm_rate}, {self.draws} draws",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield distances and their excess per series, summaries per panel and the tables."""
        fold = context.last_fold
        window = context.test_window(fold)
        if Capability.REFIT not in subject.capabilities:
            window = window.model_copy(update={"trained_until": ""})
        panels = _panels(context.candidate(subject), context)
        compared: list[ComparedSeries] = []
        for panel in panels:
            reference, current = _samples(panel, context)
            mine = compare_panel(panel, reference, current, self._settings, context.rng)
            for series in mine:
                yield from self._series(series, window)
            joint = joint_excess(mine, self._settings, context.rng(f"drift.{panel.name}.joint"))
            yield from self._summary(panel.name, mine, joint, window)
            compared += mine
        if all(panel.name != "latents" for panel in panels):
            for metric in ("share_beyond_null", "joint_excess"):
                reason = "the signals carry no latents"
                yield not_measured(self, metric, reason, window=window, panel="latents")
        share = float(np.mean([series.beyond for series in compared]))
        yield measured(self, "share_beyond_null", share, n=len(compared), window=window)
        yield index_exhibit(self.card.name, compared, self.false_alarm_rate)
        yield series_exhibit(self.card.name, compared)
        by_year = years_exhibit(
            self.card.name, panels[0], context.bars.index, context.folds, self.bins
        )
        if by_year is not None:
            yield by_year

    @property
    def _settings(self) -> NullSettings:
        return NullSettings(self.bins, self.false_alarm_rate, self.draws)

    def _series(self, series: ComparedSeries, window: Window) -> Iterator[Evidence]:
        checks = series.identities(self.bins)
        for name in DISTANCES:
            yield self._of(series, name, series.found[name], window, "", checks.get(name))
        reason = "constant in training: there is no null to compare with"
        for name in DISTANCES:
            yield self._of(series, f"{name}_excess", series.excess(name), window, reason)
        reason = "constant in training"
        yield self._of(series, "shift_direction", series.mean_shift, window, reason)
        reason = "constant in training or in the test"
        yield self._of(series, "scale_shift", series.scale_shift, window, reason)
        reason = "constant in the test"
        yield self._of(series, "effective_size", series.worth[1], window, reason)

    def _of(
        self,
        series: ComparedSeries,
        metric: str,
        value: float | None,
        window: Window,
        reason: str,
        self_check: Residual | None = None,
    ) -> Evidence:
        """Evidence about one series; a value of None is not measured for the reason given."""
        panel, feature = series.panel, series.name
        if value is None:
            return not_measured(self, metric, reason, window=window, panel=panel, feature=feature)
        return measured(
            self,
            metric,
            value,
            n=len(series.current),
            window=window,
            self_check=self_check,
            panel=panel,
            feature=feature,
        )

    def _summary(
        self, panel: str, mine: list[ComparedSeries], joint: float | None, window: Window
    ) -> Iterator[Evidence]:
        share = float(np.mean([series.beyond for series in mine]))
        yield measured(self, "share_beyond_null", share, n=len(mine), window=window, panel=panel)
        if joint is None:
            reason = "every series is constant in training"
            yield not_measured(self, "joint_excess", reason, window=window, panel=panel)
        else:
            rows = len(mine[0].current)
            yield measured(self, "joint_excess", joint, n=rows, window=window, panel=panel)


def _panels(candidate: Subject, context: Context) -> list[Panel]:
    bars = context.bars.rows(0, context.last_fold.test_end)
    signals = context.cache.signals(candidate, bars)
    warm = candidate.card.warmup_bars
    found = [inputs_panel(candidate, bars), outputs_panel(signals, warm)]
    latents = latents_panel(signals, warm)
    return found if latents is None else [*found, latents]


def _samples(panel: Panel, context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows of the last fold, outside warm-up."""
    fold = context.last_fold
    reference = panel.table[panel.first : fold.train_end]
    current = panel.table[max(fold.test_start, panel.first) : fold.test_end]
    if len(reference) < LEAST_ROWS or len(current) < LEAST_CURRENT_ROWS:
        raise Skip(
            f"too few rows outside warm-up: {len(reference)} in training (at least {LEAST_ROWS}), "
            f"{len(current)} in the test (at least {LEAST_CURRENT_ROWS})"
        )
    return reference, current
