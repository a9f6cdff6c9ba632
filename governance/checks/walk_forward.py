"""Check: what the model would have earned, and how well it saw falls, out of sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Capability, Subject
from governance.check import Context, measured, not_measured
from governance.record import (
    CheckCard,
    Column,
    Evidence,
    Exhibit,
    Hypothesis,
    Interval,
    MetricSpec,
    Residual,
    Window,
)
from governance.statistics import curves
from governance.statistics.out_of_sample import OutOfSample, out_of_sample
from governance.statistics.outcomes import (
    accounting_residual,
    alarm_statistics,
    earning_columns,
    earning_statistics,
    of_histories,
    undefined_reason,
    yearly_rates,
)
from governance.statistics.proportion import exact_interval
from governance.statistics.rate import exact_rate_interval
from governance.statistics.regimes import (
    Alarms,
    below_high,
    falls,
    flickers,
    score_alarms,
    shifts,
)
from governance.statistics.resampling import Bootstrap, block_length, percentile_interval

MIN_FALLS = 5
PER_FOLD = ("sharpe", "annual_return", "max_drawdown", "exposure_share")

_METRICS = (
    ("sharpe", "ratio p.a.", "higher", "Mean over standard deviation of net returns, cash at 0"),
    ("sortino", "ratio p.a.", "higher", "Mean over downside deviation of net returns"),
    ("annual_return", "fraction p.a.", "higher", "Compound net growth a year"),
    ("annual_volatility", "fraction p.a.", "none", "Standard deviation of net returns a year"),
    ("max_drawdown", "fraction", "higher", "Deepest fall of net wealth from its high; negative"),
    ("calmar", "ratio p.a.", "higher", "Compound growth over the size of the deepest drawdown"),
    ("expected_shortfall", "fraction per bar", "higher", "Mean of the worst 5 % of net returns"),
    ("turnover_per_year", "round trips p.a.", "lower", "Half the sum of changes of exposure"),
    ("cost_drag", "fraction p.a.", "lower", "Return a year paid for trading"),
    ("exposure_share", "fraction of capital", "none", "Mean held exposure"),
    ("sortino_in_drawdown", "ratio p.a.", "higher",
     "Sortino ratio over bars that begin with the market well below its high"),
    ("regime_shifts_per_year", "shifts p.a.", "lower", "Changes of the issued regime"),
    ("flickers_per_year", "shifts p.a.", "lower", "Regime changes undone within a few bars"),
    ("detection_rate", "fraction of falls", "higher",
     "Falls in which the subject was risk-off between peak and trough"),
    ("time_to_detection_days", "calendar days", "lower",
     "Median time from a peak to the first risk-off signal; missed falls count as infinite"),
    ("time_to_clear_days", "calendar days", "lower",
     "Median time from a trough to the first signal that is no longer risk-off"),
    ("false_alarms_per_year", "onsets p.a.", "lower",
     "Switches to risk-off outside falls, per year outside falls"),
    ("alarm_share_outside", "fraction of bars", "lower", "Bars outside falls that are risk-off"),
    ("kill_switch_trips_per_year", "trips p.a.", "lower", "Latchings of the kill switch"),
    ("tripped_share", "fraction of bars", "lower", "Bars with the kill switch latched"),
)  # fmt: skip


@dataclass(frozen=True)
class WalkForward:
    """Anchored walk-forward with costs, delay, block-bootstrap intervals and regime scores.

    Parameters
    ----------
    draws : int
        Bootstrap draws.
    level : float
        Confidence level of the intervals.
    fall, rebound : float
        What counts as a fall of the market and as its end; see
        :func:`governance.statistics.regimes.falls`.
    depth : float
        How far below its high the market must be for ``sortino_in_drawdown``.
    flicker_bars : int
        Bars within which a shift that is undone counts as a flicker.
    """

    draws: int = 1000
    level: float = 0.95
    fall: float = 0.10
    rebound: float = 0.20
    depth: float = 0.10
    flicker_bars: int = 5

    card: ClassVar[CheckCard] = CheckCard(
        name="walk_forward",
        version=2,
        title="Walk-forward outcomes",
        question="What would the model have earned on data it was not trained on, after costs, "
        "and how soon did it see the market's falls?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="The mean net return out of sample is zero (Sharpe ratio 0)",
            alternative="It is not",
        ),
        method="The subject is refitted on each fold's training bars, replays them and signals "
        "through the test bars. Tests are joined, traded with the plan's delay and one-way cost, "
        "and measured once as a whole and once per fold. Each period belongs to the fold whose "
        "model decided it. Profit and loss is computed from positions and returns and compared "
        "with the model stack's own backtest, an event loop. Intervals are percentiles of a "
        "stationary block bootstrap with automatic block length. Falls of the market are dated "
        "in hindsight from the out-of-sample closes and serve only to score signals; risk-off "
        "means a regime at least as stressed as the worst in training, or at most half the largest "
        "training exposure.",
        limitations=(
            "One historical path: intervals speak of sampling, not of markets that never occurred",
            "Refitting hides a subject whose fit depends on luck: one seed is run",
            "Times to detect and to clear rest on few falls; the execution delay comes on top",
            "A subject that cannot refit is out of sample only if its developer kept these bars "
            "out of its training; then no end of training is shown",
            "Costs are proportional; keeping a fractional exposure constant is free of cost",
            "Intervals of drawdown and Calmar ratio are ranges over resampled histories: these "
            "break falls longer than a block, and need not hold the observed value",
        ),
        references=(
            "Politis & Romano (1994), The stationary bootstrap, JASA 89",
            "Patton, Politis & White (2009), Automatic block-length selection, Econometric "
            "Reviews 28",
            "Lunde & Timmermann (2004), Duration dependence in stock prices, JBES 22(3)",
            "López de Prado (2018), Advances in Financial Machine Learning, chapters 7 and 11",
        ),
        metrics=tuple(
            MetricSpec(name=name, unit=unit, better=better, meaning=meaning)
            for name, unit, better, meaning in _METRICS
        ),
    )

    def __post_init__(self) -> None:
        if self.draws < 100 or not 0.5 <= self.level < 1.0 or self.flicker_bars < 1:
            raise InputError(
                "walk_forward cannot use these parameters",
                expected="draws >= 100, 0.5 <= level < 1 and flicker_bars >= 1",
                got=f"draws {self.draws}, level {self.level}, flicker_bars {self.flicker_bars}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield outcomes as a whole, regime scores, outcomes per fold and the curves behind."""
        tested = out_of_sample(subject, context)
        trained = Capability.REFIT in subject.capabilities
        window = _unless(trained, context.out_of_sample_window)
        yield from self._earnings(tested, context, window)
        yield from self._folds(tested, context, trained)
        yield from self._signalling(tested, context, window)
        episodes = falls(tested.bars.close, fall=self.fall, rebound=self.rebound)
        alarms = score_alarms(tested.off, episodes, tested.bars.index)
        yield from self._alarms(tested, alarms, context, window)
        yield from self._episodes(alarms, context, window)
        yield from self._kill_switch(tested, window)
        name = self.card.name
        series = {"model": tested.net, "buy and hold, no cost": tested.market}
        before_cost = {"model before cost": tested.gross}
        yield curves.equity_exhibit(name, {**series, **before_cost}, tested)
        yield curves.drawdown_exhibit(name, series, tested)
        yield curves.exposure_exhibit(name, tested)
        if episodes:
            yield curves.falls_exhibit(name, tested, episodes, alarms)
        trips = curves.trips_exhibit(name, tested)
        if trips is not None:
            yield trips

    def _earnings(
        self, tested: OutOfSample, context: Context, window: Window
    ) -> Iterator[Evidence]:
        closes = context.bars.close[: context.folds[-1].test_end]
        columns = earning_columns(tested, below_high(closes, self.depth)[-len(tested.bars) :])
        statistics = earning_statistics(tested.bars.bars_per_year)
        residual = accounting_residual(tested, context.cost_bps)
        intervals = self._bootstrap(tested.net).intervals(
            statistics, columns, context.rng("walk_forward.earnings")
        )
        for name, statistic in statistics.items():
            chosen = columns["low"] if name == "sortino_in_drawdown" else columns["net"]
            yield self._evidence(
                name,
                float(statistic(columns)),
                int(chosen.sum()) if chosen.dtype == np.bool_ else len(chosen),
                window,
                of_histories(name, intervals[name]),
                self_check=residual,
                undefined=undefined_reason(name),
            )

    def _folds(
        self, tested: OutOfSample, context: Context, trained: bool
    ) -> Iterator[Evidence | Exhibit]:
        statistics = earning_statistics(tested.bars.bars_per_year)
        chosen = {name: statistics[name] for name in PER_FOLD}
        labels: list[str] = []
        ratios: list[float | None] = []
        for fold in context.folds:
            part = tested.of_fold(fold.number)
            window = _unless(trained, context.test_window(fold))
            labels.append(f"{fold.number}: from {context.bars.index[fold.test_start].date()}")
            if part.sum() < 2:
                ratios.append(None)
                for name in PER_FOLD:
                    yield not_measured(
                        self, name, "fewer than two periods", window=window, fold=str(fold.number)
                    )
                continue
            columns = {name: column[part] for name, column in earning_columns(tested).items()}
            intervals = self._bootstrap(columns["net"]).intervals(
                chosen, columns, context.rng(f"walk_forward.fold.{fold.number}")
            )
            for name, statistic in chosen.items():
                evidence = self._evidence(
                    name,
                    float(statistic(columns)),
                    int(part.sum()),
                    window,
                    of_histories(name, intervals[name]),
                    undefined=undefined_reason(name),
                    fold=str(fold.number),
                )
                if name == "sharpe":
                    ratios.append(evidence.value)
                yield evidence
        yield Exhibit(
            check=self.card.name,
            name="folds",
            title="Sharpe ratio of each fold's test",
            kind="bar",
            columns=(
                Column(name="fold", values=tuple(labels)),
                Column(name="Sharpe ratio", values=tuple(ratios), unit="p.a."),
            ),
            y_label="Sharpe ratio p.a., net of cost",
        )

    def _signalling(
        self, tested: OutOfSample, context: Context, window: Window
    ) -> Iterator[Evidence]:
        columns = {
            "regime_shifts_per_year": shifts(tested.state).astype(float),
            "flickers_per_year": flickers(tested.state, self.flicker_bars).astype(float),
        }
        statistics = yearly_rates(tuple(columns), tested.bars.bars_per_year)
        intervals = self._bootstrap(tested.off).intervals(
            statistics, columns, context.rng("walk_forward.signalling")
        )
        years = len(tested.off) / tested.bars.bars_per_year
        for name, statistic in statistics.items():
            interval = intervals[name] or self._rare(columns[name], years)
            yield self._evidence(name, float(statistic(columns)), len(tested.off), window, interval)

    def _alarms(
        self, tested: OutOfSample, alarms: Alarms, context: Context, window: Window
    ) -> Iterator[Evidence]:
        columns = {
            "onsets": alarms.false_onsets.astype(float),
            "outside": alarms.outside.astype(float),
            "off_outside": (tested.off & alarms.outside).astype(float),
        }
        statistics = alarm_statistics(tested.bars.bars_per_year)
        intervals = self._bootstrap(tested.off).intervals(
            statistics, columns, context.rng("walk_forward.alarms")
        )
        outside = int(alarms.outside.sum())
        for name, statistic in statistics.items():
            interval = intervals[name]
            if name == "false_alarms_per_year" and interval is None and outside:
                interval = self._rare(columns["onsets"], outside / tested.bars.bars_per_year)
            yield self._evidence(
                name,
                float(statistic(columns)),
                outside,
                window,
                interval,
                undefined="every bar lies in a fall",
            )

    def _episodes(self, alarms: Alarms, context: Context, window: Window) -> Iterator[Evidence]:
        missing = f"the market did not fall by {self.fall:.0%} out of sample"
        never_off = missing
        if len(alarms.detection_days):
            never_off = "the subject was not risk-off at the trough of any fall"
        seen, n = int(np.isfinite(alarms.detection_days).sum()), len(alarms.detection_days)
        if n:
            interval = exact_interval(seen, n, level=self.level)
            yield self._evidence("detection_rate", seen / n, n, window, interval)
        else:
            yield not_measured(self, "detection_rate", missing, window=window)
        for name, values, nothing in (
            ("time_to_detection_days", alarms.detection_days, missing),
            ("time_to_clear_days", alarms.clearing_days, never_off),
        ):
            if not len(values):
                yield not_measured(self, name, nothing, window=window)
                continue
            yield self._evidence(
                name,
                float(np.median(values)),
                len(values),
                window,
                self._over_falls(values, context.rng(f"walk_forward.{name}")),
                undefined=f"infinite: of {len(values)} falls, "
                f"{int(np.isinf(values).sum())} were never seen or never cleared",
            )

    def _kill_switch(self, tested: OutOfSample, window: Window) -> Iterator[Evidence]:
        if tested.trips is None or tested.signals.tripped is None:
            for name in ("kill_switch_trips_per_year", "tripped_share"):
                yield not_measured(self, name, "the signals carry no kill switch", window=window)
            return
        trips, n = int(tested.trips.sum()), len(tested.trips)
        years = n / tested.bars.bars_per_year
        interval = exact_rate_interval(trips, years, level=self.level)
        yield self._evidence("kill_switch_trips_per_year", trips / years, n, window, interval)
        yield self._evidence("tripped_share", float(tested.signals.tripped.mean()), n, window)

    def _bootstrap(self, series: np.ndarray) -> Bootstrap:
        return Bootstrap(block_length(series), self.draws, self.level)

    def _rare(self, events: np.ndarray, years: float) -> Interval | None:
        """Exact interval where the bootstrap is silent because nothing happened."""
        if events.any():
            return None
        return exact_rate_interval(0, years, level=self.level)

    def _over_falls(self, values: np.ndarray, rng: np.random.Generator) -> Interval | None:
        """Interval of a median from falls drawn with replacement; None for too few of them."""
        if len(values) < MIN_FALLS:
            return None
        drawn = values[rng.integers(0, len(values), size=(self.draws, len(values)))]
        method = f"bootstrap over {len(values)} falls, percentile, {self.draws} draws"
        return percentile_interval(np.median(drawn, axis=1), self.level, method)

    def _evidence(
        self,
        metric: str,
        value: float,
        n: int,
        window: Window,
        interval: Interval | None = None,
        *,
        self_check: Residual | None = None,
        undefined: str = "",
        **where: str,
    ) -> Evidence:
        if not np.isfinite(value):
            return not_measured(self, metric, undefined, window=window, errored=False, **where)
        return measured(
            self,
            metric,
            value,
            n=n,
            window=window,
            interval=interval,
            self_check=self_check,
            **where,
        )


def _unless(trained: bool, window: Window) -> Window:
    """The window, without an end of training for a subject that cannot be trained."""
    return window if trained else window.model_copy(update={"trained_until": "", "refitted": False})
