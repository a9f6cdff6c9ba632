"""Statistical jump models: clusters of rows in time that pay for every change.

    minimise over s and theta   sum_t ||x_t - theta_{s_t}||^2 / 2 + lambda sum_t [s_t != s_{t-1}]

The penalty is what keeps states; without it these are K-Means. States at a time come from the rows
up to it: the cheapest path that ends there.

References
----------
Bemporad, Breschi, Piga & Boyd (2018), Fitting jump models, Automatica 96; Nystrup, Lindström &
Madsen (2020), Learning hidden Markov models with persistent states by penalizing jumps, Expert
Systems with Applications 150.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream

_MOST_STEPS = 1000


@dataclass(frozen=True)
class JumpRule:
    """How a jump model is fitted.

    Attributes
    ----------
    states : int
    penalty : float
        Lambda: of a change, in units of half a squared distance.
    starts : int
        Initialisations, of which the cheapest fit is kept.
    tolerance : float
        Smallest gain that goes on.

    Raises
    ------
    InputError
        If one is impossible.
    """

    states: int = 2
    penalty: float = 50.0
    starts: int = 20
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        sound = self.states >= 2 and self.starts >= 1 and self.tolerance >= 0.0
        if not (sound and 0.0 <= self.penalty < np.inf):
            raise InputError(
                "impossible jump model",
                expected="two states or more, a start or more, a penalty >= 0 and finite",
                got=repr(self),
            )


@dataclass(frozen=True, eq=False)
class JumpModel:
    """Fitted centres, in the order of the volatility of the returns in their rows.

    Attributes
    ----------
    centers : numpy.ndarray, shape (k, f)
    penalty : float
    cost : float
        Value of the objective on the rows that it was fitted to.
    volatility : numpy.ndarray, shape (k,)
        Of those rows' returns, per bar, rising.
    """

    centers: np.ndarray
    penalty: float
    cost: float
    volatility: np.ndarray

    @classmethod
    def fit(
        cls, rows: np.ndarray, log_returns: np.ndarray, rule: JumpRule, *, seed: int
    ) -> JumpModel:
        """Centres by coordinate descent from several starts of K-Means++.

        Parameters
        ----------
        rows : numpy.ndarray, shape (t, f)
            Features of like scales.
        log_returns : numpy.ndarray, shape (t,)
            They order the states and do nothing else.
        rule : JumpRule
        seed : int
            Of the starts.

        Raises
        ------
        DataError
            If rows are not finite, fewer than ten a state or do not vary, returns do not fit, or a
            state is left without a row in every start.
        """
        values = _checked(rows)
        returns = np.asarray(log_returns, dtype=np.float64)
        if len(values) < 10 * rule.states or returns.shape != (len(values),):
            raise DataError(
                "a jump model cannot be fitted",
                expected=f"at least {10 * rule.states} rows, and a return for each",
                got=f"{len(values)} rows, returns of shape {returns.shape}",
            )
        rng = random_stream(seed, "jump_model/starts")
        starts = np.stack([_plus_plus(values, rule.states, rng) for _ in range(rule.starts)])
        centers, states, cost = _descend(values, starts, rule.penalty, rule.tolerance, _MOST_STEPS)
        held = np.bincount(states, minlength=rule.states)
        if not np.isfinite(cost) or held.min() == 0:
            raise DataError(
                "a state of a jump model is left without a row",
                got=", ".join(map(str, held)),
                remedy="lower the penalty, ask for fewer states, or train on a longer history",
            )
        squares = np.bincount(states, weights=returns**2, minlength=rule.states) / held
        order = np.argsort(squares, kind="stable")
        return cls(centers[order], rule.penalty, float(cost), np.sqrt(squares[order]))

    def states(self, rows: np.ndarray) -> np.ndarray:
        """The cheapest path of all rows, shape (t,), int: it looks back from the end.

        For history that is over. What is said at a time is :meth:`filter`.
        """
        return _cheapest(_costs(_checked(rows, self.centers.shape[1]), self.centers), self.penalty)[
            0
        ]

    def filter(self, rows: np.ndarray) -> np.ndarray:
        """Cost of the cheapest path that ends in each state at each row, shape (t, k).

        Less the least of the row; the state at a time is where it is 0. At most the penalty: from
        any other state one jump leads there. Row t reads rows up to t.
        """
        costs = _costs(_checked(rows, self.centers.shape[1]), self.centers)
        return _forward(costs, self.penalty)

    def stress(self, rows: np.ndarray) -> np.ndarray:
        """How stressed each row is, shape (t,), in [0, 1], from the rows up to it.

        One half plus half of the difference of the costs of the calmest and of the cheapest other
        state, over the penalty: 0.5 where both cost the same, 1 where leaving pays at once.
        """
        if self.penalty == 0.0:
            raise InputError("without a penalty there is no measure of stress")
        costs = self.filter(rows)
        away: np.ndarray = costs[:, 0] - costs[:, 1:].min(axis=1)
        return np.clip(0.5 + 0.5 * away / self.penalty, 0.0, 1.0)


def _checked(rows: np.ndarray, width: int | None = None) -> np.ndarray:
    values = np.ascontiguousarray(rows, dtype=np.float64)
    fits = values.ndim == 2 and len(values) > 0 and width in (None, values.shape[1])
    if not fits or not np.isfinite(values).all():
        raise DataError(
            "a jump model needs finite rows",
            expected=f"shape (t, {'f' if width is None else width})",
            got=str(values.shape),
        )
    return values


def _plus_plus(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Centres drawn among the rows, each by its squared distance from those before (Arthur and
    Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(rows)))]
    nearest = np.square(rows - rows[chosen[0]]).sum(axis=1)
    for _ in range(count - 1):
        total = nearest.sum()
        if total <= 0.0:
            raise DataError("rows that do not vary have no states", got=f"{len(rows)} rows")
        chosen.append(int(np.searchsorted(np.cumsum(nearest), rng.random() * total)))
        nearest = np.minimum(nearest, np.square(rows - rows[chosen[-1]]).sum(axis=1))
    return rows[chosen]


@njit(cache=True, error_model="numpy")
def _costs(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    costs = np.empty((len(rows), len(centers)))
    for t in range(len(rows)):
        for k in range(len(centers)):
            total = 0.0
            for f in range(rows.shape[1]):
                away = rows[t, f] - centers[k, f]
                total += away * away
            costs[t, k] = 0.5 * total
    return costs


@njit(cache=True, error_model="numpy")
def _forward(costs: np.ndarray, penalty: float) -> np.ndarray:
    """Cheapest cost of ending in each state, less the least: nothing grows with time."""
    ahead = np.empty_like(costs)
    for t in range(len(costs)):
        least = np.inf
        for k in range(costs.shape[1]):
            before = 0.0 if t == 0 else min(ahead[t - 1, k], penalty)
            ahead[t, k] = costs[t, k] + before
            least = min(least, ahead[t, k])
        ahead[t] -= least
    return ahead


@njit(cache=True, error_model="numpy")
def _cheapest(costs: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """The cheapest path and its cost (Viterbi 1967)."""
    count, kinds = costs.shape
    stays = np.empty((count, kinds), np.bool_)
    best = np.empty(count, np.int64)
    ahead, total = costs[0].copy(), 0.0
    for t in range(1, count):
        best[t - 1] = np.argmin(ahead)
        least = ahead[best[t - 1]]
        total += least
        for k in range(kinds):
            stays[t, k] = ahead[k] - least <= penalty
            ahead[k] = costs[t, k] + (ahead[k] - least if stays[t, k] else penalty)
    states = np.empty(count, np.int64)
    states[-1] = np.argmin(ahead)
    total += ahead[states[-1]]
    for t in range(count - 1, 0, -1):
        states[t - 1] = states[t] if stays[t, states[t]] else best[t - 1]
    return states, total


@njit(cache=True, error_model="numpy")
def _descend(
    rows: np.ndarray, starts: np.ndarray, penalty: float, tolerance: float, most: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """The cheapest of all fits: paths and centres in turn until nothing is gained."""
    best_centers, best_cost = starts[0].copy(), np.inf
    best_states = np.zeros(len(rows), np.int64)
    for start in range(len(starts)):
        centers, cost = starts[start].copy(), np.inf
        states = np.full(len(rows), -1)
        for _ in range(most):
            found, now = _cheapest(_costs(rows, centers), penalty)
            same = True
            for t in range(len(rows)):
                if found[t] != states[t]:
                    same = False
                    break
            gained = cost - now
            states, cost = found, now
            if same or gained <= tolerance:
                break
            _recentre(rows, states, centers)
        if cost < best_cost:
            best_centers, best_states, best_cost = centers, states, cost
    return best_centers, best_states, best_cost


@njit(cache=True, error_model="numpy")
def _recentre(rows: np.ndarray, states: np.ndarray, centers: np.ndarray) -> None:
    """Means of the rows of each state, in place; a state without rows stays where it is."""
    sums = np.zeros_like(centers)
    held = np.zeros(len(centers))
    for t in range(len(rows)):
        held[states[t]] += 1.0
        for f in range(rows.shape[1]):
            sums[states[t], f] += rows[t, f]
    for k in range(len(centers)):
        if held[k] > 0.0:
            centers[k] = sums[k] / held[k]
