"""Whether what a model did in a crisis differs from what it does in any window as long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError, SubjectFault
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.placebos import (
    Key,
    PlaceboBlocks,
    Placebos,
    enough_windows,
    key_of,
    reentries,
    unseen_rows,
    window_placebos,
)
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.replay import Replay, daily_replay
from governance.shock_run import REFERENCE_BARS, enough_warmup, market_scenarios
from governance.statistics.placebo import percentile_among, percentile_interval
from governance.stress_run import Settings, StressRun, failure_text, stress_runs, warmup_needs

LEAST_PLACEBOS = 20
METRICS = ("excess_loss", "drawdown", "reentry")


@dataclass(frozen=True, eq=False)
class _Compared:
    """One crisis, its placebos, and where it lies among them by metric."""

    run: StressRun
    placebos: Placebos
    values: dict[str, float]
    nulls: dict[str, np.ndarray]


@dataclass(frozen=True)
class StressPlacebo:
    """Compare every crisis with random windows of the same length.

    Parameters
    ----------
    placebos : int
        Windows for every crisis.
    warmup_bars : int
        As in the check ``stress``, whose results are compared.
    """

    placebos: int = 200
    warmup_bars: int = 500

    card: ClassVar[CheckCard] = CheckCard(
        name="stress_placebo",
        version=1,
        title="Crises and placebos",
        question="Did the model do worse in the crises than it does in any window as long?",
        pillar="outcomes_analysis",
        method="The trained model that answers a crisis is also judged on random windows of the "
        "same length that it was not trained on and that do not touch the event. For a crisis "
        "replayed from the sample's own bars they are windows of the sample after the model's "
        "training, if ten fit beside each other. Elsewhere they are the market's returns after "
        "training, shuffled in blocks of 21 bars on average (stationary bootstrap), after the "
        "very warm-up that the crisis followed. The percentile is the share of placebos in which "
        "the figure was lower, ties counting half. Its interval counts overlapping windows as "
        "the number that fit beside each other.",
        limitations=(
            "Placebos are mostly calm: a high percentile of the drawdown says that a crisis is no "
            "ordinary window, and is expected of any model that holds something",
            "Shuffled blocks break what lasts longer than a month",
            "The interval of shuffled paths is conditional on the history they are made of",
            "Waits that had not ended with the window are compared as if they had",
            "Few placebos fall and recover far enough to have a time to re-entry",
        ),
        references=(
            "Abadie, Diamond & Hainmueller, Synthetic control methods, Journal of the American "
            "Statistical Association 105 (2010), placebo tests",
            "MacKinlay, Event studies in economics and finance, Journal of Economic Literature 35 "
            "(1997)",
            "Politis & Romano, The stationary bootstrap, JASA 89 (1994)",
        ),
        requires=("model",),
        metrics=(
            MetricSpec(name="excess_loss_percentile", unit="share of placebos", better="lower",
                       meaning="Placebos in which less was lost, relative to the market, than in "
                       "the crisis"),
            MetricSpec(name="drawdown_percentile", unit="share of placebos", better="lower",
                       meaning="Placebos with a shallower drawdown than the crisis"),
            MetricSpec(name="reentry_percentile", unit="share of placebos", better="lower",
                       meaning="Placebos with a fall and a recovery after which re-entry took "
                       "fewer bars than after the crisis"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not LEAST_PLACEBOS <= self.placebos <= 10_000:
            raise InputError(
                "stress_placebo cannot use these parameters",
                expected=f"{LEAST_PLACEBOS} to 10000 placebos",
                got=str(self.placebos),
            )
        enough_warmup(self.warmup_bars, "stress_placebo")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the percentiles of every crisis and a table of what they were compared with."""
        if not market_scenarios(context):
            raise Skip("the plan names no scenario of daily returns")
        runs: list[tuple[StressRun, Replay]] = []
        for scenario in market_scenarios(context):
            try:
                runs.append(self._crisis(subject, context, scenario.name))
            except FinchaosError as error:
                yield from self._failed(context, scenario.name, error)
        wanted: dict[Key, int] = {}
        for run, replay in runs:
            key = key_of(run, replay)
            wanted[key] = max(wanted.get(key, 0), len(run.market))
        blocks = PlaceboBlocks(context, self.placebos, REFERENCE_BARS, wanted)
        done: list[_Compared] = []
        for run, replay in runs:
            if run.flat:
                flat: dict[str, Any] = dict(run.where)
                for name in METRICS:
                    yield not_measured(
                        self, f"{name}_percentile", run.flat, window=run.window, **flat
                    )
                continue
            try:
                compared = self._compared(run, replay, context, blocks)
            except FinchaosError as error:
                yield from self._failed(context, run.scenario.name, error)
                continue
            done.append(compared)
            yield from self._percentiles(compared)
        if done:
            yield self._picture(done)
            yield self._table(done)

    def _crisis(self, subject: Subject, context: Context, name: str) -> tuple[StressRun, Replay]:
        scenario = next(item for item in context.scenarios if item.name == name)
        settings = Settings(self.warmup_bars, REFERENCE_BARS)
        run = next(stress_runs(subject, context, scenario, settings))
        history, needed = warmup_needs(run.trained, context, settings)
        return run, daily_replay(scenario, context.bars, history=history, needed=needed)

    def _compared(
        self, run: StressRun, replay: Replay, context: Context, blocks: PlaceboBlocks
    ) -> _Compared:
        allowed = unseen_rows(run, replay, context)
        if enough_windows(run, allowed):
            found = window_placebos(
                run, context, allowed, count=self.placebos, reference_bars=REFERENCE_BARS
            )
        else:
            pool = context.bars.returns()[allowed]
            responses = tuple(blocks.responses(run, replay, pool))
            found = Placebos("blocks", responses, float(self.placebos))
        own = run.response
        values = {"excess_loss": own.excess_loss, "drawdown": -own.max_drawdown}
        if own.reentry is not None:
            values["reentry"] = float(own.reentry.bars)
        nulls = {
            "excess_loss": np.array([one.excess_loss for one in found.responses]),
            "drawdown": np.array([-one.max_drawdown for one in found.responses]),
            "reentry": reentries(found.responses),
        }
        return _Compared(run, found, values, nulls)

    def _percentiles(self, one: _Compared) -> Iterator[Evidence]:
        where: dict[str, Any] = {**one.run.where, "placebos": one.placebos.source}
        for name in METRICS:
            metric, null = f"{name}_percentile", one.nulls[name]
            if name not in one.values:
                reason = "the crisis has no time to re-entry"
                yield not_measured(self, metric, reason, window=one.run.window, **where)
            elif len(null) < LEAST_PLACEBOS:
                reason = (
                    f"{len(null)} of {len(one.placebos.responses)} placebos have a time to "
                    f"re-entry, fewer than {LEAST_PLACEBOS}"
                )
                yield not_measured(self, metric, reason, window=one.run.window, **where)
            else:
                share = percentile_among(one.values[name], null)
                counted = one.placebos.independent * len(null) / len(one.placebos.responses)
                yield measured(
                    self,
                    metric,
                    share,
                    n=len(null),
                    window=one.run.window,
                    interval=percentile_interval(share, max(counted, 1.0)),
                    **where,
                )

    def _failed(self, context: Context, name: str, error: FinchaosError) -> Iterator[Evidence]:
        for metric in METRICS:
            yield not_measured(
                self,
                f"{metric}_percentile",
                failure_text(error),
                window=context.out_of_sample_window,
                errored=isinstance(error, SubjectFault),
                scenario=name,
            )

    def _picture(self, done: list[_Compared]) -> Exhibit:
        middle = [np.quantile(one.nulls["drawdown"], [0.05, 0.5, 0.95]) for one in done]
        return Exhibit(
            check=self.card.name,
            name="drawdowns",
            title="Deepest drawdown in each crisis and in windows without it",
            kind="bar",
            columns=(
                Column(name="scenario", values=tuple(one.run.scenario.name for one in done)),
                Column(
                    name="in the crisis",
                    unit="fraction",
                    values=tuple(one.values["drawdown"] for one in done),
                ),
                Column(
                    name="in placebos",
                    unit="fraction",
                    values=tuple(float(row[1]) for row in middle),
                ),
                Column(
                    name="in placebos_low",
                    unit="fraction",
                    values=tuple(float(row[0]) for row in middle),
                ),
                Column(
                    name="in placebos_high",
                    unit="fraction",
                    values=tuple(float(row[2]) for row in middle),
                ),
            ),
            y_label="deepest drawdown, %",
            note="Placebos: median, whiskers from the 5th to the 95th percentile.",
        )

    def _table(self, done: list[_Compared]) -> Exhibit:
        rows: list[tuple[float | str | None, ...]] = []
        for one in done:
            excess = one.nulls["excess_loss"]
            rows.append(
                (
                    one.run.scenario.name,
                    one.placebos.source,
                    float(len(one.placebos.responses)),
                    one.placebos.independent,
                    one.values["excess_loss"],
                    float(np.median(excess)),
                    float(np.quantile(excess, 0.95)),
                    percentile_among(one.values["excess_loss"], excess),
                    percentile_among(one.values["drawdown"], one.nulls["drawdown"]),
                    one.values.get("reentry"),
                    float(np.median(one.nulls["reentry"])) if len(one.nulls["reentry"]) else None,
                    float(len(one.nulls["reentry"])),
                )
            )
        names = (
            ("scenario", ""), ("placebos are", ""), ("placebos", ""), ("independent", ""),
            ("excess loss", "fraction of capital"), ("median of placebos", "fraction of capital"),
            ("95th percentile", "fraction of capital"), ("percentile of excess loss", "share"),
            ("percentile of drawdown", "share"), ("bars to re-entry", ""),
            ("median bars of placebos", ""), ("placebos with re-entry", ""),
        )  # fmt: skip
        return Exhibit(
            check=self.card.name,
            name="percentiles",
            title="Each crisis among its placebos",
            kind="table",
            columns=tuple(
                Column(name=name, unit=unit, values=tuple(row[k] for row in rows))
                for k, (name, unit) in enumerate(names)
            ),
            note="Windows: of the sample after the model's training, clear of the event. Blocks: "
            "the market's returns after training, shuffled, after the crisis's own warm-up. "
            "Excess loss is the loss less that of holding the market; negative if less was lost.",
        )
