"""The law of the next return that a subject forecasts, or that its regimes imply.

A subject that forecasts a volatility (and a mean) is taken at its word: the law is mean plus
volatility times a standardised residual, residuals drawn from the training rows (filtered
historical simulation). From one that does not, the law that its states imply is used: the returns
that followed the training rows which the same trained subject put in the same state, as they were.

References
----------
Barone-Adesi, Giannopoulos & Vosper, VaR without correlations for portfolios of derivative
securities, Journal of Futures Markets 19 (1999): filtered historical simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.check import Context, Skip
from governance.splits import Fold
from governance.statistics.out_of_sample import MIN_PERIODS
from governance.statistics.regimes import risk_off

Kind = Literal["given", "implied"]

LEAST_TRAINING_ROWS = 100
"""A one per cent quantile of fewer returns lies beyond all of them."""

LAWS = {
    "given": "the subject's own mean and volatility, with standardised residuals of training",
    "implied": "what followed the same state in training, as the subject forecasts no volatility",
}


@dataclass(frozen=True, eq=False)
class Law:
    """One empirical law of standardised returns, and which tests it serves.

    Attributes
    ----------
    fold : int
    state : int
        -1 where all training rows of the fold are pooled.
    training : numpy.ndarray, shape (n,)
        Rows of bars whose next return it was made from.
    tests : numpy.ndarray, shape (m,)
        Positions among the tested rows that it forecasts.
    values : numpy.ndarray, shape (n,)
        Standardised return after each training row.
    """

    fold: int
    state: int
    training: np.ndarray
    tests: np.ndarray
    values: np.ndarray

    @cached_property
    def sample(self) -> np.ndarray:
        """The values, ascending."""
        return np.sort(self.values)


@dataclass(frozen=True, eq=False)
class DensityForecast:
    """Forecasts of the next bar's return and what came, over the tests of all folds.

    Attributes
    ----------
    kind : {"given", "implied"}
    rows : numpy.ndarray, shape (n,)
        Rows of bars at whose close each forecast was made, ascending.
    outcome : numpy.ndarray, shape (n,)
        Simple return from that close to the next.
    location, scale : numpy.ndarray, shape (n,)
        The law is location + scale times a draw from its sample.
    laws : tuple of Law
    bars : int
        Of the whole sample.
    pooled : int
        Tests whose state had too few training rows, answered by all training rows of the fold.
    """

    kind: Kind
    rows: np.ndarray
    outcome: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    laws: tuple[Law, ...]
    bars: int
    pooled: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def residual(self) -> np.ndarray:
        """Standardised outcomes, shape (n,)."""
        return (self.outcome - self.location) / self.scale

    @property
    def pit(self) -> np.ndarray:
        """Probability integral transform of every outcome, shape (n,), inside (0, 1)."""
        found = np.empty(len(self))
        for law in self.laws:
            found[law.tests] = ranks(law.sample, self.residual[law.tests])
        return found

    def quantile(self, level: float) -> np.ndarray:
        """Return that the next one undercuts with probability ``level``, shape (n,)."""
        return self._spread([tail_quantile(law.sample, level) for law in self.laws])

    def shortfall(self, level: float) -> np.ndarray:
        """Mean return below that quantile, shape (n,)."""
        return self._spread([tail_mean(law.sample, level) for law in self.laws])

    @property
    def mean(self) -> np.ndarray:
        """Mean of the law, shape (n,)."""
        return self._spread([float(law.sample.mean()) for law in self.laws])

    @property
    def volatility(self) -> np.ndarray:
        """Standard deviation of the law, per bar, shape (n,)."""
        found = np.empty(len(self))
        for law in self.laws:
            found[law.tests] = self.scale[law.tests] * law.sample.std()
        return found

    def _spread(self, values: list[float]) -> np.ndarray:
        found = np.empty(len(self))
        for law, value in zip(self.laws, values, strict=True):
            found[law.tests] = self.location[law.tests] + self.scale[law.tests] * value
        return found

    @property
    def note(self) -> str:
        """Which law this is, for evidence."""
        said = f"forecast {self.kind}: {LAWS[self.kind]}"
        if self.pooled:
            said += f"; {self.pooled} bars in states too rare in training take all its returns"
        return said


def ranks(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where values fall in an ascending sample, mid-rank of sample and value, in (0, 1).

    Uniform on a grid of n + 1 points if value and sample are exchangeable.
    """
    left = np.searchsorted(sample, values, side="left")
    right = np.searchsorted(sample, values, side="right")
    return (0.5 * (left + right) + 0.5) / (len(sample) + 1.0)


def tail_quantile(sample: np.ndarray, level: float) -> float:
    """Quantile of an ascending sample that a new draw undercuts with this probability.

    Order statistic of rank level (n + 1), interpolated: the finite-sample quantile of split
    conformal prediction. The smallest value where that rank is below one.
    """
    return float(np.quantile(sample, level, method="weibull"))


def tail_mean(sample: np.ndarray, level: float) -> float:
    """Mean of the values of a sample up to its quantile."""
    return float(sample[sample <= tail_quantile(sample, level)].mean())


def density_forecast(subject: Subject, context: Context) -> DensityForecast:
    """What the subject forecasts, or its states imply, on the tests of all folds.

    Only training rows, and only those whose next return ends within training, make a law.

    Raises
    ------
    Skip
        If there are too few tests, or a fold has too few training rows.
    SubjectFault
        If the subject breaks its contract.
    """
    returns = context.bars.returns()
    folds = context.folds
    replays = [_replay(subject, fold, context) for fold in folds]
    given = all(signals.forecast_volatility is not None for signals, _ in replays)
    last = min(folds[-1].test_end, len(returns))
    rows = np.arange(folds[0].test_start, last)
    if len(rows) < MIN_PERIODS:
        raise Skip(f"{len(rows)} forecasts with an outcome are fewer than {MIN_PERIODS}")
    location, scale = np.zeros(len(rows)), np.ones(len(rows))
    laws: list[Law] = []
    for fold, (signals, warmup) in zip(folds, replays, strict=True):
        training = np.arange(warmup, fold.train_end - 1)
        if len(training) < LEAST_TRAINING_ROWS:
            raise Skip(
                f"fold {fold.number} has {max(len(training), 0)} training returns after the "
                f"warm-up, fewer than {LEAST_TRAINING_ROWS}"
            )
        tests = np.arange(fold.test_start, min(fold.test_end, last)) - rows[0]
        if given:
            mean, volatility = _given(signals)
            location[tests], scale[tests] = mean[rows[tests]], volatility[rows[tests]]
            values = (returns[training] - mean[training]) / volatility[training]
            laws.append(Law(fold.number, -1, training, tests, values))
        else:
            laws.extend(_by_state(_states(signals, fold, warmup), fold, training, tests, returns))
    return DensityForecast(
        kind="given" if given else "implied",
        rows=rows,
        outcome=returns[rows],
        location=location,
        scale=scale,
        laws=tuple(laws),
        bars=len(context.bars),
        pooled=0 if given else sum(len(law.tests) for law in laws if law.state < 0),
    )


def _replay(subject: Subject, fold: Fold, context: Context) -> tuple[Signals, int]:
    trained = context.trained(subject, fold)
    signals = context.cache.signals(trained, context.bars.rows(0, fold.test_end))
    return signals, trained.card.warmup_bars


def _given(signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    volatility = np.asarray(signals.forecast_volatility)
    mean = np.zeros(len(signals)) if signals.forecast_mean is None else signals.forecast_mean
    return mean, volatility


def _states(signals: Signals, fold: Fold, warmup: int) -> np.ndarray:
    """Regime; else whether stress is likelier than not; else whether it is out of the market."""
    if signals.regime is not None:
        return signals.regime
    if signals.stress_probability is not None:
        return (signals.stress_probability > 0.5).astype(np.int64)
    off = risk_off(signals, trained_rows=fold.train_end, warmup_bars=warmup)
    return off.astype(np.int64)


def _by_state(
    states: np.ndarray, fold: Fold, training: np.ndarray, tests: np.ndarray, returns: np.ndarray
) -> list[Law]:
    now = states[fold.test_start : fold.test_start + len(tests)]
    laws: list[Law] = []
    rare = np.zeros(len(tests), dtype=bool)
    for state in np.unique(now).tolist():
        of_state = training[states[training] == state]
        if len(of_state) < LEAST_TRAINING_ROWS:
            rare |= now == state
            continue
        laws.append(Law(fold.number, state, of_state, tests[now == state], returns[of_state]))
    if rare.any():
        laws.append(Law(fold.number, -1, training, tests[rare], returns[training]))
    return laws
