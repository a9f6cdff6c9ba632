"""How far a label says what the next one will be, beyond what its frequency says."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from finchaos.core.errors import InputError
from governance.record import Interval


def persistence(state: np.ndarray) -> float:
    """Cohen's kappa of every label with the next: 1 never changes, 0 as independent draws.

    Negative where labels alternate. NaN where there is one label alone: whatever it says of the
    next, its frequency says as well.

    Parameters
    ----------
    state : numpy.ndarray, shape (t,)
        Labels in the order of time, of any number of kinds.

    Raises
    ------
    InputError
        If there are fewer than two labels.

    References
    ----------
    Cohen (1960), A coefficient of agreement for nominal scales, Educational and Psychological
    Measurement 20(1).

    Examples
    --------
    >>> persistence(np.array([0, 1, 0, 1, 0]))
    -1.0
    """
    values = np.asarray(state)
    if values.ndim != 1 or len(values) < 2:
        raise InputError(
            "persistence needs labels that follow each other",
            expected="at least two in one dimension",
            got=f"shape {values.shape}",
        )
    names, codes = np.unique(values, return_inverse=True)
    before, after = (np.bincount(part, minlength=len(names)) for part in (codes[:-1], codes[1:]))
    pairs = len(codes) - 1
    by_chance = float(before @ after) / pairs**2
    if by_chance == 1.0:
        return float("nan")
    observed = float(np.mean(codes[:-1] == codes[1:]))
    return (observed - by_chance) / (1.0 - by_chance)


def persistence_interval(value: float, pairs: int, level: float = 0.95) -> Interval:
    """Interval of a persistence by Fisher's transformation.

    Of two labels persistence is all but the autocorrelation at one bar, whose transform has, for
    independent draws as for a Markov chain, a variance near one over the pairs. A value of 1 or -1
    is drawn in by one over the pairs, so that it has a transform.

    Parameters
    ----------
    value : float
        In [-1, 1].
    pairs : int
        Labels that have a next one, more than three.
    level : float

    Raises
    ------
    InputError
        If the value is impossible or pairs are too few.

    References
    ----------
    Fisher (1921), On the probable error of a coefficient of correlation, Metron 1.
    """
    if pairs <= 3 or not abs(value) <= 1.0:
        raise InputError(
            "no interval of this persistence",
            expected="a value in [-1, 1] and more than three pairs",
            got=f"{value} of {pairs} pairs",
        )
    inside = float(np.clip(value, -1.0 + 1.0 / pairs, 1.0 - 1.0 / pairs))
    reach = float(ndtri(0.5 + level / 2.0)) / np.sqrt(pairs - 3.0)
    low, high = np.tanh(np.arctanh(inside) + np.array([-reach, reach]))
    method = f"Fisher, {pairs} pairs of neighbouring bars"
    return Interval(low=float(low), high=float(high), level=level, method=method)
