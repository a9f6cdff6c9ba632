"""One trained model, in calm, put through paths that no market has taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from finchaos.core.bars import Bars, Provenance
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context
from governance.observe import observe
from governance.record import Window
from governance.replay import calm_warmup, continued, scenario_closes
from governance.scenario import Scenario
from governance.statistics.accounting import profit_and_loss
from governance.statistics.performance import max_drawdown, wealth
from governance.stress_run import FLAT, SPARE_BARS
from governance.unseen_model import Trained, unseen_model

REFERENCE_BARS = 20
LEAST_WARMUP_BARS = 100
"""Fewest bars a check may ask for before a shock."""


@dataclass(frozen=True, eq=False)
class Endured:
    """What a model held through a path of n periods, and what that cost.

    Attributes
    ----------
    market, held, net : numpy.ndarray, shape (n,)
        Returns of the instrument, exposure, returns on capital after costs.
    exposure_before : float
        Median exposure over the periods before the path.
    """

    market: np.ndarray
    held: np.ndarray
    net: np.ndarray
    exposure_before: float

    @property
    def at_risk(self) -> bool:
        """Whether anything was held when the path began."""
        return self.exposure_before != 0.0

    @property
    def drawdown(self) -> float:
        """Deepest drawdown of the model's wealth, in [-1, 0]."""
        return float(max_drawdown(self.net))

    @property
    def market_drawdown(self) -> float:
        """That of holding the market."""
        return float(max_drawdown(self.market))

    @property
    def worst_loss(self) -> float:
        """Largest loss from the capital before the path to any close in it, at least 0."""
        return 1.0 - float(wealth(self.net).min())

    @property
    def market_fall(self) -> float:
        """Largest loss of holding the market, likewise."""
        return 1.0 - float(wealth(self.market).min())


@dataclass(frozen=True, eq=False)
class Stage:
    """A trained model and the calm bars that precede every shock.

    Attributes
    ----------
    trained : Trained
    warmup : Bars
    note : str
        Where the warm-up ends and whether it ends in calm.
    cost_bps : float
    delay_bars : int
    """

    trained: Trained
    warmup: Bars
    note: str
    cost_bps: float
    delay_bars: int

    @property
    def window(self) -> Window:
        """The bars shown before the shock, which has no dates, and until when it was trained."""
        index = self.warmup.index
        return Window(
            start=index[0].isoformat(),
            end=index[-1].isoformat(),
            trained_until=self.trained.until,
        )

    @cached_property
    def flat(self) -> str:
        """Why nothing is learnt from shocks here; empty where something is at risk."""
        return FLAT if self.endure(np.zeros(1), "no shock").exposure_before == 0.0 else ""

    def endure(self, returns: np.ndarray, source: str) -> Endured:
        """Show the model these returns after the warm-up, see :func:`replay.continued`.

        Parameters
        ----------
        returns : numpy.ndarray, shape (n,)
        source : str
            What the path is, for the provenance of its bars.

        Raises
        ------
        DataError
            If the warm-up is not daily or a return leaves no price.
        SubjectFault
            If the model fails or breaks its contract.
        """
        return self.shown(continued(self.warmup, returns, Provenance(source, kind="replay")))

    def shown(self, bars: Bars) -> Endured:
        """What the model makes of bars that begin with the warm-up."""
        signals = observe(self.trained.model, bars)
        market = bars.returns()
        earned = profit_and_loss(
            signals.position, market, cost_bps=self.cost_bps, delay_bars=self.delay_bars
        )
        first = len(self.warmup) - 1  # the first period starts at the warm-up's last close
        before = earned.held[first - REFERENCE_BARS : first]
        return Endured(
            market[first:], earned.held[first:], earned.net[first:], float(np.median(before))
        )


def candidate_stage(subject: Subject, context: Context, warmup_bars: int) -> Stage:
    """The candidate for approval, in calm.

    Raises
    ------
    DataError
        If there are too few bars for a warm-up.
    """
    until = context.bars.index[context.last_fold.train_end - 1].isoformat()
    return _stage(Trained(context.candidate(subject), "out", until), context, warmup_bars)


def scenario_stage(
    subject: Subject, context: Context, scenario: Scenario, warmup_bars: int
) -> Stage:
    """The model that answers a scenario (:func:`unseen_model`), in calm.

    Raises
    ------
    DataError
        If there are too few bars for a warm-up.
    """
    return _stage(unseen_model(subject, context, scenario), context, warmup_bars)


def market_scenarios(context: Context) -> tuple[Scenario, ...]:
    """Scenarios that are daily returns of a market, and so can be scaled."""
    return tuple(item for item in context.scenarios if item.frequency == "daily")


def scenario_window(scenario: Scenario, stage: Stage) -> Window:
    """When the scenario happened and until when the model had been trained."""
    closes = scenario_closes(scenario)
    return Window(
        start=closes[0].isoformat(),
        end=closes[-1].isoformat(),
        trained_until=stage.trained.until,
    )


def enough_warmup(bars: int, check: str) -> None:
    """Refuse a parameter ``warmup_bars`` that is too small."""
    if bars < LEAST_WARMUP_BARS:
        raise InputError(
            f"{check} needs bars before a shock",
            expected=f"warmup_bars of at least {LEAST_WARMUP_BARS}",
            got=str(bars),
        )


def _stage(trained: Trained, context: Context, warmup_bars: int) -> Stage:
    needed = trained.model.card.warmup_bars + REFERENCE_BARS + context.delay_bars + SPARE_BARS
    bars, note = calm_warmup(context.bars, history=max(warmup_bars, needed), needed=needed)
    return Stage(trained, bars, note, context.cost_bps, context.delay_bars)
