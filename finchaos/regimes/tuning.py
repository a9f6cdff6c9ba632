"""How many bars must confirm a change, chosen for each timeframe on its training window alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.filter import FilterRule, debounce
from finchaos.regimes.kpis import positive
from finchaos.regimes.objectives import Objective

GRID: tuple[FilterRule, ...] = tuple(
    FilterRule(entry, leave) for entry, leave in product((1, 2, 3, 5, 8, 13), repeat=2)
)


@dataclass(frozen=True)
class FilterTrial:
    """One rule that was tried.

    Attributes
    ----------
    rule : FilterRule
    merit : float
        Higher is better; minus infinity if the objective's limit was broken.
    figures : dict of str to float
    """

    rule: FilterRule
    merit: float
    figures: dict[str, float]


@dataclass(frozen=True)
class FilterTuning:
    """The chosen rule and everything that was tried for it.

    Attributes
    ----------
    timeframe : str
    rule : FilterRule
    objective : str
    trained_bars : int
    threshold : float
    trials : tuple of FilterTrial
        In the order of the grid.
    """

    timeframe: str
    rule: FilterRule
    objective: str
    trained_bars: int
    threshold: float
    trials: tuple[FilterTrial, ...]

    def records(self) -> list[dict[str, Any]]:
        """One plain entry per trial for a register of trials; what is not finite becomes None."""
        return [
            {
                "timeframe": self.timeframe,
                "objective": self.objective,
                "trained_bars": self.trained_bars,
                "threshold": self.threshold,
                "entry_bars": trial.rule.entry_bars,
                "exit_bars": trial.rule.exit_bars,
                "merit": _finite(trial.merit),
                "chosen": trial.rule == self.rule,
                **{name: _finite(value) for name, value in trial.figures.items()},
            }
            for trial in self.trials
        ]


@dataclass(frozen=True, eq=False)
class Timeframe:
    """A series of one bar length.

    Attributes
    ----------
    stress : numpy.ndarray, shape (t,)
        Probability of stress or flag, before debouncing.
    trained_bars : int
        The training window: its first bars. Later ones are not read.
    bars_per_year : float
    objective : Objective
    threshold : float
        Stressed where ``stress`` is at least this.
    """

    stress: np.ndarray
    trained_bars: int
    bars_per_year: float
    objective: Objective
    threshold: float = 0.5


def tune_filter(
    timeframe: str, series: Timeframe, grid: Sequence[FilterRule] = GRID
) -> FilterTuning:
    """Choose the rule with the highest merit; of equals the one with the fewest bars in all.

    Parameters
    ----------
    timeframe : str
        Name for the register of trials, such as "1d".
    series : Timeframe
    grid : sequence of FilterRule

    Raises
    ------
    InputError
        If shapes do not fit or a parameter is out of range.
    DataError
        If the training window cannot be scored, its signal never changes, or every rule breaks
        the objective's limit.

    Examples
    --------
    >>> from finchaos.regimes.objectives import BalancedAccuracy
    >>> truth = np.repeat([0, 1, 0, 1], 50).astype(bool)
    >>> raw = truth ^ (np.arange(200) % 7 == 3)
    >>> series = Timeframe(raw, 200, 252.0, BalancedAccuracy(truth))
    >>> tune_filter("1d", series).rule
    FilterRule(entry_bars=2, exit_bars=2)
    """
    raw = _training(series, grid)
    series.objective.check(len(series.stress), series.trained_bars)
    trials = []
    for rule in grid:
        passed = debounce(raw, rule) >= 1.0
        score = series.objective.score(passed, raw, series.bars_per_year)
        trials.append(FilterTrial(rule, score.merit, score.figures))
    best = max(trials, key=lambda trial: (trial.merit, -_bars(trial.rule)))
    if not np.isfinite(best.merit):
        raise DataError(
            f"no rule for {timeframe} keeps the limit of {series.objective.name}",
            got="the lowest of each figure by itself: "
            + ", ".join(
                f"{name} {min(trial.figures[name] for trial in trials):.3g}"
                for name in best.figures
            ),
            remedy="allow longer confirmations or a larger budget",
        )
    return FilterTuning(
        timeframe,
        best.rule,
        series.objective.name,
        series.trained_bars,
        series.threshold,
        tuple(trials),
    )


def tune_filters(
    timeframes: Mapping[str, Timeframe], grid: Sequence[FilterRule] = GRID
) -> dict[str, FilterTuning]:
    """Choose a rule for each timeframe by itself."""
    if not timeframes:
        raise InputError("there are no timeframes to tune")
    return {name: tune_filter(name, series, grid) for name, series in timeframes.items()}


def _training(series: Timeframe, grid: Sequence[FilterRule]) -> np.ndarray:
    """Flags of the training window."""
    positive("bars_per_year", series.bars_per_year)
    stress = np.asarray(series.stress)
    if stress.ndim != 1 or not 2 <= series.trained_bars <= len(stress) or not grid:
        raise InputError(
            "a filter cannot be tuned",
            expected="a series, a training window of 2 bars or more inside it, and a grid",
            got=f"shape {stress.shape}, {series.trained_bars} bars, {len(grid)} rules",
        )
    if len(set(grid)) != len(grid):
        raise InputError("the grid names a rule twice")
    known = stress[: series.trained_bars].astype(np.float64)
    if np.isnan(known).any():
        raise DataError("stress must not be NaN in the training window")
    longest = max(max(rule.entry_bars, rule.exit_bars) for rule in grid)
    if len(known) <= longest:
        raise DataError(
            "the training window is too short for the grid",
            expected=f"more than {longest} bars",
            got=str(len(known)),
        )
    raw = known >= series.threshold
    if raw.all() or not raw.any():
        raise DataError(
            "the signal never changes in the training window, so that nothing is debounced",
            got=f"{int(raw.sum())} stressed of {len(raw)} bars",
            remedy="set another threshold or train on a longer window",
        )
    return np.asarray(raw)


def _bars(rule: FilterRule) -> int:
    return rule.entry_bars + rule.exit_bars


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
