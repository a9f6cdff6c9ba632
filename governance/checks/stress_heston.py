"""How a model falls in simulated crashes whose volatility and correlation are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError, InputError
from finchaos.core.subject import Subject
from finchaos.markets.simulate.heston import (
    STRESSED,
    HestonConfig,
    HestonPaths,
    HestonRegime,
    simulate,
)
from finchaos.markets.simulate.heston_schemes import QUADRATIC_EXPONENTIAL
from governance.check import Context, Skip, measured, not_measured
from governance.reconstructed_replay import scaled_replay
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.replay import business_closes, is_daily
from governance.shock_run import Endured, Stage, candidate_stage, enough_warmup
from governance.statistics.order_statistics import median_interval
from governance.statistics.proportion import exact_interval

VOLS_OF_VOL = (0.3, 0.6, 0.9, 1.5)
CORRELATIONS = (-0.9, -0.6, -0.3, 0.0)
DRIFTS = {"bear": -0.25, "crash": -1.0}
"""Expected returns a year, by name."""


@dataclass(frozen=True, eq=False)
class _Cell:
    """What a model endured on the paths of one market."""

    vol_of_vol: float
    correlation: float
    drift: str
    paths: tuple[Endured, ...]

    @property
    def shares(self) -> np.ndarray:
        """Drawdown of the model over that of the market, shape (paths,)."""
        return np.array([one.drawdown / one.market_drawdown for one in self.paths])


@dataclass(frozen=True)
class StressHeston:
    """Show the model stressed Heston markets over a grid of parameters.

    Parameters
    ----------
    paths : int
        Paths for every market of the grid.
    bars : int
        Length of a path.
    drawdown_limit : float
        Drawdown, as a positive fraction of capital, beyond which a path counts as a breach.
    warmup_bars : int
        Calm bars shown to the model before, where there are as many.
    """

    paths: int = 12
    bars: int = 63
    drawdown_limit: float = 0.25
    warmup_bars: int = 500

    card: ClassVar[CheckCard] = CheckCard(
        name="stress_heston",
        version=1,
        title="Simulated crashes",
        question="How deep does the model fall in crashes that nobody has seen?",
        pillar="outcomes_analysis",
        method="The price turns from the subject's own calm bars to Heston's stochastic "
        "volatility with the stressed law of the laboratory: variance starts at its level, 40 % a "
        "year, and the drift is -25 % (bear) or -100 % (crash) a year. Volatility of variance runs "
        "over 0.3, 0.6, 0.9 and 1.5, its correlation with the price over -0.9, -0.6, -0.3 and 0. "
        "Every market of the grid has paths of its own, drawn by the quadratic-exponential "
        "scheme, eight steps a bar, with ranges. Drawdowns of model and market are taken over the "
        "same path, with the plan's cost and delay.",
        limitations=(
            "Heston's paths do not jump: gaps are in the reverse stress",
            "Volatility leaps to its stressed level within a bar, which is easier to notice than "
            "a slow rise",
            "All paths follow the same warm-up",
            "The laboratory that the demonstration model is taught in draws from the same family "
            "of markets",
        ),
        references=(
            "Heston, A closed-form solution for options with stochastic volatility, Review of "
            "Financial Studies 6 (1993)",
            "Andersen, Simple and efficient simulation of the Heston model, Journal of "
            "Computational Finance 11 (2008)",
            "Hahn & Meeker, Statistical Intervals (1991), section 5.3",
        ),
        requires=("model",),
        metrics=(
            MetricSpec(name="drawdown_share", unit="ratio", better="lower",
                       meaning="Median over the paths of the model's deepest drawdown over the "
                       "market's; 1 is the whole fall"),
            MetricSpec(name="breach_share", unit="share of paths", better="lower",
                       meaning="Paths in which the model's drawdown goes beyond drawdown_limit"),
            MetricSpec(name="market_breach_share", unit="share of paths", better="none",
                       meaning="Paths in which holding the market would have"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not (
            2 <= self.paths <= 10_000 and 5 <= self.bars <= 2_520 and 0 < self.drawdown_limit < 1
        ):
            raise InputError(
                "stress_heston cannot use these parameters",
                expected="2 to 10000 paths of 5 to 2520 bars, drawdown_limit in (0, 1)",
                got=f"{self.paths}, {self.bars}, {self.drawdown_limit}",
            )
        enough_warmup(self.warmup_bars, "stress_heston")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield shares of the fall and breaches, overall and by parameter, and heat maps."""
        if not is_daily(context.bars):
            raise Skip("the simulated markets are daily, and the bars are not")
        stage = candidate_stage(subject, context, self.warmup_bars)
        if stage.flat:
            raise Skip(stage.flat)
        cells = [
            self._cell(stage, context, vol_of_vol, correlation, drift)
            for drift in DRIFTS
            for vol_of_vol in VOLS_OF_VOL
            for correlation in CORRELATIONS
        ]
        yield from self._evidence(stage, cells)
        for drift in DRIFTS:
            of_drift = [cell for cell in cells if cell.drift == drift]
            yield from self._evidence(stage, of_drift, drift=drift)
        for vol_of_vol in VOLS_OF_VOL:
            chosen = [cell for cell in cells if cell.vol_of_vol == vol_of_vol]
            yield from self._evidence(stage, chosen, vol_of_vol=f"{vol_of_vol:g}")
        for correlation in CORRELATIONS:
            chosen = [cell for cell in cells if cell.correlation == correlation]
            yield from self._evidence(stage, chosen, correlation=f"{correlation:g}")
        for drift in DRIFTS:
            yield self._map(cells, drift, context.seed)
        yield self._scatter(cells, context.seed)

    def _cell(
        self, stage: Stage, context: Context, vol_of_vol: float, correlation: float, drift: str
    ) -> _Cell:
        law = HestonRegime(
            STRESSED.kappa, STRESSED.theta, vol_of_vol, correlation, DRIFTS[drift], 1e9
        )
        config = HestonConfig(
            (law,),
            initial_variance=STRESSED.theta,
            bars_per_year=stage.warmup.bars_per_year,
            scheme=QUADRATIC_EXPONENTIAL,
        )
        rng = context.rng(f"stress_heston:{drift}:{vol_of_vol:g}:{correlation:g}")
        drawn = simulate(config, self.paths, self.bars, rng, seed=context.seed)
        stamps = business_closes(stage.warmup.index, self.bars)
        found = tuple(self._endured(stage, drawn, path, stamps) for path in range(self.paths))
        return _Cell(vol_of_vol, correlation, drift, found)

    def _endured(
        self, stage: Stage, drawn: HestonPaths, path: int, stamps: pd.DatetimeIndex
    ) -> Endured:
        shown = scaled_replay(drawn.bars(path), drawn.config.initial_price, stage.warmup, stamps)
        found = stage.shown(shown)
        if found.market_drawdown == 0.0:
            raise DataError("a simulated market never fell", remedy="ask for longer paths")
        return found

    def _evidence(self, stage: Stage, cells: Sequence[_Cell], **where: Any) -> Iterator[Evidence]:
        shares = np.concatenate([cell.shares for cell in cells])
        paths = [one for cell in cells for one in cell.paths]
        n, window = len(paths), stage.window
        if np.isfinite(shares).all():
            yield measured(
                self,
                "drawdown_share",
                float(np.median(shares)),
                n=n,
                window=window,
                interval=median_interval(shares),
                **where,
            )
        else:
            reason = "a drawdown could not be computed"
            yield not_measured(self, "drawdown_share", reason, window=window, errored=True, **where)
        for name, depths in (
            ("breach_share", [one.drawdown for one in paths]),
            ("market_breach_share", [one.market_drawdown for one in paths]),
        ):
            events = sum(-depth > self.drawdown_limit for depth in depths)
            yield measured(
                self,
                name,
                events / n,
                n=n,
                window=window,
                interval=exact_interval(events, n),
                **where,
            )

    def _map(self, cells: Sequence[_Cell], drift: str, seed: int) -> Exhibit:
        def median(vol_of_vol: float, correlation: float) -> float:
            (cell,) = (
                one
                for one in cells
                if (one.vol_of_vol, one.correlation, one.drift) == (vol_of_vol, correlation, drift)
            )
            return float(np.median([-one.drawdown for one in cell.paths]))

        chosen = [one for cell in cells if cell.drift == drift for one in cell.paths]
        market = float(np.median([-one.market_drawdown for one in chosen]))
        return Exhibit(
            check=self.card.name,
            name=f"map_{drift}",
            title="Median drawdown of the model in simulated markets, "
            f"drift {100 * DRIFTS[drift]:g} % a year",
            kind="heatmap",
            columns=(
                Column(
                    name="volatility of variance",
                    values=tuple(f"vol of vol {value:g}" for value in VOLS_OF_VOL),
                ),
                *(
                    Column(
                        name=f"rho {correlation:g}",
                        unit="fraction",
                        values=tuple(median(value, correlation) for value in VOLS_OF_VOL),
                    )
                    for correlation in CORRELATIONS
                ),
            ),
            y_label="drawdown, %",
            note=f"Simulated, seed {seed}: {self.paths} paths of {self.bars} bars a cell; "
            "rho: correlation. The "
            f"market's median over all cells is {100 * market:.3g} %.",
        )

    def _scatter(self, cells: Sequence[_Cell], seed: int) -> Exhibit:
        rows = [(cell.drift, one) for cell in cells for one in cell.paths]
        return Exhibit(
            check=self.card.name,
            name="model_over_market",
            title="Drawdown of model and market on every simulated path",
            kind="scatter",
            columns=(
                Column(
                    name="deepest drawdown of the market",
                    unit="fraction",
                    values=tuple(-one.market_drawdown for _, one in rows),
                ),
                *(
                    Column(
                        name=f"drift {100 * value:g} % a year",
                        unit="fraction",
                        values=tuple(
                            -one.drawdown if drift == name else None for drift, one in rows
                        ),
                    )
                    for name, value in DRIFTS.items()
                ),
            ),
            y_label="deepest drawdown of the model, %",
            note=f"Simulated, seed {seed}. A model that is always invested lies on the diagonal.",
        )
