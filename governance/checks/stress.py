"""What the model would have done in the crises of history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from finchaos.core.errors import FinchaosError, InputError, SubjectFault
from finchaos.core.subject import Subject
from governance.amounts import amount
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Evidence, Exhibit, MetricSpec, Residual, Window
from governance.replay import scenario_closes
from governance.scenario import Scenario
from governance.stress_exhibits import (
    expectations_exhibit,
    losses_exhibit,
    path_exhibit,
    provenance_exhibit,
    summary_exhibit,
)
from governance.stress_run import Settings, StressRun, failure_text, stress_runs

COUNTS = ("expectations_missed", "expectations_unmeasured")
RETURN_TOLERANCE = 1e-9

_METRICS = (
    ("loss", "fraction of capital", "lower", "Minus the total return over the scenario, net"),
    ("excess_loss", "fraction of capital", "lower",
     "Loss less that of holding the market; negative if less was lost"),
    ("max_drawdown", "fraction", "higher", "Deepest fall of net wealth from its high; negative"),
    ("drawdown_share", "ratio", "lower",
     "Deepest drawdown of the model over that of the market: 1 is the whole fall"),
    ("worst_intrabar_loss", "fraction of capital", "lower",
     "Largest loss from a close to the worst price of the next bar with the exposure held"),
    ("exposure_before", "fraction of capital", "none",
     "Median exposure before the peak: where it is 0 the scenario shows little"),
    ("exposure_at_worst_bar", "fraction of capital", "lower",
     "Exposure held over the market's worst bar"),
    ("bars_to_derisk", "bars", "lower",
     "From the close at which the fall is visible until at most half of the exposure before is "
     "held; if never, at least one more than the bars left"),
    ("bars_to_reentry", "bars", "lower",
     "From the trough until at least half of the exposure before is held again; if never, at "
     "least one more than the bars left"),
    ("kill_switch_trips", "trips", "none", "How often the kill switch latched"),
    ("expectation_shortfall", "in the metric's unit", "lower",
     "How far a metric lies outside what the scenario expects of a sound model; 0 if inside; not "
     "measured where it is inside because nothing was held before the event"),
    ("expectations_missed", "expectations", "lower",
     "Expectations of the scenarios that were missed, over all runs"),
    ("expectations_unmeasured", "expectations", "lower",
     "Expectations that no number could be compared with, over all runs"),
)  # fmt: skip


@dataclass(frozen=True)
class Stress:
    """Replay every scenario and measure loss, de-risking and re-entry.

    Parameters
    ----------
    warmup_bars : int
        Bars shown to the model before a scenario, where there are as many.
    reference_bars : int
        Bars before the market's peak whose median exposure is the reference for de-risking.
    """

    warmup_bars: int = 500
    reference_bars: int = 20

    card: ClassVar[CheckCard] = CheckCard(
        name="stress",
        version=2,
        title="Historical stress",
        question="What would the model have done, and what would it have cost, in the crises of "
        "history?",
        pillar="outcomes_analysis",
        method="Each scenario is answered by the model of the latest fold trained only on bars "
        "before it; by the candidate, where there is none (then sample is 'in' if its training "
        "held bars of the scenario). Where the sample holds the event's own bars they are shown "
        "after those before them (level replay). Elsewhere the event's returns continue the "
        "subject's own bars from the last calm of the sample (shape replay): a bar opens at the "
        "close before, and its range is padded from exponentially weighted volatility, calibrated "
        "on the warm-up. The minutes of 6 May 2010 are reconstructed from documented anchors by "
        "Brownian bridges for several seeds. A daily model is marked through that day with the "
        "position it took into it, and apart from that shown the minutes as if each were one of "
        "its bars. Positions are traded with the plan's delay and cost. Expectations were written "
        "in the scenario before any run.",
        limitations=(
            "The crises of the past: few, and known to everybody who builds models",
            "A model trained after an event has not seen its bars but knows the world it left",
            "Shape replay has no record of ranges, volume and what else happened on those days",
            "A reconstructed path is not what was traded; between its anchors it is chance",
            "One minute standing for one bar tests a shock of that shape in the model's own clock, "
            "not what the model would have done on that day; minutes move less than days, so that "
            "a model of volatility may not notice the shock",
            "A model that held nothing before an event shows nothing by coming through it: what is "
            "expected and met so, and a loss no greater than the market's, are not measured",
            "One warm-up a scenario: another start could find the model elsewhere",
        ),
        references=(
            "CFTC and SEC, Findings Regarding the Market Events of May 6, 2010 (30 September 2010)",
            "Basel Committee on Banking Supervision, Stress testing principles (October 2018)",
            "Glasserman, Monte Carlo Methods in Financial Engineering (2004), section 3.1",
        ),
        metrics=tuple(
            MetricSpec(name=name, unit=unit, better=better, meaning=meaning)
            for name, unit, better, meaning in _METRICS
        ),
    )

    def __post_init__(self) -> None:
        if self.warmup_bars < 1 or self.reference_bars < 1:
            raise InputError(
                "stress needs bars before a scenario",
                expected="warmup_bars and reference_bars of at least 1",
                got=f"{self.warmup_bars} and {self.reference_bars}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the metrics of every run, then the counts, the paths and the tables."""
        if not context.scenarios:
            raise Skip("the plan names no scenario")
        runs: list[StressRun] = []
        for scenario in context.scenarios:
            try:
                for run in stress_runs(subject, context, scenario, self._settings):
                    runs.append(run)
                    yield from self._metrics(run)
            except FinchaosError as error:
                yield from self._failure(scenario, error)
        yield from self._counts(runs, context)
        if runs:
            yield losses_exhibit(self.card.name, runs)
            yield summary_exhibit(self.card.name, runs)
            units = {spec.name: spec.unit for spec in self.card.metrics}
            yield expectations_exhibit(self.card.name, runs, units)
            for run in runs:
                yield path_exhibit(self.card.name, run)
            yield provenance_exhibit(self.card.name, runs)

    @property
    def _settings(self) -> Settings:
        return Settings(self.warmup_bars, self.reference_bars)

    def _metrics(self, run: StressRun) -> Iterator[Evidence]:
        shown = None
        if run.shown_wrong is not None:
            what = "largest difference between the returns shown and the scenario's"
            shown = Residual(what=what, value=run.shown_wrong, tolerance=RETURN_TOLERANCE)
        for name, value in run.values.items():
            survived = name == "excess_loss" and run.response.excess_loss <= 0.0
            told = run.flat if run.flat and survived else value
            yield self._evidence(name, told, run, shown, bound=name in run.at_least)
        for expectation in run.scenario.expectations:
            name = expectation.metric
            if name not in run.shortfalls:
                continue
            unit, bound = self.card.metric(name).unit, name in run.at_least
            value = run.shortfalls[name]
            found = run.values[name]
            note = ""
            if isinstance(value, float) and isinstance(found, float):
                said = amount(found, unit, at_least=bound)
                note = f"{name.replace('_', ' ')} {said}, expected {expectation.said(unit)}"
            yield self._evidence(
                "expectation_shortfall",
                value,
                run,
                shown,
                bound=bound and value != 0.0,
                unit=unit,
                note=note,
                expectation=name,
            )

    def _evidence(
        self,
        name: str,
        value: float | str,
        run: StressRun,
        shown: Residual | None,
        *,
        bound: bool,
        unit: str = "",
        note: str = "",
        **more: str,
    ) -> Evidence:
        where: dict[str, Any] = {**run.where, **more}
        if isinstance(value, str):
            silent = not_measured(self, name, value, window=run.window, **where)
            return silent.model_copy(update={"unit": unit or silent.unit})
        n = len(run.market)
        found = measured(
            self,
            name,
            value,
            n=n,
            window=run.window,
            self_check=shown,
            unit=unit,
            note=note,
            **where,
        )
        return found.model_copy(update={"at_least": bound and found.value is not None})

    def _failure(self, scenario: Scenario, error: FinchaosError) -> Iterator[Evidence]:
        """Evidence that a scenario, or what was left of it, could not be measured."""
        closes = scenario_closes(scenario)
        window = Window(start=closes[0].isoformat(), end=closes[-1].isoformat())
        fault = isinstance(error, SubjectFault)
        where = {"scenario": scenario.name}
        if scenario.anchors_digest:
            where |= {"path": "reconstructed", "anchors": scenario.anchors_digest}
        for spec in self.card.metrics:
            if spec.name not in COUNTS:
                reason = failure_text(error)
                yield not_measured(self, spec.name, reason, window=window, errored=fault, **where)

    def _counts(self, runs: list[StressRun], context: Context) -> Iterator[Evidence]:
        """How many expectations were missed, and how many could not be looked at."""
        window = context.window(0, len(context.bars) - 1, context.last_fold.train_end)
        found = [value for run in runs for value in run.shortfalls.values()]
        tested = {(run.scenario.name, name) for run in runs for name in run.shortfalls}
        untested = sum(
            (scenario.name, item.metric) not in tested
            for scenario in context.scenarios
            for item in scenario.expectations
        )
        numbers = [value for value in found if not isinstance(value, str)]
        if numbers:
            missed = sum(value > 0.0 for value in numbers)
            yield measured(self, "expectations_missed", missed, n=len(numbers), window=window)
        else:
            reason = "no expectation could be compared with a number"
            yield not_measured(self, "expectations_missed", reason, window=window)
        silent = len(found) - len(numbers) + untested
        n = len(found) + untested
        flat = sorted({run.scenario.name for run in runs if run.flat})
        note = f"nothing was at risk in {', '.join(flat)}" if flat else ""
        yield measured(self, "expectations_unmeasured", silent, n=n, window=window, note=note)
