"""Several factors moved at once: Morris' elementary effects, by the package SALib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finchaos.core.errors import InputError, MissingDependencyError
from finchaos.core.extras import installing

LEVELS = 4


@dataclass(frozen=True, eq=False)
class Screening:
    """Effects of moving a factor over its whole range, each of shape (k,).

    Attributes
    ----------
    effect : numpy.ndarray
        Mean absolute elementary effect, mu*.
    error : numpy.ndarray
        Half width of its interval over resampled trajectories.
    spread : numpy.ndarray
        Standard deviation of elementary effects, sigma: large beside ``effect`` where a factor
        acts differently at different places, in interaction or out of line.
    asked : int
        Points of the design.
    """

    effect: np.ndarray
    error: np.ndarray
    spread: np.ndarray
    asked: int


def morris_screening(
    names: Sequence[str],
    answer: Callable[[tuple[int, ...]], float],
    *,
    trajectories: int,
    seed: int,
    level: float = 0.95,
) -> Screening:
    """Screen factors on a grid of four levels each.

    Parameters
    ----------
    names : sequence of str
    answer : callable
        From the levels 0 to 3 of every factor to a number.
    trajectories : int
        Paths of one step a factor.
    seed : int
    level : float
        Of the intervals.

    Raises
    ------
    MissingDependencyError
        Without SALib.
    InputError
        If there are fewer than two factors or trajectories, or an answer is not finite.

    References
    ----------
    Morris (1991), Factorial sampling plans for preliminary computational experiments, Technometrics
    33(2); Campolongo, Cariboni & Saltelli (2007), An effective screening design for sensitivity
    analysis of large models, Environmental Modelling & Software 22, on mu*.
    """
    sampling, analysis = _imported()
    if len(names) < 2 or trajectories < 2:
        raise InputError("screening needs two factors and two trajectories")
    problem = {"num_vars": len(names), "names": list(names), "bounds": [[0.0, 1.0]] * len(names)}
    points = sampling.sample(problem, trajectories, num_levels=LEVELS, seed=seed)
    levels = np.rint(points * (LEVELS - 1)).astype(int)
    known: dict[tuple[int, ...], float] = {}
    answers = np.empty(len(levels))
    for row, point in enumerate(map(tuple, levels.tolist())):
        if point not in known:
            known[point] = float(answer(point))
        answers[row] = known[point]
    if not np.isfinite(answers).all():
        raise InputError("an answer of the screening is not finite")
    found = analysis.analyze(
        problem, points, answers, num_levels=LEVELS, conf_level=level, seed=seed
    )
    return Screening(
        np.asarray(found["mu_star"], dtype=float),
        np.asarray(found["mu_star_conf"], dtype=float),
        np.asarray(found["sigma"], dtype=float),
        len(known),
    )


def _imported() -> tuple[Any, Any]:
    try:
        from SALib.analyze import morris as analysis
        from SALib.sample import morris as sampling
    except ImportError as error:
        raise MissingDependencyError(
            "screening several factors at once needs SALib", remedy=installing("sensitivity")
        ) from error
    return sampling, analysis
