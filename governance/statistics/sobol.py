"""Several factors moved at once: shares of variance after Sobol, by the package SALib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finchaos.core.errors import InputError, MissingDependencyError
from finchaos.core.extras import installing

RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class VarianceShares:
    """Shares of the answer's variance, each of shape (k,).

    Attributes
    ----------
    first : numpy.ndarray
        First-order indices: what a factor explains alone.
    total : numpy.ndarray
        Total indices: what is left if all other factors are known, interactions included.
    first_error, total_error : numpy.ndarray
        Half widths of their intervals over resampled points.
    asked : int
        Different points of the design that were answered.
    """

    first: np.ndarray
    total: np.ndarray
    first_error: np.ndarray
    total_error: np.ndarray
    asked: int


def sobol_indices(
    names: Sequence[str],
    answer: Callable[[tuple[float, ...]], float],
    *,
    points: int,
    seed: int,
    level: float = 0.95,
) -> VarianceShares:
    """First-order and total indices of factors that are independent and uniform on [0, 1).

    Parameters
    ----------
    names : sequence of str
        Of the k factors.
    answer : callable
        From the values of all factors to a number.
    points : int
        Base points, a power of two; points (k + 2) are answered.
    seed : int
        Of scrambling and resampling.
    level : float
        Of the intervals, normal with the standard deviation over resampled base points.

    Raises
    ------
    MissingDependencyError
        Without SALib.
    InputError
        If the design is impossible, or an answer is not finite, or all are the same.

    References
    ----------
    Sobol' (2001), Global sensitivity indices for nonlinear mathematical models and their Monte
    Carlo estimates, Mathematics and Computers in Simulation 55; Saltelli et al. (2010), Variance
    based sensitivity analysis of model output, Computer Physics Communications 181: the design
    and, in its table 2, the estimators (b) and (f).
    """
    if len(names) < 2 or points < 8 or points & (points - 1):
        raise InputError(
            "shares of variance need two factors, and base points that are a power of two",
            expected="two names or more, points of 8, 16, 32 ..",
            got=f"{len(names)} names, {points} points",
        )
    sampling, analysis = _imported()
    problem = {"num_vars": len(names), "names": list(names), "bounds": [[0.0, 1.0]] * len(names)}
    design = sampling.sample(problem, points, calc_second_order=False, seed=seed)
    known: dict[tuple[float, ...], float] = {}
    answers = np.empty(len(design))
    for row, point in enumerate(map(tuple, design.tolist())):
        if point not in known:
            known[point] = float(answer(point))
        answers[row] = known[point]
    if not np.isfinite(answers).all():
        raise InputError("an answer of the design is not finite")
    if np.ptp(answers) <= 1e-12 * np.abs(answers).max():
        raise InputError("no factor changes the answer: there is no variance to share out")
    found = analysis.analyze(
        problem, answers, calc_second_order=False, num_resamples=RESAMPLES, conf_level=level,
        seed=seed,
    )  # fmt: skip
    shares = {key: np.asarray(found[key], dtype=float) for key in ("S1", "ST")}
    errors = {key: np.asarray(found[f"{key}_conf"], dtype=float) for key in shares}
    return VarianceShares(shares["S1"], shares["ST"], errors["S1"], errors["ST"], len(known))


def _imported() -> tuple[Any, Any]:
    try:
        from SALib.analyze import sobol as analysis
        from SALib.sample import sobol as sampling
    except ImportError as error:
        raise MissingDependencyError(
            "sharing out variance needs SALib", remedy=installing("sensitivity")
        ) from error
    return sampling, analysis
