"""What a debounce is tuned for: each objective scores one debounced signal on the training window.

A score is higher for the better. Figures beside it say what it was made of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.kpis import positive, runs, score_detection, switching


@dataclass(frozen=True)
class Score:
    """A merit and its figures.

    Attributes
    ----------
    merit : float
        Higher is better; minus infinity if the objective's limit is broken.
    figures : dict of str to float
        May be infinite where something was never detected.
    """

    merit: float
    figures: dict[str, float]


class Objective(Protocol):
    """Scores a debounced signal."""

    @property
    def name(self) -> str:
        """Name for the register of trials."""
        ...

    def check(self, bars: int, trained: int) -> None:
        """Refuse a training window that cannot be scored.

        Parameters
        ----------
        bars : int
            Bars of the whole series.
        trained : int
            Bars of the training window, its first ones.
        """
        ...

    def score(self, stressed: np.ndarray, raw: np.ndarray, bars_per_year: float) -> Score:
        """Score the training window.

        Parameters
        ----------
        stressed, raw : numpy.ndarray, shape (n,), bool
            After and before debouncing; the training bars, the first ones of the series.
        bars_per_year : float
        """
        ...


@dataclass(frozen=True, eq=False)
class BalancedAccuracy:
    """Mean of the shares of stressed and calm bars called rightly.

    Attributes
    ----------
    truth : numpy.ndarray, shape (t,), bool
        Known stress of every bar of the series; only training bars are read.
    """

    truth: np.ndarray
    name: str = field(default="balanced_accuracy", init=False)

    def check(self, bars: int, trained: int) -> None:
        """Refuse labels that do not fit or do not hold both kinds in the training window."""
        _both_kinds(self.truth, bars, trained)

    def score(self, stressed: np.ndarray, raw: np.ndarray, bars_per_year: float) -> Score:
        """Score the training window."""
        found = score_detection(stressed, self.truth[: len(stressed)], bars_per_year=bars_per_year)
        return Score(
            found.balanced_accuracy,
            {
                "balanced_accuracy": found.balanced_accuracy,
                "false_onsets_per_year": found.false_onsets_per_year,
                "median_delay": found.median_delay,
                "missed": float(found.missed),
            },
        )


@dataclass(frozen=True, eq=False)
class DelayAtBudget:
    """Bars lost before detection, while false alarms stay within a budget.

    The budget has two sides. An alarm that is never off again has no onsets and finds every spell
    at once, so that onsets alone would be kept down best by the slowest way out.

    The merit is minus the mean share of each spell that passed before the alarm, a missed spell
    counting whole: unlike the median delay it is finite and moved by every spell.

    Attributes
    ----------
    truth : numpy.ndarray, shape (t,), bool
        Known stress of every bar of the series; only training bars are read.
    false_onsets_per_year : float
        At most so many in a year of calm bars.
    calm_share_flagged : float
        At most this share of calm bars with an alarm.
    """

    truth: np.ndarray
    false_onsets_per_year: float = 1.0
    calm_share_flagged: float = 0.25
    name: str = field(default="delay_at_budget", init=False)

    def __post_init__(self) -> None:
        positive("false_onsets_per_year", self.false_onsets_per_year)
        if not 0 < self.calm_share_flagged < 1:
            raise InputError(
                "calm_share_flagged must lie between 0 and 1", got=repr(self.calm_share_flagged)
            )

    def check(self, bars: int, trained: int) -> None:
        """Refuse labels that do not fit or do not hold both kinds in the training window."""
        _both_kinds(self.truth, bars, trained)

    def score(self, stressed: np.ndarray, raw: np.ndarray, bars_per_year: float) -> Score:
        """Score the training window."""
        truth = np.asarray(self.truth[: len(stressed)], dtype=bool)
        found = score_detection(stressed, truth, bars_per_year=bars_per_year)
        starts, ends = runs(truth)
        lost = float(np.mean(np.minimum(found.delays / (ends - starts), 1.0)))
        within = (
            found.false_onsets_per_year <= self.false_onsets_per_year
            and found.calm_share_flagged <= self.calm_share_flagged
        )
        return Score(
            -lost if within else -np.inf,
            {
                "share_lost": lost,
                "false_onsets_per_year": found.false_onsets_per_year,
                "calm_share_flagged": found.calm_share_flagged,
                "median_delay": found.median_delay,
                "p90_delay": found.p90_delay,
                "missed": float(found.missed),
            },
        )


@dataclass(frozen=True, eq=False)
class PenalisedSharpe:
    """Sharpe ratio of being invested in calm, after costs, less a price of turnover.

    Attributes
    ----------
    close : numpy.ndarray, shape (t,)
        Of every bar of the series; only training bars are read.
    delay_bars : int
        0 trades at the close that decides; 1 at the next.
    cost_bps : float
        One way.
    penalty : float
        Sharpe given up for one full turn of the portfolio a year.
    """

    close: np.ndarray
    delay_bars: int = 1
    cost_bps: float = 10.0
    penalty: float = 0.05
    name: str = field(default="penalised_sharpe", init=False)

    def __post_init__(self) -> None:
        if self.delay_bars < 0 or not 0 <= self.cost_bps < np.inf or not 0 <= self.penalty < np.inf:
            raise InputError(
                "impossible objective",
                expected="delay_bars, cost_bps and penalty not negative",
                got=f"{self.delay_bars}, {self.cost_bps}, {self.penalty}",
            )

    def check(self, bars: int, trained: int) -> None:
        """Refuse closes that do not fit, cannot be traded on or never move while training."""
        price = np.asarray(self.close, dtype=np.float64)
        if price.shape != (bars,):
            raise InputError(
                "closes and states do not fit together", expected=f"({bars},)", got=str(price.shape)
            )
        price = price[:trained]
        if not (np.isfinite(price).all() and (price > 0).all()) or price.min() == price.max():
            raise DataError("closes of the training window must be finite, positive and vary")

    def score(self, stressed: np.ndarray, raw: np.ndarray, bars_per_year: float) -> Score:
        """Score the training window."""
        price = np.asarray(self.close[: len(stressed)], dtype=np.float64)
        held = np.concatenate([np.zeros(self.delay_bars), 1.0 - stressed])[: len(price) - 1]
        traded = np.abs(np.diff(held, prepend=0.0))
        net = held * (price[1:] / price[:-1] - 1.0) - traded * self.cost_bps / 1e4
        risk = float(net.std(ddof=1))
        sharpe = float(net.mean() / risk * np.sqrt(bars_per_year)) if risk > 0 else 0.0
        turnover = 0.5 * float(traded.sum()) * bars_per_year / len(net)
        return Score(
            sharpe - self.penalty * turnover,
            {"sharpe": sharpe, "turnover": turnover, "exposure": float(held.mean())},
        )


@dataclass(frozen=True)
class Stability:
    """Agreement with the raw signal once its short spells are taken out with hindsight.

    Without labels and prices the only truth is the signal's own: a spell is real if it lasts. Runs
    shorter than ``least_spell_bars`` are joined, shortest first, to their surroundings, which needs
    the bars after them and is done within the training window alone. The balanced accuracy against
    that rewards a filter that passes lasting spells soon and short ones not at all; counting
    switches alone would reward the longest confirmation whatever it misses.

    Attributes
    ----------
    least_spell_bars : int
    """

    least_spell_bars: int = 10
    name: str = field(default="stability", init=False)

    def __post_init__(self) -> None:
        if self.least_spell_bars < 2:
            raise InputError("least_spell_bars must be 2 or more", got=repr(self.least_spell_bars))

    def check(self, bars: int, trained: int) -> None:
        """Refuse a training window shorter than two spells."""
        if trained < 2 * self.least_spell_bars:
            raise DataError(
                "the training window is shorter than two spells",
                expected=f"{2 * self.least_spell_bars} bars",
                got=str(trained),
            )

    def score(self, stressed: np.ndarray, raw: np.ndarray, bars_per_year: float) -> Score:
        """Score the training window."""
        truth = lasting(raw, self.least_spell_bars)
        if truth.all() or not truth.any():
            raise DataError(
                "the training window has one lasting state only",
                expected=f"spells of {self.least_spell_bars} bars of both",
                got=f"{int(raw.sum())} stressed of {len(raw)} bars",
                remedy="train on a longer window or set another threshold",
            )
        found = score_detection(stressed, truth, bars_per_year=bars_per_year)
        switches = switching(stressed, bars_per_year=bars_per_year)
        return Score(
            found.balanced_accuracy,
            {
                "balanced_accuracy": found.balanced_accuracy,
                "switches_per_year": switches.switches_per_year,
                "median_spell_bars": switches.median_spell_bars,
            },
        )


def lasting(flag: np.ndarray, least_bars: int) -> np.ndarray:
    """A flag with runs below a length joined to their surroundings, shortest and earliest first.

    It needs the bars after a run: hindsight, for training windows only.

    Examples
    --------
    >>> lasting(np.array([0, 0, 0, 1, 0, 0, 1, 1, 1], dtype=bool), 3).astype(int).tolist()
    [0, 0, 0, 0, 0, 0, 1, 1, 1]
    """
    state = np.array(flag, dtype=bool)
    edges = np.concatenate([[0], np.flatnonzero(state[1:] != state[:-1]) + 1, [len(state)]])
    starts = edges.tolist()
    while len(starts) > 2:
        lengths = np.diff(starts)
        shortest = int(lengths.argmin())
        if lengths[shortest] >= least_bars:
            break
        first, last = starts[shortest], starts[shortest + 1]
        state[first:last] = ~state[first]
        # The run and its neighbours are one now; at either end there is one neighbour only.
        gone = {first, last} - {0, len(state)}
        starts = [edge for edge in starts if edge not in gone]
    return state


def _both_kinds(truth: np.ndarray, bars: int, trained: int) -> None:
    labels = np.asarray(truth)
    if labels.shape != (bars,) or not np.isin(labels[:trained], (0, 1)).all():
        raise InputError(
            "labels and states do not fit together",
            expected=f"yes or no for each of {bars} bars",
            got=f"{labels.dtype} {labels.shape}",
        )
    high = int(labels[:trained].astype(bool).sum())
    if not 0 < high < trained:
        raise DataError(
            "the training window must hold stressed and calm bars",
            got=f"{high} stressed of {trained}",
            remedy="train on a longer window",
        )
