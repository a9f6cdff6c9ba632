"""Cost, delay, noise and the beginning of history moved together: screened, or by variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from governance.record import Column
from governance.statistics.screening import LEVELS, Screening, morris_screening
from governance.statistics.sensitivity import Sensitivity as Trials
from governance.statistics.sobol import VarianceShares, sobol_indices

FACTORS = ("cost", "delay", "noise", "start")


@dataclass(frozen=True)
class Together:
    """The Sharpe ratio over all tests as a function of the factors, each on a grid of four levels.

    Attributes
    ----------
    trials : governance.statistics.sensitivity.Sensitivity
    noise_bps : float
        Noise on prices at half its range.
    start_bars : int
        Bars by which history may begin later.
    """

    trials: Trials
    noise_bps: float
    start_bars: int

    def offset(self, step: int) -> int:
        """Bars cut off the beginning; never so many that a model is still warming up."""
        room = self.trials.tests.start - self.trials.subject.card.warmup_bars
        return max(min(self.start_bars, room), 0) * step // (LEVELS - 1)

    def ratio(self, levels: tuple[int, ...]) -> float:
        """Sharpe ratio a year at levels 0 to 3 of every factor."""
        cost, delay, noise, start = levels
        position = self.trials.positions(
            noise_bps=2.0 * self.noise_bps * noise / (LEVELS - 1), offset=self.offset(start)
        )
        scale = 1.0 + 2.0 * cost / (LEVELS - 1)
        net = self.trials.earnings(position, cost=scale, delay=delay, skip=LEVELS - 1)
        return self.trials.ratio(net)

    def screened(self, trajectories: int) -> Screening:
        """Elementary effects after Morris."""
        seed = int(self.trials.context.rng("sensitivity:morris").integers(2**31))
        return morris_screening(FACTORS, self.ratio, trajectories=trajectories, seed=seed)

    def shared(self, points: int) -> VarianceShares:
        """Shares of variance after Sobol', every level as likely as any other."""
        known: dict[tuple[int, ...], float] = {}

        def answer(point: tuple[float, ...]) -> float:
            levels = tuple(np.minimum(np.array(point) * LEVELS, LEVELS - 1).astype(int).tolist())
            if levels not in known:
                known[levels] = self.ratio(levels)
            return known[levels]

        seed = int(self.trials.context.rng("sensitivity:sobol").integers(2**31))
        return sobol_indices(FACTORS, answer, points=points, seed=seed)

    @property
    def ranges(self) -> Column:
        """What the levels stand for."""
        said = (
            "1 to 3 times the plan's",
            f"0 to {LEVELS - 1} bars more",
            f"0 to {2 * self.noise_bps:g} bps",
            f"0 to {self.start_bars} bars later",
        )
        return Column(name="range", values=said)
