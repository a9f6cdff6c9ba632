"""What it costs when trading becomes dear and slow just when the model wants out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError, SubjectFault
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec, Window
from governance.replay import daily_replay
from governance.shock_run import REFERENCE_BARS, enough_warmup, market_scenarios
from governance.statistics.drought import drought_returns
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.performance import wealth
from governance.stress_run import Settings, failure_text, warmup_needs
from governance.unseen_model import unseen_model

COSTS = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Times the plan's cost."""
EXTRA_DELAYS = (0, 1, 2, 3, 4)
"""Bars beyond the plan's delay."""


@dataclass(frozen=True, eq=False)
class _Losses:
    """Loss by extra delay and cost, shape (delays, costs), over one window."""

    name: str
    window: Window
    bars: int
    grid: np.ndarray
    traded: float
    """Sum of changes of exposure in the drought, under the plan's delay."""

    @property
    def added(self) -> float:
        """Loss in the worst drought less that under the plan's cost and delay."""
        return float(self.grid[-1, -1] - self.grid[0, 0])


@dataclass(frozen=True)
class StressLiquidity:
    """Trade every crisis, and every risk-off bar, at wider spreads and with longer delays.

    Parameters
    ----------
    warmup_bars : int
        As in the check ``stress``, whose positions are traded.
    """

    warmup_bars: int = 500

    card: ClassVar[CheckCard] = CheckCard(
        name="stress_liquidity",
        version=1,
        title="Liquidity drought",
        question="What does it cost when trading is dear and slow in the crisis itself?",
        pillar="outcomes_analysis",
        method="The positions that the model took in every daily scenario are traded again with "
        "1, 2, 5, 10 and 20 times the plan's cost and 0 to 4 bars more than its delay, from the "
        "first bar of the scenario on; before it the plan's hold. The same over the whole "
        "out-of-sample history, where the drought lasts while the model is risk-off and for the "
        "bars at which it changes to and fro. A decision that arrives after a later one is void. "
        "The loss added is that under 20 times the cost and 4 bars more, less that under the "
        "plan's.",
        limitations=(
            "The model does not know of the drought and trades as ever",
            "Cost is in proportion to what is traded: the impact of size is not in it",
            "All trades are executed at last: a market that closes is not in it",
            "A model that was flat before a crisis has little to trade in it",
        ),
        references=(
            "Basel Committee on Banking Supervision, Stress testing principles (October 2018)",
            "Chordia, Roll & Subrahmanyam, Market liquidity and trading activity, Journal of "
            "Finance 56 (2001)",
        ),
        metrics=(
            MetricSpec(name="added_loss", unit="fraction of capital", better="lower",
                       meaning="Loss over the scenario that 20 times the cost and 4 bars more of "
                       "delay add"),
            MetricSpec(name="added_loss_per_year", unit="fraction p.a.", better="lower",
                       meaning="The same over the out-of-sample history, dry while the model is "
                       "risk-off, a year"),
            MetricSpec(name="added_loss_worst", unit="fraction of capital", better="lower",
                       meaning="The largest over the scenarios"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        enough_warmup(self.warmup_bars, "stress_liquidity")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what a drought adds in every scenario and in ordinary life, and the grids."""
        done: list[_Losses] = []
        for scenario in market_scenarios(context):
            try:
                done.append(self._in_scenario(subject, context, scenario.name))
            except FinchaosError as error:
                yield not_measured(
                    self,
                    "added_loss",
                    failure_text(error),
                    window=context.out_of_sample_window,
                    errored=isinstance(error, SubjectFault),
                    scenario=scenario.name,
                )
        for one in done:
            yield measured(
                self,
                "added_loss",
                one.added,
                n=one.bars,
                window=one.window,
                note=f"{one.traded:.3g} of capital traded in it",
                scenario=one.name,
            )
        if done:
            worst = max(done, key=lambda one: one.added)
            yield measured(
                self,
                "added_loss_worst",
                worst.added,
                n=len(done),
                window=context.out_of_sample_window,
                note=f"in {worst.name}",
            )
        else:
            reason = "no scenario of daily returns could be traded"
            for name in ("added_loss", "added_loss_worst"):
                yield not_measured(self, name, reason, window=context.out_of_sample_window)
        yield from self._in_life(subject, context)
        if done:
            yield self._map(done, context)
            yield self._table(done, context)

    def _in_scenario(self, subject: Subject, context: Context, name: str) -> _Losses:
        scenario = next(item for item in context.scenarios if item.name == name)
        trained = unseen_model(subject, context, scenario)
        history, needed = warmup_needs(trained, context, Settings(self.warmup_bars, REFERENCE_BARS))
        replay = daily_replay(scenario, context.bars, history=history, needed=needed)
        if trained.model.card.predictions_only and replay.path != "level":
            raise InputError(f"signals recorded beforehand cannot answer a {replay.path} replay")
        signals = context.cache.signals(trained.model, replay.bars)
        first = replay.start - 1  # the first period starts at the close before
        dry = np.arange(len(replay.bars)) >= first
        window = Window(
            start=replay.index[0].isoformat(),
            end=replay.index[-1].isoformat(),
            trained_until=trained.until,
        )
        market = replay.bars.returns()
        grid = self._grid(signals.position, market, dry, context, first)
        held = signals.position[max(first - context.delay_bars, 0) :]
        return _Losses(name, window, len(replay.index), grid, float(np.abs(np.diff(held)).sum()))

    def _grid(
        self,
        position: np.ndarray,
        market: np.ndarray,
        dry: np.ndarray,
        context: Context,
        first: int,
    ) -> np.ndarray:
        def loss(extra: int, times: float) -> float:
            net = drought_returns(
                position,
                market,
                dry,
                cost_bps=context.cost_bps,
                delay_bars=context.delay_bars,
                dry_cost_bps=context.cost_bps * times,
                dry_delay_bars=context.delay_bars + extra,
            )
            return 1.0 - float(wealth(net[first:])[-1])

        return np.array([[loss(extra, times) for times in COSTS] for extra in EXTRA_DELAYS])

    def _in_life(self, subject: Subject, context: Context) -> Iterator[Evidence]:
        window = context.out_of_sample_window
        try:
            tested = out_of_sample(subject, context)
        except Skip as skip:
            yield not_measured(self, "added_loss_per_year", str(skip), window=window)
            return
        off = tested.off
        # The bars at which the regime changes are dry too: that is when the model trades.
        dry = off | np.concatenate([[False], off[:-1]])
        if not dry.any():
            reason = "the model was never risk-off"
            yield not_measured(self, "added_loss_per_year", reason, window=window)
            return
        grid = self._grid(tested.signals.position, tested.bars.returns(), dry, context, 0)
        years = (len(tested.bars) - 1) / tested.bars.bars_per_year
        kept = np.maximum(1.0 - grid[[0, -1], [0, -1]], 0.0) ** (1.0 / years)
        yield measured(
            self,
            "added_loss_per_year",
            float(kept[0] - kept[1]),
            n=int(dry.sum()),
            window=window,
            note=f"{int(dry.sum())} of {len(dry)} bars are dry",
        )

    def _map(self, done: Sequence[_Losses], context: Context) -> Exhibit:
        mean = np.mean([one.grid - one.grid[0, 0] for one in done], axis=0)
        return Exhibit(
            check=self.card.name,
            name="added",
            title="Loss that a drought adds, mean over the scenarios",
            kind="heatmap",
            columns=(
                Column(
                    name="delay",
                    values=tuple(_bars(context.delay_bars + extra) for extra in EXTRA_DELAYS),
                ),
                *(
                    Column(
                        name=f"cost {times:g}x",
                        unit="fraction of capital",
                        values=tuple(mean[:, k].tolist()),
                    )
                    for k, times in enumerate(COSTS)
                ),
            ),
            y_label="loss added, % of capital",
            note=f"The plan's cost is {context.cost_bps:g} basis points one way, its delay "
            f"{_bars(context.delay_bars)}. Negative: the delay happened to help.",
        )

    def _table(self, done: Sequence[_Losses], context: Context) -> Exhibit:
        chosen = ((0, 0), (0, 2), (0, 4), (2, 0), (4, 0), (4, 4))
        return Exhibit(
            check=self.card.name,
            name="losses",
            title="Net loss of every scenario under a drought",
            kind="table",
            columns=(
                Column(name="scenario", values=tuple(one.name for one in done)),
                Column(
                    name="traded", unit="fraction of capital",
                    values=tuple(one.traded for one in done),
                ),
                *(
                    Column(
                        name=f"cost {COSTS[k]:g}x, "
                        f"{_bars(context.delay_bars + EXTRA_DELAYS[d])}",
                        unit="fraction of capital",
                        values=tuple(float(one.grid[d, k]) for one in done),
                    )
                    for d, k in chosen
                ),
            ),
            note="Negative: a gain. Cost in multiples of the plan's, then the delay.",
        )  # fmt: skip


def _bars(count: int) -> str:
    return f"{count} bar{'' if count == 1 else 's'}"
