"""Hidden Markov models with Gaussian states: fitted by expectation-maximisation, used by filtering.

The probability of a state at a time comes from the rows up to it. Smoothed probabilities, which
read the rows after it, exist inside the fit alone.

References
----------
Baum, Petrie, Soules & Weiss (1970), Annals of Mathematical Statistics 41(1); Hamilton (1989),
Econometrica 57(2); Rabiner (1989), Proceedings of the IEEE 77(2), for the scaled recursions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream

_LEAST_SHARE = 1e-3
"""Floor of a variance, as a share of that of all rows: a state must not shrink onto one row."""


@dataclass(frozen=True)
class MarkovRule:
    """How a hidden Markov model is fitted.

    Attributes
    ----------
    states : int
    starts : int
        Initialisations, of which the likeliest fit is kept.
    steps : int
        Of expectation and maximisation, at most.
    tolerance : float
        Smallest gain in log likelihood per row that goes on.

    Raises
    ------
    InputError
        If one is impossible.
    """

    states: int = 2
    starts: int = 5
    steps: int = 300
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        if not (self.states >= 2 and self.starts >= 1 and self.steps >= 1 and self.tolerance >= 0):
            raise InputError(
                "impossible hidden Markov model",
                expected="two states or more, a start and a step or more, a tolerance >= 0",
                got=repr(self),
            )


@dataclass(frozen=True, eq=False)
class HiddenMarkov:
    """A fitted model whose states are in the order of the first column's variance.

    Attributes
    ----------
    mean, variance : numpy.ndarray, shape (k, f)
        Columns are independent within a state.
    transition : numpy.ndarray, shape (k, k)
        Rows are the state before.
    start : numpy.ndarray, shape (k,)
    log_likelihood : float
        Of the rows that it was fitted to.
    """

    mean: np.ndarray
    variance: np.ndarray
    transition: np.ndarray
    start: np.ndarray
    log_likelihood: float

    @classmethod
    def fit(cls, rows: np.ndarray, rule: MarkovRule, *, seed: int) -> HiddenMarkov:
        """The likeliest of several fits.

        Rows are standardised inside, so that the scale of returns plays no part.

        Parameters
        ----------
        rows : numpy.ndarray, shape (t, f)
        rule : MarkovRule
        seed : int
            Of the starts.

        Raises
        ------
        DataError
            If rows are not finite, fewer than ten a state, or a column does not vary.
        """
        values = _checked(rows, None)
        centre, scale = values.mean(axis=0), values.std(axis=0)
        if len(values) < 10 * rule.states or (scale <= 0.0).any():
            raise DataError(
                "a hidden Markov model cannot be fitted",
                expected=f"at least {10 * rule.states} rows, columns that vary",
                got=f"{len(values)} rows, deviations {scale}",
            )
        scaled = (values - centre) / scale
        rng = random_stream(seed, "hidden_markov/starts")
        fits = [_fitted(scaled, rule, rng) for _ in range(rule.starts)]
        mean, variance, transition, start, likelihood = max(fits, key=lambda fit: fit[4])
        order = np.argsort(variance[:, 0], kind="stable")
        return cls(
            mean=mean[order] * scale + centre,
            variance=variance[order] * scale**2,
            transition=transition[np.ix_(order, order)],
            start=start[order],
            log_likelihood=float(likelihood - len(values) * np.log(scale).sum()),
        )

    def filter(self, rows: np.ndarray) -> np.ndarray:
        """Probability of each state given the rows up to each, shape (t, k)."""
        density = _log_densities(_checked(rows, self.mean.shape[1]), self.mean, self.variance)
        return _forward(density, self.transition, self.start)[0]

    def score(self, rows: np.ndarray) -> float:
        """Log likelihood of rows."""
        density = _log_densities(_checked(rows, self.mean.shape[1]), self.mean, self.variance)
        return float(_forward(density, self.transition, self.start)[1])


def _checked(rows: np.ndarray, width: int | None) -> np.ndarray:
    values = np.ascontiguousarray(rows, dtype=np.float64)
    fits = values.ndim == 2 and len(values) > 0 and width in (None, values.shape[1])
    if not fits or not np.isfinite(values).all():
        raise DataError(
            "a hidden Markov model needs finite rows",
            expected=f"shape (t, {'f' if width is None else width})",
            got=str(values.shape),
        )
    return values


def _fitted(
    rows: np.ndarray, rule: MarkovRule, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """One start: states of different variances that stay, then the steps."""
    kinds, width = rule.states, rows.shape[1]
    spread = np.exp(np.sort(rng.uniform(-1.5, 1.5, kinds)))
    mean = 0.1 * rng.standard_normal((kinds, width))
    variance = np.repeat(spread[:, None], width, axis=1)
    stay = rng.uniform(0.8, 0.99)
    transition = np.full((kinds, kinds), (1.0 - stay) / (kinds - 1))
    np.fill_diagonal(transition, stay)
    start = np.full(kinds, 1.0 / kinds)
    found: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float] = _maximise(
        rows, mean, variance, transition, start, rule.steps, rule.tolerance
    )
    return found


@njit(cache=True, error_model="numpy")
def _log_densities(rows: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    density = np.empty((len(rows), len(mean)))
    for k in range(len(mean)):
        constant = 0.0
        for f in range(rows.shape[1]):
            constant += np.log(2.0 * np.pi * variance[k, f])
        for t in range(len(rows)):
            total = constant
            for f in range(rows.shape[1]):
                away = rows[t, f] - mean[k, f]
                total += away * away / variance[k, f]
            density[t, k] = -0.5 * total
    return density


@njit(cache=True, error_model="numpy")
def _forward(
    density: np.ndarray, transition: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float]:
    """Filtered probabilities, shape (t, k), and the log likelihood."""
    count, kinds = density.shape
    known = np.empty((count, kinds))
    likelihood = 0.0
    for t in range(count):
        top = density[t].max()
        total = 0.0
        for k in range(kinds):
            ahead = 0.0
            if t == 0:
                ahead = start[k]
            else:
                for j in range(kinds):
                    ahead += known[t - 1, j] * transition[j, k]
            known[t, k] = ahead * np.exp(density[t, k] - top)
            total += known[t, k]
        known[t] /= total
        likelihood += np.log(total) + top
    return known, likelihood


@njit(cache=True, error_model="numpy")
def _smoothed(known: np.ndarray, transition: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities given all rows, shape (t, k), and expected changes, shape (k, k).

    Kim (1994), Journal of Econometrics 60, equation 2.20.
    """
    count, kinds = known.shape
    whole = np.empty_like(known)
    whole[-1] = known[-1]
    changes = np.zeros((kinds, kinds))
    for t in range(count - 2, -1, -1):
        whole[t] = 0.0
        for k in range(kinds):
            ahead = 0.0
            for j in range(kinds):
                ahead += known[t, j] * transition[j, k]
            if ahead <= 0.0:
                continue
            for j in range(kinds):
                both = known[t, j] * transition[j, k] * whole[t + 1, k] / ahead
                whole[t, j] += both
                changes[j, k] += both
    return whole, changes


@njit(cache=True, error_model="numpy")
def _maximise(
    rows: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    transition: np.ndarray,
    start: np.ndarray,
    steps: int,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Expectation and maximisation in turn, in place, until nothing is gained."""
    count, width = rows.shape
    kinds = len(mean)
    before = -np.inf
    likelihood = before
    for _ in range(steps):
        known, likelihood = _forward(_log_densities(rows, mean, variance), transition, start)
        if likelihood - before <= tolerance * count:
            break
        before = likelihood
        whole, changes = _smoothed(known, transition)
        start[:] = whole[0]
        for k in range(kinds):
            transition[k] = changes[k] / max(changes[k].sum(), 1e-300)
            held = max(whole[:, k].sum(), 1e-300)
            for f in range(width):
                first = 0.0
                for t in range(count):
                    first += whole[t, k] * rows[t, f]
                mean[k, f] = first / held
                second = 0.0
                for t in range(count):
                    away = rows[t, f] - mean[k, f]
                    second += whole[t, k] * away * away
                variance[k, f] = max(second / held, _LEAST_SHARE)
    return mean, variance, transition, start, likelihood
