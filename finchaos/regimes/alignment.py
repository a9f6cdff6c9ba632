"""Which regime of a new fit is which of an old one, so that a label never changes its meaning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.clustering import RegimeClusters

WhenAmbiguous = Literal["refuse", "flag"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """New regimes given the labels of old ones.

    Attributes
    ----------
    order : numpy.ndarray, shape (c,), int64
        ``order[k]`` is the number, in the new fit, of the regime that bears the old label k.
    cost : float
        Sum of what was minimised over the pairs.
    runner_up : float
        The same of the best of all other assignments; infinite if there is none.
    margin : float
        ``(runner_up - cost) / runner_up``: 0 if two assignments are equally good, 1 if this one
        is perfect or the only one.
    least_margin : float
        What was asked for.
    """

    order: np.ndarray
    cost: float
    runner_up: float
    margin: float
    least_margin: float

    @property
    def ambiguous(self) -> bool:
        """Whether another assignment is nearly as good."""
        return self.margin < self.least_margin

    @property
    def swapped(self) -> bool:
        """Whether some label bears another number than in the new fit."""
        return bool((self.order != np.arange(len(self.order))).any())

    def relabelled(self, labels: np.ndarray) -> np.ndarray:
        """Labels of the new fit as old labels, of the same shape.

        Examples
        --------
        >>> found = align_centers(np.array([[0.0], [5.0]]), np.array([[5.1], [0.2]]))
        >>> found.relabelled(np.array([0, 0, 1])).tolist()
        [1, 1, 0]
        """
        old = np.empty(len(self.order), dtype=np.int64)
        old[self.order] = np.arange(len(self.order))
        return np.asarray(old[labels])

    def reordered(self, clusters: RegimeClusters) -> RegimeClusters:
        """The new fit with its regimes in the order of the old labels.

        Their volatilities need no longer rise: a label keeps its meaning, not its rank.
        """
        return replace(
            clusters,
            log_weight=clusters.log_weight[self.order],
            mean=clusters.mean[self.order],
            precision_root=clusters.precision_root[self.order],
            volatility=clusters.volatility[self.order],
        )


def align_centers(
    old: np.ndarray,
    new: np.ndarray,
    *,
    least_margin: float = 0.2,
    when_ambiguous: WhenAmbiguous = "refuse",
) -> Alignment:
    """The assignment with the least sum of distances between centres.

    Parameters
    ----------
    old, new : numpy.ndarray, shape (c, w)
        Centres in one and the same space, in units that make distances comparable.
    least_margin : float
        How much worse, as a fraction, every other assignment must be.
    when_ambiguous : {"refuse", "flag"}
        Raise, or return with ``ambiguous`` set.

    Raises
    ------
    DataError
        If the numbers of regimes differ, a centre is not finite, or the best assignment is
        ambiguous and to be refused.

    References
    ----------
    Kuhn (1955), The Hungarian method for the assignment problem; the runner-up by forbidding each
    pair of the best in turn, Murty (1968), Operations Research 16(3).

    Examples
    --------
    >>> align_centers(np.array([[0.0], [5.0]]), np.array([[5.1], [0.2]])).order.tolist()
    [1, 0]
    """
    before, after = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    _same_count(len(before), len(after))
    if before.ndim != 2 or before.shape != after.shape or not len(before):
        raise InputError(
            "centres do not lie in one space", got=f"shapes {before.shape} and {after.shape}"
        )
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise DataError("centres of regimes must be finite")
    cost = np.linalg.norm(before[:, None] - after[None], axis=2)
    return _assign(cost, least_margin, when_ambiguous)


def align_clusters(
    old: RegimeClusters,
    new: RegimeClusters,
    *,
    least_margin: float = 0.2,
    when_ambiguous: WhenAmbiguous = "refuse",
) -> Alignment:
    """Align a refit of regimes in the space of the same encoder's latents.

    The centres are taken back to latents and measured in the whitening of the old fit. If the
    encoder itself was trained anew, its latents mean something else: use :func:`align_labels`.

    Raises
    ------
    DataError
        As :func:`align_centers`, and if the latents have another width.
    """
    if old.center.shape != new.center.shape:
        raise DataError(
            "the regimes are of latents of different width",
            expected=str(len(old.center)),
            got=str(len(new.center)),
        )
    latent = new.center + new.mean @ np.linalg.pinv(new.whitening)
    return align_centers(
        old.mean,
        (latent - old.center) @ old.whitening,
        least_margin=least_margin,
        when_ambiguous=when_ambiguous,
    )


def align_labels(
    old: np.ndarray,
    new: np.ndarray,
    *,
    count: int,
    least_margin: float = 0.2,
    when_ambiguous: WhenAmbiguous = "refuse",
) -> Alignment:
    """The assignment under which two labellings of the same rows differ least.

    Parameters
    ----------
    old, new : numpy.ndarray, shape (t,), int
        Labels, by the old and by the new fit, of rows that both may read: those of the training
        window they share.
    count : int
        Regimes of each.

    Raises
    ------
    DataError
        If a label is not below ``count``, a regime holds none of the rows, or the best assignment
        is ambiguous and to be refused.
    """
    before, after = np.asarray(old), np.asarray(new)
    if before.ndim != 1 or before.shape != after.shape or not len(before):
        raise InputError(
            "labels are not of the same rows", got=f"shapes {before.shape} and {after.shape}"
        )
    if before.dtype.kind not in "iu" or after.dtype.kind not in "iu":
        raise InputError("labels must be integers", got=f"{before.dtype} and {after.dtype}")
    if min(before.min(), after.min()) < 0 or max(before.max(), after.max()) >= count:
        raise DataError("a label is out of range", expected=f"0 to {count - 1}")
    together = np.bincount(before * count + after, minlength=count * count).reshape(count, count)
    if not (together.sum(axis=0).all() and together.sum(axis=1).all()):
        _same_count(int(together.any(axis=1).sum()), int(together.any(axis=0).sum()))
        raise DataError("a regime holds none of the rows that labels are compared on")
    return _assign(together.sum(axis=1, keepdims=True) - together, least_margin, when_ambiguous)


def _same_count(old: int, new: int) -> None:
    if old != new:
        raise DataError(
            "the number of regimes has changed, so that labels cannot keep their meaning",
            expected=f"{old} regimes as before",
            got=str(new),
            remedy="refit with the old number, or start a new series of labels",
        )


def _assign(cost: np.ndarray, least_margin: float, when_ambiguous: WhenAmbiguous) -> Alignment:
    if not 0 <= least_margin < 1 or when_ambiguous not in ("refuse", "flag"):
        raise InputError(
            "impossible alignment",
            expected='least_margin in [0, 1) and "refuse" or "flag"',
            got=f"{least_margin}, {when_ambiguous!r}",
        )
    rows, order = linear_sum_assignment(cost)
    best = float(cost[rows, order].sum())
    runner_up = min((_without(cost, k, order[k]) for k in rows), default=np.inf)
    margin = 1.0 if np.isinf(runner_up) else 0.0
    if 0 < runner_up < np.inf:
        margin = (runner_up - best) / runner_up
    found = Alignment(order.astype(np.int64), best, runner_up, margin, least_margin)
    if found.ambiguous and when_ambiguous == "refuse":
        raise DataError(
            "the regimes of two fits cannot be told apart",
            expected=f"every other assignment worse by at least {least_margin:.0%}",
            got=f"{margin:.1%}",
            remedy="keep the old fit, or give the new one labels of its own",
        )
    return found


def _without(cost: np.ndarray, row: int, column: int) -> float:
    """Least sum of an assignment that leaves one pair out; infinite if there is none."""
    if len(cost) == 1:
        return float("inf")
    barred = cost.astype(np.float64)
    # More than any whole assignment can cost; an infinite entry would need care of the solver.
    barred[row, column] = cost.sum() + 1.0
    rows, columns = linear_sum_assignment(barred)
    return float(cost[rows, columns].sum())
