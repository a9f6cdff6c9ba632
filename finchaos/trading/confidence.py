"""How far a regime can be believed: probabilities from distances, calibrated on held-out rows.

Probabilities fall with the squared distance to the centre of a regime,

    p_k = exp(-d_k^2 / (2 T)) / sum_j exp(-d_j^2 / (2 T)),

which is the posterior of Gaussian balls of variance T around centres that are equally likely. The
distance meant is the Euclidean one among whitened latents
(:meth:`finchaos.regimes.clustering.RegimeClusters.squared_center_distances`): raw distances grow
with the number of coordinates, and their softmax saturates. T is fitted by maximum likelihood on
the last part of the training window, on rows that the centres were not fitted on (temperature
scaling; Guo, Pleiss, Sun and Weinberger 2017, section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, xlogy

from finchaos.core.errors import DataError, InputError

_SPAN = 1e4
"""The temperature is looked for within this factor of the typical difference of distances."""
_COLLAPSED = 1e-9


def calibration_rows(count: int, share: float = 0.2, gap: int = 0) -> tuple[slice, slice]:
    """The rows of a training window to fit on, and the last ones, to calibrate on.

    Parameters
    ----------
    count : int
        Rows of the window.
    share : float
        Of them, held out; in (0, 1).
    gap : int
        Rows between the two that neither has, as many as labels look ahead.

    Raises
    ------
    InputError
        If share or gap are impossible or leave either part without a row.

    Examples
    --------
    >>> calibration_rows(100, 0.2, gap=5)
    (slice(0, 75, None), slice(80, 100, None))
    """
    if not (0.0 < share < 1.0 and gap >= 0):
        raise InputError(
            "impossible calibration part",
            expected="a share in (0, 1), a gap >= 0",
            got=f"share {share}, gap {gap}",
        )
    first = count - math.ceil(share * count)
    if first >= count or first - gap < 1:
        raise InputError(
            "too few rows to hold any out for calibration",
            expected="at least one row to fit on and one to calibrate on",
            got=f"{count} rows, share {share}, gap {gap}",
        )
    return slice(0, first - gap), slice(first, count)


@dataclass(frozen=True)
class SoftminConfidence:
    """Probabilities of regimes from squared distances to their centres.

    Attributes
    ----------
    temperature : float
        T, in units of the squared distance.

    Raises
    ------
    InputError
        If it is not positive and finite.

    Examples
    --------
    >>> SoftminConfidence(2.0).probabilities(np.array([[0.0, 4.0 * np.log(3.0)]])).round(3)
    array([[0.75, 0.25]])
    """

    temperature: float

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < math.inf:
            raise InputError(
                "impossible temperature", expected="> 0 and finite", got=repr(self.temperature)
            )

    @classmethod
    def fit(cls, squared_distances: np.ndarray, labels: np.ndarray) -> SoftminConfidence:
        """The temperature under which the regimes that came are likeliest.

        Parameters
        ----------
        squared_distances : numpy.ndarray, shape (t, k)
            Of calibration rows, which the centres were not fitted on.
        labels : numpy.ndarray, shape (t,), int
            The regime of each row, by something other than the nearest centre: a regime known
            from simulation, or what the bars after it showed.

        Raises
        ------
        DataError
            If distances are not finite, two centres have collapsed into one, labels are of one
            regime only, or no temperature is likelier than all others.
        """
        squares = _checked(squared_distances)
        truth = _labels(labels, *squares.shape)
        for one in range(squares.shape[1]):
            for other in range(one):
                apart = np.abs(squares[:, one] - squares[:, other]).max()
                if apart <= _COLLAPSED * max(squares.max(), 1e-300):
                    raise DataError(
                        "two regimes have one centre, so that distances cannot tell them apart",
                        got=f"regimes {other} and {one}",
                        remedy="ask for fewer regimes or train on a longer history",
                    )
        if len(np.unique(truth)) < 2:
            raise DataError(
                "the calibration part holds one regime only",
                expected="rows of at least two regimes",
                got=f"regime {truth[0]} in all {len(truth)} rows",
                remedy="hold out a larger share, or train on a longer history",
            )
        return cls(_likeliest(squares, truth))

    def probabilities(self, squared_distances: np.ndarray) -> np.ndarray:
        """Probability of each regime, shape (t, k); rows sum to one.

        Each row is computed for itself: one at a time gives the bits of all at once.

        Raises
        ------
        DataError
            If the distances are not finite, negative, or not of two regimes or more.
        """
        scores = _checked(squared_distances) / (-2.0 * self.temperature)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / _row_sums(shares)[:, None]


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """1 - H(p) / ln k, shape (t,): 0 if all regimes are equally likely, 1 if one is certain.

    H is Shannon's entropy in nats. It says how decided the probabilities are, and is worth as much
    as they are calibrated.

    Parameters
    ----------
    probabilities : numpy.ndarray, shape (t, k)

    Raises
    ------
    DataError
        If rows are no probabilities of two regimes or more.

    Examples
    --------
    >>> confidence(np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])).round(6)
    array([0.270153, 1.      ])
    """
    shares = _probabilities(probabilities)
    entropy = -_row_sums(xlogy(shares, shares))
    return np.clip(1.0 - entropy / math.log(shares.shape[1]), 0.0, 1.0)


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over rows of sum_k (p_k - [k happened])^2, in [0, 2] (Brier 1950, equation 2).

    For two regimes it is twice the score of the probability of one of them.

    Parameters
    ----------
    probabilities : numpy.ndarray, shape (t, k)
    labels : numpy.ndarray, shape (t,), int

    Raises
    ------
    DataError
        If rows are no probabilities, or labels do not fit.
    """
    shares = _probabilities(probabilities)
    happened = np.eye(shares.shape[1])[_labels(labels, *shares.shape)]
    return float(np.square(shares - happened).sum(axis=1).mean())


@dataclass(frozen=True, eq=False)
class Reliability:
    """What was said and what came, by bins of equally many rows.

    Attributes
    ----------
    said : numpy.ndarray, shape (b,)
        Mean probability in each bin that holds a row, rising.
    came : numpy.ndarray, shape (b,)
        Share of its rows in which the event came.
    rows : numpy.ndarray, shape (b,), int
    """

    said: np.ndarray
    came: np.ndarray
    rows: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """Mean over rows of abs(said - came) of their bin (Naeini, Cooper, Hauskrecht 2015)."""
        return float(self.rows @ np.abs(self.said - self.came) / self.rows.sum())


def reliability(probability: np.ndarray, outcome: np.ndarray, bins: int = 10) -> Reliability:
    """The reliability table of one event, such as calm.

    Edges of the bins are quantiles of ``probability``. Equal probabilities are never torn apart,
    so that bins may hold different numbers of rows, and fewer than ``bins`` may hold any.

    Parameters
    ----------
    probability : numpy.ndarray, shape (t,)
    outcome : numpy.ndarray, shape (t,), bool
    bins : int

    Raises
    ------
    InputError
        If ``bins`` is below 1.
    DataError
        If a probability lies outside [0, 1], outcomes are neither 0 nor 1, or there are fewer rows
        than bins.
    """
    said, came = np.asarray(probability, dtype=np.float64), np.asarray(outcome)
    if bins < 1:
        raise InputError("a reliability table needs bins", expected=">= 1", got=str(bins))
    sound = said.ndim == 1 and said.shape == came.shape and bool(np.isin(came, (0, 1)).all())
    if not (sound and len(said) >= bins and bool(((said >= 0.0) & (said <= 1.0)).all())):
        raise DataError(
            "no reliability table can be made",
            expected=f"at least {bins} probabilities in [0, 1] and as many outcomes of 0 or 1",
            got=f"shapes {said.shape} and {came.shape}",
        )
    edges = np.quantile(said, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    place = np.searchsorted(edges, said)
    rows = np.bincount(place, minlength=bins)
    held = rows > 0
    sums = (np.bincount(place, weights=column, minlength=bins) for column in (said, came))
    means = [column[held] / rows[held] for column in sums]
    return Reliability(means[0], means[1], rows[held])


def _likeliest(squares: np.ndarray, truth: np.ndarray) -> float:
    """T by maximum likelihood; the log loss is convex in 1 / T, so that it has one minimum."""
    own = squares[np.arange(len(truth)), truth]
    typical = float(np.ptp(squares, axis=1).mean())

    def loss(log_temperature: float) -> float:
        twice = 2.0 * math.exp(log_temperature)
        return float(np.mean(own / twice + logsumexp(-squares / twice, axis=1)))

    middle, reach = math.log(typical), math.log(_SPAN)
    low, high = middle - reach, middle + reach
    # Without an error the loss falls down to T = 0, and without any skill up to T = infinity.
    cold, hot = bool((own <= squares.min(axis=1)).all()), bool(own.mean() >= squares.mean())
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    if cold or hot or not found.success or not low + 1e-3 < found.x < high - 1e-3:
        raise DataError(
            "no temperature is likelier than all others",
            expected="distances that say something of the regimes, and not everything",
            got="every row belongs to its nearest centre"
            if cold
            else "distances that say next to nothing of the regimes",
            remedy="calibrate on more rows, with labels that do not come from the distances",
        )
    return math.exp(found.x)


def _row_sums(values: np.ndarray) -> np.ndarray:
    """Sums of rows, column by column, so that a row's bits do not depend on the others."""
    total: np.ndarray = values[:, 0].copy()
    for column in range(1, values.shape[1]):
        total += values[:, column]
    return total


def _checked(squared_distances: np.ndarray) -> np.ndarray:
    squares = np.asarray(squared_distances, dtype=np.float64)
    shaped = squares.ndim == 2 and squares.shape[1] >= 2
    if not shaped or not np.isfinite(squares).all() or (squares < 0.0).any():
        raise DataError(
            "squared distances to regimes cannot be used",
            expected="shape (t, k) with k >= 2, finite, >= 0",
            got=f"shape {squares.shape}"
            + (f", {int(np.sum(~np.isfinite(squares)))} not finite" if shaped else ""),
        )
    return squares


def _probabilities(probabilities: np.ndarray) -> np.ndarray:
    shares = np.asarray(probabilities, dtype=np.float64)
    sound = shares.ndim == 2 and shares.shape[1] >= 2
    if not (sound and bool((shares >= 0.0).all()) and np.allclose(shares.sum(axis=1), 1.0)):
        raise DataError(
            "these are no probabilities of regimes",
            expected="shape (t, k) with k >= 2, none negative, rows that sum to 1",
            got=f"shape {shares.shape}",
        )
    return shares


def _labels(labels: np.ndarray, rows: int, regimes: int) -> np.ndarray:
    truth = np.asarray(labels)
    shaped = truth.shape == (rows,) and rows > 0 and truth.dtype.kind in "iu"
    if not shaped or truth.min() < 0 or truth.max() >= regimes:
        raise DataError(
            "the labels do not fit",
            expected=f"{max(rows, 1)} whole numbers from 0 to {regimes - 1}",
            got=f"shape {truth.shape} of {truth.dtype}",
        )
    return truth
