"""What a trained model did where a crisis did not happen: the null for what it did in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from finchaos.core.bars import Provenance
from finchaos.core.errors import DataError
from finchaos.core.provenance import array_digest
from governance.check import Context
from governance.observe import observe
from governance.replay import Replay, continued
from governance.scenario import Scenario
from governance.statistics.accounting import ProfitAndLoss, profit_and_loss
from governance.statistics.crisis_response import CrisisResponse, crisis_response
from governance.statistics.placebo import block_paths, side_by_side, window_starts
from governance.stress_run import StressRun

ENOUGH_WINDOWS = 10
"""Windows that must fit beside each other for the sample itself to serve as placebos."""
BLOCK_BARS = 21
Key = tuple[str, str, int]
LEAST_BARS = 3 * BLOCK_BARS
"""Fewest bars after training that blocks are drawn from."""


@dataclass(frozen=True, eq=False)
class Placebos:
    """Responses of one model in windows without the event.

    Attributes
    ----------
    source : {"windows", "blocks"}
        Windows of the sample, or its returns shuffled in blocks after the crisis's own warm-up.
    responses : tuple of CrisisResponse
    independent : float
        As how many independent placebos they count.
    """

    source: Literal["windows", "blocks"]
    responses: tuple[CrisisResponse, ...]
    independent: float


@dataclass(eq=False)
class PlaceboBlocks:
    """Shuffled paths that were shown already: a shorter one is the beginning of a longer one."""

    context: Context
    count: int
    reference_bars: int
    wanted: dict[Key, int]
    """Longest path that will be asked for, by model and warm-up."""

    def __post_init__(self) -> None:
        self._shown: dict[
            tuple[str, str, int, str], list[tuple[np.ndarray, ProfitAndLoss, int]]
        ] = {}

    def responses(self, run: StressRun, replay: Replay, pool: np.ndarray) -> list[CrisisResponse]:
        """Responses on paths of the crisis's length after its own warm-up.

        Parameters
        ----------
        run : StressRun
        replay : Replay
            Whose bars before the scenario are shown.
        pool : numpy.ndarray, shape (n,)
            Returns that paths are made of.
        """
        wanted = self.wanted[key_of(run, replay)]
        # Another event of the same model has another pool: without its own days.
        key = (*key_of(run, replay), array_digest({"pool": pool}))
        if key not in self._shown:
            self._shown[key] = [self._show(run, replay, path) for path in self._paths(pool, wanted)]
        periods = len(run.market)
        return [
            _response(run.scenario, market, earned, first, periods, self.reference_bars)
            for market, earned, first in self._shown[key]
        ]

    def _paths(self, pool: np.ndarray, length: int) -> np.ndarray:
        if len(pool) < LEAST_BARS:
            raise DataError(
                "too few bars after the model's training to make placebos of",
                expected=f"at least {LEAST_BARS}",
                got=str(len(pool)),
            )
        rng = self.context.rng(f"stress_placebo:blocks:{len(pool)}")
        return block_paths(pool, length, BLOCK_BARS, self.count, rng)

    def _show(
        self, run: StressRun, replay: Replay, path: np.ndarray
    ) -> tuple[np.ndarray, ProfitAndLoss, int]:
        warmup = replay.bars.rows(0, replay.start)
        source = f"returns of {self.context.bars.symbol} shuffled in blocks"
        bars = continued(warmup, path, Provenance(source, kind="replay"))
        signals, market = observe(run.trained.model, bars), bars.returns()
        earned = profit_and_loss(
            signals.position,
            market,
            cost_bps=self.context.cost_bps,
            delay_bars=self.context.delay_bars,
        )
        return market, earned, replay.start - 1


def key_of(run: StressRun, replay: Replay) -> Key:
    """What placebos made of blocks share: the model, and the last bars of the sample before."""
    return run.trained.model.digest, replay.bars.index[replay.start - 1].isoformat(), replay.start


def unseen_rows(run: StressRun, replay: Replay, context: Context) -> np.ndarray:
    """Periods of the sample after the model's training and clear of the event, bool, shape (t-1,).

    Period i runs from bar i to bar i + 1. A model that was not trained here is asked about the
    tests of all folds.
    """
    index, delay = context.bars.index, context.delay_bars
    if run.trained.until:
        first = int(index.searchsorted(pd.Timestamp(run.trained.until), side="right")) + delay
    else:
        first = context.folds[0].test_start + delay
    allowed = np.arange(len(index) - 1) >= first
    if replay.path == "level":
        began = int(index.searchsorted(replay.index[0]))
        ended = int(index.searchsorted(replay.index[-1], side="right"))
        allowed[max(began - 1, 0) : ended] = False
    return allowed


def window_placebos(
    run: StressRun, context: Context, allowed: np.ndarray, *, count: int, reference_bars: int
) -> Placebos:
    """Windows of the sample as long as the crisis, answered by the same model in one go."""
    periods = len(run.market)
    rng = context.rng(f"stress_placebo:windows:{run.scenario.name}")
    starts = window_starts(allowed, periods, count, rng)
    signals = context.cache.signals(run.trained.model, context.bars)
    market = context.bars.returns()
    earned = profit_and_loss(
        signals.position, market, cost_bps=context.cost_bps, delay_bars=context.delay_bars
    )
    responses = tuple(
        _response(run.scenario, market, earned, first, periods, reference_bars)
        for first in starts.tolist()
    )
    independent = float(min(side_by_side(allowed, periods), count))
    return Placebos("windows", responses, independent)


def enough_windows(run: StressRun, allowed: np.ndarray) -> bool:
    """Whether the sample can serve as placebos of a level replay."""
    return run.path == "level" and side_by_side(allowed, len(run.market)) >= ENOUGH_WINDOWS


def reentries(responses: Sequence[CrisisResponse]) -> np.ndarray:
    """Bars to re-entry of those responses that have any."""
    return np.array([float(one.reentry.bars) for one in responses if one.reentry is not None])


def _response(
    scenario: Scenario,
    market: np.ndarray,
    earned: ProfitAndLoss,
    first: int,
    periods: int,
    reference_bars: int,
) -> CrisisResponse:
    inside = slice(first, first + periods)
    return crisis_response(
        market[inside],
        earned.held[inside],
        earned.net[inside],
        held_before=earned.held[max(first - reference_bars, 0) : first],
        onset_drawdown=scenario.onset_drawdown,
        recovery_rise=scenario.recovery_rise,
    )
