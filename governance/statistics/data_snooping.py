"""The best of many, judged as the best of many: Hansen's test, its steps, and the confidence set.

The tests are those of the package ``arch``, with the stationary bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.errors import InputError


def _losses(returns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    frame = pd.DataFrame({name: -np.asarray(values) for name, values in returns.items()})
    if frame.empty or not np.isfinite(frame.to_numpy()).all():
        raise InputError("data snooping needs finite returns of one or more models")
    return frame


def superior_predictive_ability(
    benchmark: np.ndarray,
    models: Mapping[str, np.ndarray],
    *,
    block: int,
    draws: int,
    rng: np.random.Generator,
) -> float:
    """Probability of the best model's lead over the benchmark if none is truly better.

    Parameters
    ----------
    benchmark : numpy.ndarray, shape (n,)
        Returns; higher is better.
    models : mapping of name to numpy.ndarray, shape (n,)
    block : int
        Mean length of blocks.
    draws : int
    rng : numpy.random.Generator

    References
    ----------
    Hansen, A test for superior predictive ability, Journal of Business & Economic Statistics
    23(4), 2005: the consistent p-value.
    """
    share = float(_test(benchmark, _losses(models), block, draws, rng).pvalues["consistent"])
    # The lead itself counts among the draws: a simulated probability is never zero.
    return (draws * share + 1.0) / (draws + 1.0)


def superior_models(
    benchmark: np.ndarray,
    models: Mapping[str, np.ndarray],
    *,
    size: float,
    block: int,
    draws: int,
    rng: np.random.Generator,
) -> frozenset[str]:
    """Names of all models established as better than the benchmark, family-wise at ``size``.

    Each step takes off what the test finds better and asks of the rest again.

    References
    ----------
    Romano & Wolf, Stepwise multiple testing as formalized data snooping, Econometrica 73 (2005).
    The class ``StepM`` of ``arch`` takes the same steps but fails where all models are better
    (bashtage/arch issue 862), hence the loop.
    """
    left, found = _losses(models), set[str]()
    while len(left.columns):
        test = _test(benchmark, left, block, draws, rng)
        better = [str(left.columns[int(place)]) for place in test.better_models(size)]
        if not better:
            break
        found |= set(better)
        left = left.drop(columns=better)
    return frozenset(found)


def confidence_set(
    models: Mapping[str, np.ndarray], *, block: int, draws: int, rng: np.random.Generator
) -> dict[str, float]:
    """Probability of each model's lag behind the best of the set if all left are equal.

    Models with more than a level form the confidence set of the best at one less that level.

    References
    ----------
    Hansen, Lunde & Nason, The model confidence set, Econometrica 79 (2011).
    """
    from arch.bootstrap import MCS

    test = MCS(_losses(models), size=0.05, reps=draws, block_size=block, seed=_seed(rng))
    test.compute()
    return {str(name): float(value) for name, value in test.pvalues["Pvalue"].items()}


def _test(
    benchmark: np.ndarray, losses: pd.DataFrame, block: int, draws: int, rng: np.random.Generator
) -> Any:
    from arch.bootstrap import SPA

    test = SPA(-np.asarray(benchmark), losses, reps=draws, block_size=block, seed=_seed(rng))
    test.compute()
    return test


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 2**31 - 1))
