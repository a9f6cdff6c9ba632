"""Stress probabilities against the storms that came: realised volatility of the next bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.subject import Subject
from governance.check import Context
from governance.record import Column, Exhibit, Interval
from governance.statistics.calibration import BrierScore, brier_score, realised_volatility
from governance.statistics.out_of_sample import MIN_PERIODS
from governance.statistics.resampling import Bootstrap, Columns, block_length


@dataclass(frozen=True, eq=False)
class Storms:
    """Probabilities said out of sample, and whether a storm followed.

    Attributes
    ----------
    probability : numpy.ndarray, shape (n,)
    event : numpy.ndarray, shape (n,), bool
        Realised volatility of the next bars is above its quantile in the fold's training.
    usual : float
        Share of storms in training.
    horizon : int
    note : str
    """

    probability: np.ndarray
    event: np.ndarray
    usual: float
    horizon: int
    note: str

    @property
    def score(self) -> BrierScore:
        """Brier score and its parts."""
        return brier_score(self.probability, self.event)

    @property
    def skill(self) -> float:
        """Share of the score of always saying the usual rate that the probabilities save."""
        return float(_skill(self._columns()))

    @property
    def discrimination(self) -> float:
        """Mean probability before storms less that before calm; NaN if one of them never came."""
        return float(_discrimination(self._columns()))

    def intervals(self, draws: int, rng: np.random.Generator) -> dict[str, Interval]:
        """Of score, skill and discrimination, blocks resampled."""
        columns = self._columns()
        statistics = {
            "brier_score": lambda c: c["loss"].mean(axis=-1),
            "brier_skill": _skill,
            "discrimination": _discrimination,
        }
        found = Bootstrap(self.block, draws).intervals(statistics, columns, rng)
        return {name: interval for name, interval in found.items() if interval is not None}

    @property
    def block(self) -> int:
        """Long enough for the overlap of storms, for their memory and for the probabilities'."""
        least = min(2 * self.horizon, len(self.event) // 4)
        return max(block_length(self.probability, self.event.astype(float)), least, 1)

    def _columns(self) -> dict[str, np.ndarray]:
        event = self.event.astype(np.float64)
        return {
            "p": self.probability,
            "y": event,
            "loss": (self.probability - event) ** 2,
            "usual": (self.usual - event) ** 2,
        }


def _skill(columns: Columns) -> np.ndarray:
    return np.asarray(1.0 - columns["loss"].mean(axis=-1) / columns["usual"].mean(axis=-1))


def _discrimination(columns: Columns) -> np.ndarray:
    p, y = columns["p"], columns["y"]
    storms, calm = y.sum(axis=-1), (1.0 - y).sum(axis=-1)
    both = (storms > 0) & (calm > 0)
    before = (p * y).sum(axis=-1) / np.maximum(storms, 1.0)
    else_ = (p * (1.0 - y)).sum(axis=-1) / np.maximum(calm, 1.0)
    return np.where(both, before - else_, np.nan)


def storms_of(subject: Subject, context: Context, horizon: int, quantile: float) -> Storms | str:
    """The stress probabilities of all tests against what came; why not, where there are none.

    A bar counts only if its whole horizon lies within the sample; the limit of a fold is a
    quantile over the horizons that end within its training.

    Parameters
    ----------
    subject : Subject
    context : Context
    horizon : int
        Bars.
    quantile : float
    """
    realised = realised_volatility(context.bars.returns(), horizon)
    said, came = [], []
    for fold in context.folds:
        probability = context.test_signals(subject, fold).stress_probability
        if probability is None:
            return "the signals carry no stress probability"
        training = realised[: max(fold.train_end - horizon, 0)]
        if len(training) < 2 * horizon:
            return f"fold {fold.number} has too few training bars for horizons of {horizon} bars"
        test = realised[fold.test_start : fold.test_end]
        known = np.isfinite(test)
        said.append(probability[known])
        came.append(test[known] > np.quantile(training, quantile))
    event = np.concatenate(came)
    if len(event) < MIN_PERIODS:
        return f"{len(event)} tests with a whole horizon are fewer than {MIN_PERIODS}"
    note = (
        f"storm: volatility of the next {horizon} bars above its {100 * quantile:g} % quantile in "
        f"training; {100 * event.mean():.0f} % of tests"
    )
    return Storms(np.concatenate(said), event, 1.0 - quantile, horizon, note)


def storms_exhibit(check: str, found: Storms, draws: int, rng: np.random.Generator) -> Exhibit:
    """Reliability diagram with intervals."""
    score = found.score
    columns = {"y": found.event.astype(np.float64), "bin": score.bins.astype(np.float64)}

    def rate(number: int) -> Interval | None:
        def statistic(drawn: Columns) -> np.ndarray:
            chosen = drawn["bin"] == number
            count = chosen.sum(axis=-1)
            share = (drawn["y"] * chosen).sum(axis=-1) / np.maximum(count, 1)
            return np.where(count > 0, share, np.nan)

        return Bootstrap(found.block, draws).intervals({"rate": statistic}, columns, rng)["rate"]

    limits = [rate(number) for number in range(len(score.counts))]
    return Exhibit(
        check=check,
        name="reliability",
        title="Stress probabilities and the storms that followed",
        kind="line",
        columns=(
            Column(name="stress probability", values=tuple(score.probabilities.tolist())),
            Column(name="share of storms", values=tuple(score.rates.tolist())),
            Column(name="low", values=tuple(None if i is None else i.low for i in limits)),
            Column(name="high", values=tuple(None if i is None else i.high for i in limits)),
            Column(name="bars", values=tuple(score.counts.astype(float).tolist())),
        ),
        y_label="share of storms",
        note=f"95 % intervals, blocks resampled; {found.note}.",
    )
