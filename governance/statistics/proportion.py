"""Exact interval of a share."""

from __future__ import annotations

from scipy.stats import binomtest

from finchaos.core.errors import InputError
from governance.record import Interval


def exact_interval(
    events: int, trials: int, *, level: float = 0.95, scale: float = 1.0
) -> Interval:
    """Clopper-Pearson interval of ``events / trials``, times ``scale``.

    Parameters
    ----------
    events, trials : int
        ``0 <= events <= trials`` and ``trials >= 1``; trials are taken as independent.
    level : float
        Coverage, at least this for every true share.
    scale : float
        1 for a share, 1000 for events per thousand.

    Raises
    ------
    InputError
        If the counts are impossible.

    References
    ----------
    Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the
    binomial, Biometrika 26 (1934).

    Examples
    --------
    >>> round(exact_interval(0, 100).high, 6) == round(1 - 0.025 ** (1 / 100), 6)
    True
    """
    if trials < 1 or not 0 <= events <= trials:
        raise InputError(
            "an interval of a share needs possible counts",
            expected="0 <= events <= trials, trials >= 1",
            got=f"{events} of {trials}",
        )
    found = binomtest(events, trials).proportion_ci(confidence_level=level, method="exact")
    return Interval(
        low=scale * float(found.low),
        high=scale * float(found.high),
        level=level,
        method="Clopper-Pearson",
    )
