"""How much worse a crisis may be before the model breaks its drawdown limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError, SubjectFault
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.scenario import Scenario
from governance.shock_run import (
    Endured,
    Stage,
    enough_warmup,
    market_scenarios,
    scenario_stage,
    scenario_window,
)
from governance.shocks import scaled
from governance.stress_run import failure_text

SEVERITIES = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Times the recorded log returns."""


@dataclass(frozen=True, eq=False)
class _Scaled:
    """One scenario at every severity."""

    scenario: Scenario
    stage: Stage
    found: tuple[Endured, ...]


@dataclass(frozen=True)
class StressSeverity:
    """Replay the shape of every market scenario at several sizes.

    Parameters
    ----------
    drawdown_limit : float
        Deepest drawdown that counts as held, as a positive fraction of capital.
    warmup_bars : int
        Calm bars shown to the model before a scenario, where there are as many.
    """

    drawdown_limit: float = 0.25
    warmup_bars: int = 500

    card: ClassVar[CheckCard] = CheckCard(
        name="stress_severity",
        version=1,
        title="Crises of other sizes",
        question="How much worse may a crisis be than it was before the model falls too deep?",
        pillar="outcomes_analysis",
        method="The daily log returns of every market scenario are multiplied by 0.5, 1, 1.5, 2 "
        "and 3 and continue the subject's own bars from the last calm of the sample (shape "
        "replay). The model that answers is the one that answers the scenario itself; cost and "
        "delay are the plan's. A severity is held if the deepest drawdown at it and at every "
        "milder one stays within the limit that the parameter drawdown_limit names.",
        limitations=(
            "A crisis twice as large would not have the same shape: margin calls, halts and "
            "central banks are in the returns as they were",
            "One warm-up: another start could find the model elsewhere",
            "Ranges and volume are reconstructed from volatility",
            "Five sizes: what happens between them is not looked at; see the reverse stress",
        ),
        references=(
            "Basel Committee on Banking Supervision, Stress testing principles (October 2018)",
            "Breuer & Csiszar, Systematic stress tests with entropic plausibility constraints, "
            "Journal of Banking & Finance 37 (2013)",
        ),
        requires=("model",),
        metrics=(
            MetricSpec(name="severity_held", unit="times the recorded", better="higher",
                       meaning="Largest severity at which, and at every milder one, the drawdown "
                       "limit is held; 0 if at none, a lower bound if at all"),
            MetricSpec(name="median_drawdown", unit="fraction", better="higher",
                       meaning="Median over the scenarios of the deepest drawdown; negative"),
            MetricSpec(name="worst_drawdown", unit="fraction", better="higher",
                       meaning="The deepest drawdown of any scenario; negative"),
            MetricSpec(name="monotone_share", unit="share of steps", better="none",
                       meaning="Steps from one severity to the next at which the drawdown does "
                       "not become shallower: below 1 a harsher market was the easier one to "
                       "notice"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not 0.0 < self.drawdown_limit < 1.0:
            raise InputError(
                "stress_severity cannot use this limit",
                expected="drawdown_limit between 0 and 1",
                got=str(self.drawdown_limit),
            )
        enough_warmup(self.warmup_bars, "stress_severity")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the severity held in every scenario, what all lost, and the curves."""
        scenarios = market_scenarios(context)
        if not scenarios:
            raise Skip("the plan names no scenario of daily returns")
        done: list[_Scaled] = []
        for scenario in scenarios:
            window = context.out_of_sample_window
            try:
                stage = scenario_stage(subject, context, scenario, self.warmup_bars)
                window = scenario_window(scenario, stage)
                found = tuple(
                    stage.endure(
                        scaled(scenario.returns, size), f"{scenario.name} at {size:g} times"
                    )
                    for size in SEVERITIES
                )
            except FinchaosError as error:
                yield not_measured(
                    self,
                    "severity_held",
                    failure_text(error),
                    window=window,
                    errored=isinstance(error, SubjectFault),
                    scenario=scenario.name,
                )
                continue
            one = _Scaled(scenario, stage, found)
            done.append(one)
            yield self._held(one)
        if not done:
            raise Skip("no scenario could be replayed at other sizes")
        yield from self._overall(done, context)
        yield self._map(done)
        yield self._curve(done)

    def _held(self, one: _Scaled) -> Evidence:
        window = scenario_window(one.scenario, one.stage)
        where: dict[str, Any] = {"scenario": one.scenario.name, "sample": one.stage.trained.sample}
        within = [-item.drawdown <= self.drawdown_limit for item in one.found]
        if all(within) and not any(item.at_risk for item in one.found):
            return not_measured(self, "severity_held", one.stage.flat, window=window, **where)
        count = within.index(False) if False in within else len(within)
        held = SEVERITIES[count - 1] if count else 0.0
        beyond = one.found[count] if count < len(within) else one.found[-1]
        size = SEVERITIES[min(count, len(within) - 1)]
        note = (
            f"at {size:g} times the drawdown is {-100 * beyond.drawdown:.3g} %, that of the "
            f"market {-100 * beyond.market_drawdown:.3g} %"
        )
        found = measured(
            self,
            "severity_held",
            held,
            n=len(one.scenario.returns),
            window=window,
            note=note,
            **where,
        )
        return found.model_copy(update={"at_least": count == len(within)})

    def _overall(self, done: Sequence[_Scaled], context: Context) -> Iterator[Evidence]:
        window = context.window(0, len(context.bars) - 1, context.last_fold.train_end)
        depth = np.array([[item.drawdown for item in one.found] for one in done])
        for row, size in enumerate(SEVERITIES):
            values = {
                "median_drawdown": np.median(depth[:, row]),
                "worst_drawdown": depth[:, row].min(),
            }
            for name, value in values.items():
                yield measured(
                    self, name, float(value), n=len(done), window=window, severity=f"{size:g}"
                )
        steps = np.diff(depth, axis=1) <= 0.0
        yield measured(self, "monotone_share", float(steps.mean()), n=steps.size, window=window)

    def _map(self, done: Sequence[_Scaled]) -> Exhibit:
        return Exhibit(
            check=self.card.name,
            name="drawdowns",
            title="Deepest drawdown of the model by scenario and severity",
            kind="heatmap",
            columns=(
                Column(name="scenario", values=tuple(one.scenario.name for one in done)),
                *(
                    Column(
                        name=f"{size:g}x",
                        unit="fraction",
                        values=tuple(-one.found[row].drawdown for one in done),
                    )
                    for row, size in enumerate(SEVERITIES)
                ),
            ),
            y_label="deepest drawdown, %",
            note=f"Limit: {100 * self.drawdown_limit:g} %. Shape replays after calm bars of the "
            f"sample ({done[0].stage.note}); ranges are made from volatility.",
        )

    def _curve(self, done: Sequence[_Scaled]) -> Exhibit:
        rows = [(size, one, k) for k, size in enumerate(SEVERITIES) for one in done]
        return Exhibit(
            check=self.card.name,
            name="model_over_market",
            title="Fall of the model over that of the market",
            kind="scatter",
            columns=(
                Column(
                    name="deepest drawdown of the market",
                    unit="fraction",
                    values=tuple(-one.found[k].market_drawdown for _, one, k in rows),
                ),
                *(
                    Column(
                        name=f"{wanted:g}x",
                        unit="fraction",
                        values=tuple(
                            -one.found[k].drawdown if size == wanted else None
                            for size, one, k in rows
                        ),
                    )
                    for wanted in SEVERITIES
                ),
            ),
            y_label="deepest drawdown of the model, %",
            note="One point a scenario and severity. A model that is always invested lies on the "
            "diagonal.",
        )
