"""One scenario shown to one model: which model, which bars, what it held and what that cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, FinchaosError
from finchaos.core.subject import Subject
from governance.amounts import amount
from governance.check import Context
from governance.reconstructed_replay import (
    minutes_as_days,
    reconstruction_note,
    session_replay,
)
from governance.record import Window
from governance.replay import Replay, calm_warmup, daily_replay, is_daily
from governance.scenario import Scenario
from governance.statistics.accounting import profit_and_loss
from governance.statistics.crisis_response import (
    CrisisResponse,
    Delay,
    crisis_response,
    worst_intrabar_loss,
)
from governance.unseen_model import Trained, unseen_model

Clock = Literal["daily", "held through the day", "one bar a minute", "intraday"]
FLAT = "flat before the event: nothing was at risk when it began"
"""Why what a model survived without holding anything is no evidence that it survives."""
SPARE_BARS = 42
"""Bars a warm-up has beyond those of the model card, at least."""


@dataclass(frozen=True)
class Settings:
    """Bars before a scenario.

    Attributes
    ----------
    warmup_bars : int
        Shown to the model before the scenario, where there are as many.
    reference_bars : int
        Periods before the peak whose median exposure is the reference.
    """

    warmup_bars: int
    reference_bars: int


@dataclass(frozen=True, eq=False)
class StressRun:
    """What one model did in one scenario on one path.

    Attributes
    ----------
    scenario : Scenario
    trained : Trained
    clock : str
        ``daily``; ``held through the day`` for what a daily position was worth during a
        reconstructed session; ``one bar a minute`` for that session as if its minutes were the
        model's own bars; ``intraday`` for a model of intraday bars.
    path : str
        ``level``, ``shape`` or ``reconstructed``.
    note : str
    seeds : tuple of int
        Seeds of the reconstruction; empty for recorded returns.
    index : pandas.DatetimeIndex, shape (n,)
        End of each period, as it happened.
    market, held, net : numpy.ndarray, shape (n,)
        Returns of the instrument, exposure, returns on capital after costs.
    response : CrisisResponse
    values : mapping of str to float or str
        Metrics; a text is the reason why there is no number.
    shown_wrong : float or None
        Largest difference between the returns shown and those meant; None for real bars.
    """

    scenario: Scenario
    trained: Trained
    clock: Clock
    path: str
    note: str
    seeds: tuple[int, ...]
    index: pd.DatetimeIndex
    market: np.ndarray
    held: np.ndarray
    net: np.ndarray
    response: CrisisResponse
    values: Mapping[str, float | str]
    shown_wrong: float | None = None

    @property
    def where(self) -> dict[str, str]:
        """The slice of its evidence."""
        found = {"scenario": self.scenario.name, "sample": self.trained.sample, "path": self.path}
        if self.seeds:
            found["clock"] = self.clock
            found["seed"] = ", ".join(map(str, self.seeds))
            found["anchors"] = self.scenario.anchors_digest
        return found

    @property
    def window(self) -> Window:
        """When the scenario happened and until when the model had been trained."""
        return Window(
            start=self.index[0].isoformat(),
            end=self.index[-1].isoformat(),
            trained_until=self.trained.until,
        )

    @property
    def at_least(self) -> frozenset[str]:
        """Metrics whose value is a lower bound: it had not happened when the window ended."""
        waits = {"bars_to_derisk": self.response.derisk, "bars_to_reentry": self.response.reentry}
        return frozenset(name for name, wait in waits.items() if wait and not wait.happened)

    @property
    def shortfalls(self) -> dict[str, float | str]:
        """How far each expectation about a metric of this run was missed; 0 if it was met.

        An expectation that was met because nothing was at risk has a reason and no number.
        """
        found: dict[str, float | str] = {}
        for expectation in self.scenario.expectations:
            value = self.values.get(expectation.metric)
            if isinstance(value, str):
                found[expectation.metric] = value
            elif value is not None:
                missed = expectation.shortfall(value)
                found[expectation.metric] = self.flat if self.flat and missed == 0.0 else missed
        return found

    @property
    def flat(self) -> str:
        """That nothing was held before the event, and what was lost; empty if something was."""
        if self.response.exposure_before > 0.0:
            return ""
        market = _change(self.response.loss - self.response.excess_loss)
        return f"{FLAT} ({_change(self.response.loss)} where the market {market})"


def stress_runs(
    subject: Subject, context: Context, scenario: Scenario, settings: Settings
) -> Iterator[StressRun]:
    """Every run of a scenario that fits the subject's bars.

    Raises
    ------
    DataError
        If the bars are too few, or of a size that the scenario cannot be shown in.
    SubjectFault
        If the model fails on the replay or breaks its contract.
    """
    trained = unseen_model(subject, context, scenario)
    history, needed = warmup_needs(trained, context, settings)
    daily = is_daily(context.bars)
    if scenario.frequency == "daily":
        replay = daily_replay(scenario, context.bars, history=history, needed=needed)
        yield _run(context, scenario, trained, replay, settings, "daily", ())
        return
    if daily:
        replay = daily_replay(scenario, context.bars, history=history, needed=needed)
        yield _held_through_the_day(context, scenario, trained, replay)
    _recorded_signals_cannot(trained.model, "reconstructed")
    warmup, note = calm_warmup(context.bars, history=history, needed=needed)
    show = minutes_as_days if daily else session_replay
    clock: Clock = "one bar a minute" if daily else "intraday"
    for seed in scenario.reconstruction.seeds if scenario.reconstruction else ():
        replay = show(scenario, seed, warmup, note)
        yield _run(context, scenario, trained, replay, settings, clock, (seed,))


def warmup_needs(trained: Trained, context: Context, settings: Settings) -> tuple[int, int]:
    """Bars to show a model before a scenario where there are as many, and the fewest that do."""
    needed = trained.model.card.warmup_bars + settings.reference_bars + context.delay_bars
    needed += SPARE_BARS
    return max(settings.warmup_bars, needed), needed


def _change(loss: float) -> str:
    return f"{'gained' if loss < 0.0 else 'lost'} {amount(abs(loss), 'fraction')}"


def _recorded_signals_cannot(model: Subject, path: str) -> None:
    if model.card.predictions_only and path != "level":
        raise DataError(f"signals recorded beforehand cannot answer a {path} replay")


def _holdings(
    context: Context, model: Subject, replay: Replay
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Exposure and net return of every period of a replay's bars, and the kill switch."""
    _recorded_signals_cannot(model, replay.path)
    signals = context.cache.signals(model, replay.bars)
    earned = profit_and_loss(
        signals.position,
        replay.bars.returns(),
        cost_bps=context.cost_bps,
        delay_bars=context.delay_bars,
    )
    return earned.held, earned.net, signals.tripped


def _run(
    context: Context,
    scenario: Scenario,
    trained: Trained,
    replay: Replay,
    settings: Settings,
    clock: Clock,
    seeds: tuple[int, ...],
) -> StressRun:
    held, net, tripped = _holdings(context, trained.model, replay)
    bars, first = replay.bars, replay.start - 1  # the first period starts at the close before
    response = crisis_response(
        bars.returns()[first:],
        held[first:],
        net[first:],
        held_before=held[first - settings.reference_bars : first],
        onset_drawdown=scenario.onset_drawdown,
        recovery_rise=scenario.recovery_rise,
    )
    values = _values(response)
    values["kill_switch_trips"] = _trips(tripped, replay.start)
    values["worst_intrabar_loss"] = (
        "ranges of a shape replay are not on record"
        if replay.path == "shape" or not bars.has_range
        else _intrabar(bars, held, first)
    )
    market = bars.returns()[first:]
    meant = scenario.returns if replay.path == "shape" else None
    return StressRun(
        scenario=scenario,
        trained=trained,
        clock=clock,
        path=replay.path,
        note=replay.note,
        seeds=seeds,
        index=replay.index,
        market=market,
        held=held[first:],
        net=net[first:],
        response=response,
        values=values,
        shown_wrong=None if meant is None else float(np.abs(market - meant).max()),
    )


def _values(response: CrisisResponse) -> dict[str, float | str]:
    share = response.drawdown_share
    nothing_held = response.exposure_before <= 0.0
    return {
        "loss": response.loss,
        "excess_loss": response.excess_loss,
        "max_drawdown": response.max_drawdown,
        "drawdown_share": share if np.isfinite(share) else "the market did not fall",
        "exposure_before": response.exposure_before,
        "exposure_at_worst_bar": response.exposure_at_worst_bar,
        "bars_to_derisk": _waited(response.derisk, "the fall was visible at no close but the last"),
        "bars_to_reentry": _waited(
            response.reentry,
            "nothing was held before the fall"
            if nothing_held
            else "the market does not recover within the window",
        ),
    }


def _waited(delay: Delay | None, reason: str) -> float | str:
    return reason if delay is None else float(delay.bars)


def _trips(tripped: np.ndarray | None, start: int) -> float | str:
    if tripped is None:
        return "signals carry no kill switch"
    return float(np.count_nonzero(tripped[start:] & ~tripped[start - 1 : -1]))


def _intrabar(bars: Bars, held: np.ndarray, first: int) -> float:
    return worst_intrabar_loss(
        held[first:], bars.close[first:-1], bars.high[first + 1 :], bars.low[first + 1 :]
    )


def _held_through_the_day(
    context: Context, scenario: Scenario, trained: Trained, replay: Replay
) -> StressRun:
    """What the daily position into a reconstructed session was worth through its minutes.

    Low and close are anchors, so that they are the same for every seed; the curve is the first
    seed's.
    """
    held, _, _ = _holdings(context, trained.model, replay)
    day = scenario.event_days[0]
    exposure = float(held[replay.start - 1 + scenario.data.dates.index(day)])
    seeds = scenario.reconstruction.seeds if scenario.reconstruction else ()
    paths = [scenario.minute_path(seed) for seed in seeds]
    before = np.full(len(paths), scenario.prior_close)
    worst = worst_intrabar_loss(
        np.full(len(paths), exposure),
        before,
        np.array([path.high.max() for path in paths]),
        np.array([path.low.min() for path in paths]),
    )
    price = np.concatenate([before[:1], paths[0].close]) / before[0]
    mark = 1.0 + exposure * (price - 1.0)
    market, net = price[1:] / price[:-1] - 1.0, mark[1:] / mark[:-1] - 1.0
    constant = np.full(len(market), exposure)
    response = crisis_response(
        market,
        constant,
        net,
        held_before=constant[:1],
        onset_drawdown=scenario.onset_drawdown,
        recovery_rise=scenario.recovery_rise,
    )
    wanted = ("loss", "excess_loss", "max_drawdown", "drawdown_share", "exposure_at_worst_bar")
    values = {name: value for name, value in _values(response).items() if name in wanted}
    return StressRun(
        scenario=scenario,
        trained=trained,
        clock="held through the day",
        path="reconstructed",
        note=f"{reconstruction_note(scenario, seeds[0])}; position from a {replay.path} replay of "
        "the days before; a daily model cannot act within the day",
        seeds=seeds,
        index=paths[0].index,
        market=market,
        held=constant,
        net=net,
        response=response,
        values={**values, "worst_intrabar_loss": worst},
    )


def failure_text(error: FinchaosError) -> str:
    """An error on one line."""
    return " ".join(str(error).split())
