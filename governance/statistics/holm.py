"""Several tests at once: adjusted and Monte Carlo probabilities."""

from __future__ import annotations

import numpy as np

from finchaos.core.errors import InputError

_CLOSE = 1e-12


def holm(probabilities: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values: below a level only where the step-down procedure rejects there.

    The chance of one or more false rejections among the family is at most the level, whatever the
    dependence between the tests.

    Parameters
    ----------
    probabilities : numpy.ndarray, shape (k,)

    Returns
    -------
    numpy.ndarray, shape (k,)
        In the order given.

    Raises
    ------
    InputError
        If a value is not within 0 and 1.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979).

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0.0) & (values <= 1.0)).all():
        raise InputError("p-values lie within 0 and 1", got=str(values.tolist()))
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def simulated_probability(
    value: float, null: np.ndarray, rng: np.random.Generator, *, tail: str = "upper"
) -> float:
    """Probability of a value this extreme under a simulated null, ties broken at random.

    With n draws of the null it is exactly uniform on 1/(n + 1), ..., 1 if value and draws are
    exchangeable, also where the statistic takes few values, as counts of rare events do.

    Parameters
    ----------
    value : float
    null : numpy.ndarray, shape (n,)
        Draws that are not finite are left out.
    rng : numpy.random.Generator
    tail : {"upper", "lower"}
        Which values are extreme.

    References
    ----------
    Dufour, Monte Carlo tests with nuisance parameters, Journal of Econometrics 133 (2006),
    section 2.2.
    """
    drawn = null[np.isfinite(null)]
    if not (np.isfinite(value) and len(drawn)):
        raise InputError("no null to compare with", got=f"value {value}, {len(drawn)} draws")
    sign = 1.0 if tail == "upper" else -1.0
    gap = sign * (drawn - value)
    scale = _CLOSE * max(1.0, abs(value))
    beyond = int((gap > scale).sum())
    tied = int((np.abs(gap) <= scale).sum())
    return float(1 + beyond + rng.integers(0, tied + 1)) / (1 + len(drawn))
