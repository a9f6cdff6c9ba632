"""How many regimes the training window supports: information criterion and stability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.regimes.clustering import ClusterRule, Mixture, fit_mixture, principal_whitening

Criterion = Literal["bic", "stability"]


@dataclass(frozen=True)
class CountRow:
    """What speaks for one number of regimes.

    Attributes
    ----------
    count : int
    log_likelihood : float or None
        Of the training rows under the mixture; None for K-Means, which is no density.
    parameters : int or None
        Free parameters of the mixture.
    bic : float or None
        ``parameters log(rows) - 2 log_likelihood``: lower is better.
    stability : float
        Mean adjusted Rand index between the training rows' labels and those by refits on resampled
        rows; 1 if every refit finds the same regimes, about 0 if they are arbitrary.
    stability_sd : float
        Standard deviation over the refits (n - 1).
    refits : int
        Refits scored.
    hollow : int
        Refits in which a regime was empty or had fallen together with another; each counts 0.
    least_share : float
        Share of the training rows of the smallest regime.
    """

    count: int
    log_likelihood: float | None
    parameters: int | None
    bic: float | None
    stability: float
    stability_sd: float
    refits: int
    hollow: int
    least_share: float


@dataclass(frozen=True)
class CountChoice:
    """The chosen number of regimes and the whole table it was chosen from.

    Attributes
    ----------
    count : int
    criterion : {"bic", "stability"}
    least_stability : float
    table : tuple of CountRow
    rows : int
        Training rows.
    block_bars : int
    """

    count: int
    criterion: Criterion
    least_stability: float
    table: tuple[CountRow, ...]
    rows: int
    block_bars: int


def choose_count(
    latents: np.ndarray,
    counts: Sequence[int],
    rule: ClusterRule,
    *,
    seed: int,
    criterion: Criterion,
    refits: int = 20,
    block_bars: int = 1,
    least_stability: float = 0.6,
) -> CountChoice:
    """Choose the number of regimes.

    "bic" takes the lowest information criterion among the numbers that are stable enough,
    "stability" the most stable one; of equals the smaller number.

    Parameters
    ----------
    latents : numpy.ndarray, shape (t, k)
        Rows of the training window and no others.
    counts : sequence of int
        Numbers to compare, each at least 2. One regime is no choice: it has no labels to be
        stable, and nothing to trade on.
    rule : ClusterRule
        Method, restarts and least share; its count is not read.
    seed : int
        Recorded seed; each refit draws from a stream of its own.
    criterion : {"bic", "stability"}
        K-Means has no likelihood: "stability" alone.
    refits : int
    block_bars : int
        Rows are resampled in circular blocks of this length. Latents of neighbouring bars are
        alike; single rows would leave every spell in the sample and flatter the stability.
    least_stability : float

    Raises
    ------
    InputError
        If a parameter is out of range.
    DataError
        If there are too few rows, the latents do not vary or are not finite, or no number leaves
        regimes that are large and stable enough.

    References
    ----------
    Schwarz, Estimating the Dimension of a Model, Annals of Statistics 6(2), 1978. Hennig,
    Cluster-wise assessment of cluster stability, Computational Statistics & Data Analysis 52(1),
    2007 (bootstrap refits). Hubert & Arabie, Comparing Partitions, Journal of Classification
    2(1), 1985. Politis & Romano (1992): circular blocks.
    """
    numbers = sorted(set(counts))
    _check(numbers, rule, criterion, refits, block_bars, least_stability)
    rows = np.asarray(latents, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < max(10 * numbers[-1], block_bars):
        raise DataError(
            "too few training rows to compare numbers of regimes",
            expected=f"a panel of at least {max(10 * numbers[-1], block_bars)} rows",
            got=f"shape {rows.shape}",
        )
    center, whitening, _ = principal_whitening(rows)
    whitened = (rows - center) @ whitening
    table = tuple(
        _row(
            whitened,
            replace(rule, count=number, least_share=min(rule.least_share, 0.5 / number)),
            seed,
            refits,
            block_bars,
        )
        for number in numbers
    )
    fit = [
        row
        for row in table
        if row.stability >= least_stability and row.least_share >= rule.least_share
    ]
    if not fit:
        raise DataError(
            "no number of regimes is supported by the training window",
            expected=f"stability of {least_stability:g} and {rule.least_share:.1%} of rows in each",
            got="; ".join(
                f"{row.count}: {row.stability:.2f}, {row.least_share:.1%}" for row in table
            ),
            remedy="train on a longer window, or on latents that separate regimes",
        )
    merit = _MERITS[criterion]
    chosen = max(fit, key=lambda row: (merit(row), -row.count))
    return CountChoice(chosen.count, criterion, least_stability, table, len(rows), block_bars)


_MERITS: dict[str, Callable[[CountRow], float]] = {
    "bic": lambda row: -float("inf") if row.bic is None else -row.bic,
    "stability": lambda row: row.stability,
}


def _check(
    numbers: list[int],
    rule: ClusterRule,
    criterion: str,
    refits: int,
    block_bars: int,
    least_stability: float,
) -> None:
    if not numbers or numbers[0] < 2 or criterion not in _MERITS:
        raise InputError(
            "impossible choice of the number of regimes",
            expected='numbers of at least 2, and criterion "bic" or "stability"',
            got=f"{numbers}, {criterion!r}",
        )
    if criterion == "bic" and rule.method == "kmeans":
        raise InputError(
            "K-Means is no density and has no information criterion",
            remedy='choose by "stability", or use the mixture',
        )
    if refits < 2 or block_bars < 1 or not 0 <= least_stability <= 1:
        raise InputError(
            "impossible measure of stability",
            expected="refits >= 2, block_bars >= 1, least_stability in [0, 1]",
            got=f"{refits}, {block_bars}, {least_stability}",
        )


def _row(
    whitened: np.ndarray, rule: ClusterRule, seed: int, refits: int, block_bars: int
) -> CountRow:
    name = f"regimes.number.{rule.method}.{rule.count}"
    fitted = fit_mixture(whitened, rule, _draw(random_stream(seed, name)))
    labels = _scores(whitened, fitted).argmax(axis=1)
    held = np.bincount(labels, minlength=rule.count)
    indices = []
    hollow = 0
    for refit in range(refits):
        rng = random_stream(seed, f"{name}.refit.{refit}")
        sample = whitened[_blocks(len(whitened), block_bars, rng)]
        again = _refit(sample, whitened, rule, _draw(rng))
        hollow += again is None
        indices.append(0.0 if again is None else float(adjusted_rand_score(labels, again)))
    likelihood, parameters, bic = _information(whitened, fitted, rule)
    return CountRow(
        count=rule.count,
        log_likelihood=likelihood,
        parameters=parameters,
        bic=bic,
        stability=float(np.mean(indices)),
        stability_sd=float(np.std(indices, ddof=1)),
        refits=refits,
        hollow=hollow,
        least_share=float(held.min() / len(labels)),
    )


def _refit(
    sample: np.ndarray, whitened: np.ndarray, rule: ClusterRule, seed: int
) -> np.ndarray | None:
    """Labels of the training rows by a fit on resampled ones; None if a regime holds no row."""
    if len(np.unique(sample, axis=0)) < rule.count:
        return None
    labels = _scores(whitened, fit_mixture(sample, rule, seed)).argmax(axis=1)
    return labels if len(np.unique(labels)) == rule.count else None


def _scores(whitened: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Log of share times density in each regime, up to a constant that all rows have."""
    weight, mean, root = mixture
    away = np.einsum("tcw,cwv->tcv", whitened[:, None, :] - mean, root)
    found = np.log(weight) + np.log(np.abs(np.linalg.det(root))) - 0.5 * (away**2).sum(axis=2)
    return np.asarray(found)


def _information(
    whitened: np.ndarray, mixture: Mixture, rule: ClusterRule
) -> tuple[float | None, int | None, float | None]:
    if rule.method == "kmeans":
        return None, None, None
    rows, width = whitened.shape
    density = logsumexp(_scores(whitened, mixture), axis=1) - 0.5 * width * np.log(2.0 * np.pi)
    likelihood = float(density.sum())
    parameters = rule.count * (width + width * (width + 1) // 2) + rule.count - 1
    return likelihood, parameters, parameters * float(np.log(rows)) - 2.0 * likelihood


def _blocks(rows: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers of a circular block resample of the same size."""
    starts = rng.integers(0, rows, -(-rows // length))
    taken = (starts[:, None] + np.arange(length)).ravel()[:rows]
    return np.asarray(taken % rows)


def _draw(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 2**32))
