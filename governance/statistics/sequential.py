"""A test that may be looked at after every batch for ever: its false alarms stay below one rate.

Time is cut into batches of neighbouring rows. Under no change a new batch looks like any of those
before it, so the rank of its strangeness among them is uniform and tells nothing of the next one.
Each rank is a bet; the capital of whoever bets on change is a martingale while there is none, and
reaches 1 / a at any time with probability a at most (Ville).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from finchaos.core.errors import InputError

LEAST_BATCHES = 20
"""Batches of the reference below which ranks are too coarse to bet on."""


@dataclass(frozen=True, eq=False)
class Capital:
    """What betting on change has made after each new batch, from 1.

    Attributes
    ----------
    p_values : numpy.ndarray, shape (b,)
        Of each new batch among those before.
    capital : numpy.ndarray, shape (b,)
    """

    p_values: np.ndarray
    capital: np.ndarray

    @property
    def highest(self) -> float:
        """The most that it ever was; 1 before the first batch."""
        return float(self.capital.max(initial=1.0))


def bet_on_batches(
    reference: np.ndarray, new: np.ndarray, rows: int, rng: np.random.Generator
) -> Capital:
    """Capital after each complete batch of new rows.

    Parameters
    ----------
    reference : numpy.ndarray, shape (n, s), finite
        Its latest rows are cut into batches; what is left over at its beginning is not used.
    new : numpy.ndarray, shape (m, s), finite
        The rows right after; an incomplete last batch waits.
    rows : int
        In a batch; long enough that batches hardly depend on each other.
    rng : numpy.random.Generator
        Breaks ties among equally strange batches.

    Raises
    ------
    InputError
        If the reference has fewer than :data:`LEAST_BATCHES` batches, or the panels do not fit.

    References
    ----------
    Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World (2005), chapter 7; Ville,
    Étude critique de la notion de collectif (1939).
    """
    old, fresh = (np.asarray(panel, dtype=np.float64) for panel in (reference, new))
    batches = len(old) // max(rows, 1)
    fits = old.ndim == fresh.ndim == 2 and old.shape[1:] == fresh.shape[1:]
    if rows < 2 or batches < LEAST_BATCHES or not fits:
        raise InputError(
            "there is nothing to bet on",
            expected=f"batches of two rows or more and {LEAST_BATCHES} of them in the reference, "
            "of the same series as the new rows",
            got=f"{rows} rows a batch, panels of shapes {old.shape} and {fresh.shape}",
        )
    start, count = len(old) - batches * rows, len(fresh) // rows
    joined = np.concatenate([old[start:], fresh[: count * rows]])
    ties = rng.random(count)
    p_values = np.empty(count)
    for k in range(count):
        strange = _strangeness(joined[: (batches + k + 1) * rows], rows)
        last = strange[-1]
        equal = (strange == last).sum()
        p_values[k] = ((strange > last).sum() + ties[k] * equal) / len(strange)
    return Capital(p_values, capital_of(p_values))


def capital_of(p_values: np.ndarray) -> np.ndarray:
    """Capital of bets on a change at a time not known, from p-values, shape (b,).

    Of the money, 1 / (k (k + 1)) is first staked at batch k. A stake is multiplied by
    (1 - p + p ln p) / (p ln^2 p), the mean over a of the fair bets a p^(a - 1).

    References
    ----------
    Vovk & Wang, E-values: calibration, combination and applications, Annals of Statistics 49
    (2021), (2) for the bet; Shafer, Shen, Vereshchagin & Vovk, Test martingales, Bayes factors
    and p-values, Statistical Science 26 (2011).

    Examples
    --------
    >>> bool(capital_of(np.full(3, 0.01))[-1] > 20.0)
    True
    """
    p = np.clip(np.asarray(p_values, dtype=np.float64), 1e-12, 1.0)
    log = np.log(np.minimum(p, 1.0 - 1e-6))
    gains = np.where(p > 1.0 - 1e-6, 0.5, (1.0 - p + p * log) / (p * log**2))
    found, staked = np.empty(len(p)), 0.0
    for k, gain in enumerate(gains, start=1):
        staked = (staked + 1.0 / (k * (k + 1))) * gain
        found[k - 1] = staked + 1.0 / (k + 1)
    return found


def _strangeness(panel: np.ndarray, rows: int) -> np.ndarray:
    """How far each batch is from all of them, shape (batches,): the order of batches is not used.

    Squared distance in level and in size of the normal scores, each in standard deviations over
    the batches.
    """
    scores = ndtri((rankdata(panel, axis=0) - 0.5) / len(panel))
    cut = scores.reshape(-1, rows, panel.shape[1])
    seen = np.concatenate([cut.mean(axis=1), np.abs(cut).mean(axis=1)], axis=1)
    seen = seen[:, np.ptp(seen, axis=0) > 0.0]
    away = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    # Rounded, so that the order of summation decides no rank.
    return np.round((away**2).sum(axis=1), 9)
