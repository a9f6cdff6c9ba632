"""The smallest shock after which too much capital is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError, SubjectFault
from finchaos.core.subject import Subject
from governance.check import Context, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec, Window
from governance.scenario import Scenario
from governance.shock_run import (
    Endured,
    Stage,
    candidate_stage,
    enough_warmup,
    market_scenarios,
    scenario_stage,
    scenario_window,
)
from governance.shocks import calm_noise, scaled, slide
from governance.statistics.smallest_breach import Breach, smallest_breach
from governance.stress_run import failure_text

SLIDES = {"gap": 1, "slide_5": 5, "slide_20": 20, "slide_60": 60}
"""Synthetic shocks by name: bars that the fall is spread over."""
AFTERMATH_BARS = 20
STEPS = 10
HALVINGS = 6

Draw = Callable[[float], Endured]


@dataclass(frozen=True, eq=False)
class _Searched:
    """One shock, and the smallest size of it that breaches the limit."""

    name: str
    metric: str
    breach: Breach
    at: Endured
    """What the model endured at that size, or at the bound if none breached."""
    trained: str


def _falls(stage: Stage, bars: int) -> Draw:
    """What the model endures when the market falls over so many bars, by the fall."""
    noise = calm_noise(stage.warmup.close, bars + AFTERMATH_BARS)
    return lambda fall: stage.endure(
        slide(fall, bars, noise), f"a fall of {fall:g} over {bars} bars"
    )


def _sizes(stage: Stage, scenario: Scenario) -> Draw:
    """What the model endures in a scenario, by the multiple of its log returns."""
    return lambda size: stage.endure(
        scaled(scenario.returns, size), f"{scenario.name} at {size:g} times"
    )


@dataclass(frozen=True)
class StressReverse:
    """Search the smallest shock that costs more than a limit.

    Parameters
    ----------
    loss_limit : float
        Loss of capital from before the shock to any close in it, as a fraction.
    severity_bound : float
        Largest multiple of a scenario's log returns that is tried.
    fall_bound : float
        Largest fall of the market that is tried as a gap or slide, as a fraction.
    warmup_bars : int
        Calm bars shown to the model before a shock, where there are as many.
    """

    loss_limit: float = 0.2
    severity_bound: float = 4.0
    fall_bound: float = 0.6
    warmup_bars: int = 500

    card: ClassVar[CheckCard] = CheckCard(
        name="stress_reverse",
        version=1,
        title="Reverse stress",
        question="What is the smallest shock after which the model has lost more than the limit?",
        pillar="outcomes_analysis",
        method="Two families of shocks continue the subject's own bars from the last calm of the "
        "sample: the log returns of every market scenario times a severity, and falls of the "
        "market on one day (gap) or in equal parts over 5, 20 and 60 days (slide) on top of the "
        "last ordinary days' moves. Ten sizes up to the bound are tried in rising order; between "
        "the first that loses more than loss_limit and the one before it the size is halved six "
        "times. The size reported was tried and breached. Where none did, the bound is reported "
        "as a lower bound.",
        limitations=(
            "The search takes for granted that between two neighbouring sizes of the ten the loss "
            "crosses the limit once; a narrow breach below the one reported can be missed",
            "Losses are at closes and the model acts at closes: a gap within the day is one bar",
            "A slide in equal parts is smoother than any market",
            "One warm-up: another start could find the model elsewhere",
            "How likely a shock is nobody says here",
        ),
        references=(
            "FSA, Stress and scenario testing, PS09/20 (2009), reverse stress tests",
            "Basel Committee on Banking Supervision, Stress testing principles (October 2018)",
            "Glasserman, Kang & Kang, Stress scenario selection by empirical likelihood, "
            "Quantitative Finance 15 (2015)",
        ),
        requires=("model",),
        metrics=(
            MetricSpec(name="smallest_severity", unit="times the recorded", better="higher",
                       meaning="Smallest multiple of the scenario's log returns that costs more "
                       "than the limit; the bound, as a lower bound, if none does"),
            MetricSpec(name="smallest_fall", unit="fraction of the price", better="higher",
                       meaning="Smallest fall of the market that costs more than the limit; the "
                       "bound, as a lower bound, if none does"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        sound = (
            0.0 < self.loss_limit < 1.0
            and 0.0 < self.severity_bound <= 20.0
            and 0.0 < self.fall_bound < 1.0
        )
        if not sound:
            raise InputError(
                "stress_reverse cannot use these parameters",
                expected="loss_limit and fall_bound in (0, 1), severity_bound in (0, 20]",
                got=f"{self.loss_limit}, {self.fall_bound}, {self.severity_bound}",
            )
        enough_warmup(self.warmup_bars, "stress_reverse")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the smallest breach of every shock and a table of them."""
        done: list[_Searched] = []
        stage = candidate_stage(subject, context, self.warmup_bars)
        for name, bars in SLIDES.items():
            yield from self._searched(
                stage,
                _falls(stage, bars),
                "smallest_fall",
                stage.window,
                done,
                shock=name,
            )
        for scenario in market_scenarios(context):
            window = context.out_of_sample_window
            try:
                own = scenario_stage(subject, context, scenario, self.warmup_bars)
                window = scenario_window(scenario, own)
            except FinchaosError as error:
                yield self._failed("smallest_severity", error, window, scenario=scenario.name)
                continue
            yield from self._searched(
                own,
                _sizes(own, scenario),
                "smallest_severity",
                window,
                done,
                scenario=scenario.name,
            )
        if done:
            yield self._table(done)

    def _searched(
        self,
        stage: Stage,
        draw: Draw,
        metric: str,
        window: Window,
        done: list[_Searched],
        **where: Any,
    ) -> Iterator[Evidence]:
        """Search one shock, remember it in ``done`` and yield its evidence."""
        bound = self.fall_bound if metric == "smallest_fall" else self.severity_bound
        tried: dict[float, Endured] = {}

        def loss(size: float) -> float:
            tried[size] = draw(size)
            return tried[size].worst_loss

        try:
            breach = smallest_breach(loss, self.loss_limit, bound, steps=STEPS, halvings=HALVINGS)
        except FinchaosError as error:
            yield self._failed(metric, error, window, **where)
            return
        at = tried[breach.size]
        if not breach.found and not any(one.at_risk for one in tried.values()):
            yield not_measured(self, metric, stage.flat, window=window, **where)
            return
        (name,) = where.values()
        trained = f"until {stage.trained.until[:10]}" if stage.trained.until else "elsewhere"
        done.append(_Searched(name, metric, breach, at, trained))
        note = (
            f"the model loses {100 * at.worst_loss:.3g} % where the market falls "
            f"{100 * at.market_fall:.3g} %"
        )
        if not breach.found:
            note = f"none up to the bound: at it {note}"
        found = measured(self, metric, breach.size, n=len(tried), window=window, note=note, **where)
        yield found.model_copy(update={"at_least": not breach.found})

    def _failed(self, metric: str, error: FinchaosError, window: Window, **where: Any) -> Evidence:
        return not_measured(
            self,
            metric,
            failure_text(error),
            window=window,
            errored=isinstance(error, SubjectFault),
            **where,
        )

    def _table(self, done: list[_Searched]) -> Exhibit:
        def size(one: _Searched) -> str:
            if one.metric == "smallest_fall":
                said = f"{100 * one.breach.size:.3g} %"
            else:
                said = f"{one.breach.size:.3g} times"
            return said if one.breach.found else f"none up to {said}"

        shocks = ["fall on one day" if one.name == "gap" else one.name for one in done]
        shocks = [
            f"fall over {name.removeprefix('slide_')} days" if name.startswith("slide_") else name
            for name in shocks
        ]
        return Exhibit(
            check=self.card.name,
            name="breaches",
            title=f"Smallest shocks that cost more than {100 * self.loss_limit:g} % of capital",
            kind="table",
            columns=(
                Column(name="shock", values=tuple(shocks)),
                Column(name="smallest size", values=tuple(size(one) for one in done)),
                Column(
                    name="fall of the market there",
                    unit="fraction",
                    values=tuple(one.at.market_fall for one in done),
                ),
                Column(
                    name="loss of the model there",
                    unit="fraction",
                    values=tuple(one.at.worst_loss for one in done),
                ),
                Column(
                    name="exposure before",
                    unit="fraction of capital",
                    values=tuple(one.at.exposure_before for one in done),
                ),
                Column(
                    name="largest exposure in it",
                    unit="fraction of capital",
                    values=tuple(float(np.abs(one.at.held).max()) for one in done),
                ),
                Column(name="model trained", values=tuple(one.trained for one in done)),
            ),
            note="Where there is none up to the bound, the figures are those at the bound. "
            "Scenarios are shape replays of their log returns times the size.",
        )
