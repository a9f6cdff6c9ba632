"""Exact interval of a rate of rare events."""

from __future__ import annotations

from scipy.stats import chi2

from finchaos.core.errors import InputError
from governance.record import Interval


def exact_rate_interval(events: int, exposure: float, *, level: float = 0.95) -> Interval:
    """Garwood interval of ``events / exposure``, events taken as independent.

    Parameters
    ----------
    events : int
    exposure : float
        Time or trials over which they were counted; the rate is per unit of it.
    level : float

    References
    ----------
    Garwood, Fiducial limits for the Poisson distribution, Biometrika 28 (1936).

    Examples
    --------
    Nothing seen in ten years does not mean never:

    >>> round(exact_rate_interval(0, 10.0).high, 4)  # -log(0.025) / 10
    0.3689
    """
    if events < 0 or not exposure > 0:
        raise InputError(
            "an interval of a rate needs events >= 0 and an exposure above 0",
            got=f"{events} events over {exposure}",
        )
    tail = (1.0 - level) / 2.0
    low = float(chi2.ppf(tail, 2 * events)) / 2.0 if events else 0.0
    high = float(chi2.ppf(1.0 - tail, 2 * events + 2)) / 2.0
    return Interval(
        low=low / exposure, high=high / exposure, level=level, method="exact Poisson (Garwood)"
    )
