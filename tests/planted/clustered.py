"""Markets whose volatility clusters and whose mean is the same at every bar: nulls for slices."""

from __future__ import annotations

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from tests.planted.skill import closes_alone


def garch_bars(
    seed: int, n: int, *, mean: float = 0.0003, freedom: float | None = None, leverage: float = 0.0
) -> Bars:
    """Daily bars of a GARCH(1, 1), annual volatility about 16 %.

    Parameters
    ----------
    seed, n : int
    mean : float
        Return of every bar, whatever came before.
    freedom : float, optional
        Degrees of freedom of Student's innovations, scaled to variance 1; normal if None.
    leverage : float
        Share of the news weight that falls on falls alone, as Glosten, Jagannathan & Runkle (1993).
    """
    rng = random_stream(seed, "planted.garch")
    if freedom is None:
        noise = rng.standard_normal(n)
    else:
        noise = rng.standard_t(freedom, n) * np.sqrt((freedom - 2.0) / freedom)
    news, kept, level = 0.09, 0.90, 1e-4
    variance, moves = level, np.empty(n)
    for row in range(n):
        moves[row] = np.sqrt(variance) * noise[row]
        weight = news * (1.0 + leverage * (1.0 if moves[row] < 0.0 else -1.0))
        variance = (1.0 - news - kept) * level + weight * moves[row] ** 2 + kept * variance
    return closes_alone(100.0 * np.cumprod(1.0 + mean + moves))
