"""What is left of a Sharpe ratio once it is known how many were tried, and how short it ran.

Ratios are per period here, never annual: a ratio per year beside a count of days would inflate
every statistic by the root of the periods in a year.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import kurtosis, skew

from finchaos.core.errors import DataError, InputError
from governance.record import Interval

_EULER = float(np.euler_gamma)


@dataclass(frozen=True)
class SharpeRecord:
    """A Sharpe ratio and the shape of the returns that gave it.

    Attributes
    ----------
    ratio : float
        Mean over standard deviation of the returns of a period.
    periods : float
        Independent periods that the record is worth; fewer than there are if returns depend on one
        another.
    skewness, kurtosis : float
        Of the returns; a normal law has 0 and 3.
    """

    ratio: float
    periods: float
    skewness: float = 0.0
    kurtosis: float = 3.0

    def __post_init__(self) -> None:
        values = (self.ratio, self.periods, self.skewness, self.kurtosis)
        if not (np.isfinite(values).all() and self.periods > 1.0 and self.variance > 0.0):
            raise InputError(
                "no Sharpe ratio can be judged by this record",
                expected="finite values, more than one period, and moments that leave a variance",
                got=repr(values),
            )

    @classmethod
    def of(cls, returns: np.ndarray, *, periods: float | None = None) -> SharpeRecord:
        """The record of returns.

        Parameters
        ----------
        returns : numpy.ndarray, shape (n,)
        periods : float, optional
            As above; n by default.

        Raises
        ------
        DataError
            If returns are too few, not finite, or do not vary.
        """
        values = np.asarray(returns, dtype=np.float64)
        if values.ndim != 1 or len(values) < 4 or not np.isfinite(values).all():
            raise DataError(
                "a Sharpe ratio needs finite returns", expected="at least 4", got=str(values.shape)
            )
        if np.ptp(values) == 0.0:
            raise DataError("returns that do not vary have no Sharpe ratio")
        return cls(
            float(values.mean() / values.std(ddof=1)),
            float(len(values) if periods is None else periods),
            float(skew(values)),
            float(kurtosis(values, fisher=False)),
        )

    @property
    def variance(self) -> float:
        """Of the estimate, times the periods less one (Mertens 2002)."""
        moved = self.skewness * self.ratio
        return 1.0 - moved + 0.25 * (self.kurtosis - 1.0) * self.ratio**2

    def probability_above(self, hurdle: float) -> float:
        """Probabilistic Sharpe ratio: that the true ratio exceeds a hurdle.

        References
        ----------
        Bailey & López de Prado (2012), The Sharpe ratio efficient frontier, Journal of Risk 15(2),
        equation 10.

        Examples
        --------
        >>> round(SharpeRecord(0.0, 250).probability_above(0.0), 3)
        0.5
        """
        away = (self.ratio - hurdle) * np.sqrt(self.periods - 1.0)
        return float(ndtr(away / np.sqrt(self.variance)))

    def least_periods(self, hurdle: float, level: float = 0.95) -> float:
        """Minimum track record: periods from which the ratio would be established above a hurdle.

        Infinite if it does not exceed the hurdle.

        References
        ----------
        As above, equation 13.
        """
        if self.ratio <= hurdle:
            return float("inf")
        return float(1.0 + self.variance * (ndtri(level) / (self.ratio - hurdle)) ** 2)


def expected_maximum(trials: float, deviation: float) -> float:
    """Expected best ratio of trials without skill.

    Parameters
    ----------
    trials : float
        Independent ones, at least 1.
    deviation : float
        Standard deviation of their ratios, per period.

    Raises
    ------
    InputError
        If trials are fewer than one or the deviation is negative.

    References
    ----------
    Bailey & López de Prado (2014), The deflated Sharpe ratio, Journal of Portfolio Management
    40(5), equation 1.

    Examples
    --------
    >>> record = SharpeRecord(2.5 / 250**0.5, 1250, -3.0, 10.0)
    >>> hurdle = expected_maximum(100, (0.5 / 250) ** 0.5)
    >>> round(hurdle, 4), round(record.probability_above(hurdle), 4)
    (0.1132, 0.9004)
    """
    if not (trials >= 1.0 and deviation >= 0.0 and np.isfinite((trials, deviation)).all()):
        raise InputError(
            "the best of trials needs trials",
            expected="at least one, and a finite deviation",
            got=f"{trials}, deviation {deviation}",
        )
    if trials == 1.0:
        return 0.0
    ends = (1.0 - _EULER) * ndtri(1.0 - 1.0 / trials) + _EULER * ndtri(1.0 - 1.0 / (trials * np.e))
    return float(deviation * ends)


@dataclass(frozen=True, eq=False)
class Overfitting:
    """How a search does outside the sample that it chose on.

    Attributes
    ----------
    probability : float
        Share of the splits in which the strategy that was best in one half ranked below the median
        in the other.
    logits : numpy.ndarray, shape (splits,)
        Of the relative rank, ascending in quality; below zero is below the median.
    loss_share : float
        Share of the splits in which it lost money in the other half.
    slope : float
        Of its ratio in the other half on that in the first: below zero, choosing harms.
    promised : float
        Mean ratio per period of the chosen strategies in the halves that chose them.
    delivered : numpy.ndarray, shape (blocks,)
        By block of time: mean over the splits that it judged of the chosen strategy's mean return
        in it, over that strategy's deviation in the judging half. The mean over blocks is the mean
        ratio in the other halves.
    """

    probability: float
    logits: np.ndarray
    loss_share: float
    slope: float
    promised: float
    delivered: np.ndarray

    def kept(self, level: float = 0.9) -> tuple[float, Interval] | None:
        """Share of what was promised that the other halves delivered, with its interval.

        Student's law over the blocks, whose returns are all but independent; what was promised
        counts as known, since it is what a committee is shown. None where nothing above zero was
        promised or the delivery of blocks does not vary.

        Parameters
        ----------
        level : float
            Of the interval.
        """
        count, spread = len(self.delivered), float(self.delivered.std(ddof=1))
        if self.promised <= 0.0 or spread == 0.0:
            return None
        value = float(self.delivered.mean()) / self.promised
        reach = float(stdtrit(count - 1, 0.5 + level / 2.0)) * spread / np.sqrt(count)
        low, high = (value + sign * reach / self.promised for sign in (-1.0, 1.0))
        method = f"Student's law over {count} blocks of time"
        return value, Interval(low=low, high=high, level=level, method=method)


def backtest_overfitting(returns: np.ndarray, blocks: int = 16) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    Rows are cut into blocks of equal length, the first rows that are too many left out. Every half
    of the blocks chooses a strategy, the other half judges it. The relative rank is r / (N + 1).
    Of equally good strategies the first is chosen, and ties rank in the middle.

    Parameters
    ----------
    returns : numpy.ndarray, shape (t, n)
        Of every strategy tried, in the order of time.
    blocks : int
        Even; 16 make 12,870 splits.

    Raises
    ------
    InputError
        If blocks are odd, fewer than two or more than 20.
    DataError
        If there are fewer than two strategies or three rows a block, or returns are not finite.

    References
    ----------
    Bailey, Borwein, López de Prado & Zhu (2017), The probability of backtest overfitting, Journal
    of Computational Finance 20(4), section 2.
    """
    if blocks % 2 or not 2 <= blocks <= 20:
        raise InputError("blocks are cut in halves", expected="2, 4, ... 20", got=str(blocks))
    values = np.asarray(returns, dtype=np.float64)
    length = len(values) // blocks if values.ndim == 2 else 0
    if length < 3 or values.shape[1] < 2 or not np.isfinite(values).all():
        raise DataError(
            "a search cannot be cross-validated",
            expected=f"finite returns of two strategies or more, {3 * blocks} rows or more",
            got=f"shape {values.shape}",
        )
    kept = values[len(values) - length * blocks :].reshape(blocks, length, -1)
    sums = np.stack([kept.sum(axis=1), np.square(kept).sum(axis=1)])
    half = np.zeros((comb(blocks, blocks // 2), blocks))
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    np.put_along_axis(half, chosen, 1.0, axis=1)
    rows = length * blocks // 2
    inside = _ratios(half @ sums[0], half @ sums[1], rows)
    # Splits are in the order of combinations, whose complements come in reverse.
    outside = inside[::-1]
    best = inside.argmax(axis=1)
    picked = outside[np.arange(len(half)), best]
    below = (outside < picked[:, None]).sum(axis=1)
    equal = (outside == picked[:, None]).sum(axis=1)
    rank = (below + 0.5 * (equal + 1.0)) / (values.shape[1] + 1.0)
    logits = np.log(rank / (1.0 - rank))
    first = inside[np.arange(len(half)), best]
    spread = float(np.var(first))
    covered = float(np.mean((first - first.mean()) * (picked - picked.mean())))
    return Overfitting(
        probability=float(np.mean(logits < 0.0) + 0.5 * np.mean(logits == 0.0)),
        logits=logits,
        loss_share=float(np.mean(picked < 0.0)),
        slope=covered / spread if spread > 0.0 else 0.0,
        promised=float(first.mean()),
        delivered=_delivered(kept, half, best),
    )


def _delivered(kept: np.ndarray, half: np.ndarray, best: np.ndarray) -> np.ndarray:
    """What each block added to the ratios of the strategies that other blocks had chosen.

    Parameters
    ----------
    kept : numpy.ndarray, shape (blocks, length, n)
    half : numpy.ndarray, shape (splits, blocks)
        1 where a block chooses.
    best : numpy.ndarray, shape (splits,)
    """
    judging = 1.0 - half
    rows = kept.shape[1] * kept.shape[0] // 2
    first, second = (judging @ part for part in (kept.sum(axis=1), np.square(kept).sum(axis=1)))
    at = np.arange(len(best))
    mean = first[at, best] / rows
    variance = np.maximum(second[at, best] / rows - mean**2, 0.0) * rows / (rows - 1.0)
    still = variance <= 1e-30
    scale = np.where(still, 0.0, 1.0 / np.sqrt(np.where(still, 1.0, variance)))
    of_block = kept.mean(axis=1)[:, best].T * scale[:, None] * judging
    return np.asarray(of_block.sum(axis=0) / judging.sum(axis=0))


def _ratios(first: np.ndarray, second: np.ndarray, rows: int) -> np.ndarray:
    """Mean over deviation from sums and sums of squares; 0 where nothing varies."""
    mean = first / rows
    variance = np.maximum(second / rows - mean**2, 0.0) * rows / (rows - 1.0)
    still = variance <= 1e-30
    return np.where(still, 0.0, mean / np.sqrt(np.where(still, 1.0, variance)))
