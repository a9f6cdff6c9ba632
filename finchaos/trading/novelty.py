"""How unlike training a market is: distances behind one protocol, and a limit from held-out rows.

Every monitor is fitted on the first part of the training latents. The limit is a quantile of the
distances of the last part, which the monitor has not seen: distances of the rows it was fitted on
are smaller than those of new ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from scipy.linalg import LinAlgError, solve_triangular
from scipy.spatial import KDTree
from sklearn.covariance import LedoitWolf
from threadpoolctl import threadpool_limits

from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.trading.confidence import calibration_rows

Kind = Literal["euclidean", "mahalanobis", "neighbours"]
KINDS: tuple[Kind, ...] = ("euclidean", "mahalanobis", "neighbours")


class Novelty(Protocol):
    """A fitted monitor."""

    kind: ClassVar[Kind]

    def distance(self, latents: np.ndarray) -> np.ndarray:
        """How unlike training each row is, shape (t,); each row is computed for itself."""
        ...

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The monitor as named arrays, from which it comes back bit by bit."""
        ...


@dataclass(frozen=True)
class NoveltyRule:
    """Which monitor, and how its limit is found.

    Attributes
    ----------
    kind : {"euclidean", "mahalanobis", "neighbours"}
    neighbours : int
        Rows of training over which ``neighbours`` averages.
    quantile : float
        Share of calibration rows within the limit, in (0, 1).
    calibration_share : float
        Share of the training rows, the last ones, that are held out for the limit.
    gap : int
        Rows left out between both parts, since latents next to one another are alike.
    """

    kind: Kind = "mahalanobis"
    neighbours: int = 10
    quantile: float = 0.999
    calibration_share: float = 0.2
    gap: int = 0

    def __post_init__(self) -> None:
        sound = (
            self.kind in KINDS
            and self.neighbours >= 1
            and 0.0 < self.quantile < 1.0
            and 0.0 < self.calibration_share < 1.0
            and self.gap >= 0
        )
        if not sound:
            raise InputError(
                "impossible rule for novelty",
                expected=f"a kind of {', '.join(KINDS)}, neighbours >= 1, quantile and "
                "calibration_share in (0, 1), gap >= 0",
                got=repr(self),
            )


@dataclass(frozen=True, eq=False)
class EuclideanNovelty:
    """Euclidean distance to the nearest cluster centre, in the units of the latents.

    Coordinates should have like scales: whiten them before.

    Attributes
    ----------
    centers : numpy.ndarray, shape (c, k)
        Mean of the training rows of each cluster.
    """

    kind: ClassVar[Kind] = "euclidean"
    centers: np.ndarray

    @classmethod
    def fit(cls, latents: np.ndarray, labels: np.ndarray) -> EuclideanNovelty:
        """Centres of clusters.

        Parameters
        ----------
        latents : numpy.ndarray, shape (t, k)
        labels : numpy.ndarray, shape (t,), int
            Cluster of each row.

        Raises
        ------
        DataError
            If there are no rows, latents are not finite, or labels do not fit.
        """
        return cls(np.array([rows.mean(axis=0) for rows in _clusters(latents, labels)]))

    def distance(self, latents: np.ndarray) -> np.ndarray:
        """Distance to the nearest centre, shape (t,)."""
        away = _rows(latents, self.centers.shape[1])[:, None, :] - self.centers
        return np.sqrt(_squares(away).min(axis=1))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Centres."""
        return {"centers": self.centers.copy()}


@dataclass(frozen=True, eq=False)
class MahalanobisNovelty:
    """Mahalanobis distance to the nearest cluster, under its own shrunk covariance.

    Covariances are shrunk towards a multiple of the identity as far as minimises the expected
    squared error (Ledoit and Wolf 2004, theorem 3.2), so that they can be inverted where a cluster
    has hardly more rows than coordinates.

    Attributes
    ----------
    means : numpy.ndarray, shape (c, k)
    roots : numpy.ndarray, shape (c, k, k)
        ``(x - mean) @ root`` has unit covariance within a cluster.
    """

    kind: ClassVar[Kind] = "mahalanobis"
    means: np.ndarray
    roots: np.ndarray

    @classmethod
    def fit(cls, latents: np.ndarray, labels: np.ndarray) -> MahalanobisNovelty:
        """Means and covariances of clusters; parameters as :meth:`EuclideanNovelty.fit`.

        Raises
        ------
        DataError
            As there, or if the rows of a cluster do not vary.
        """
        groups = _clusters(latents, labels)
        with threadpool_limits(limits=1):
            roots = [_precision_root(rows) for rows in groups]
        return cls(np.array([rows.mean(axis=0) for rows in groups]), np.array(roots))

    def distance(self, latents: np.ndarray) -> np.ndarray:
        """Distance to the nearest cluster in its own units, shape (t,)."""
        away = _rows(latents, self.means.shape[1])[:, None, :] - self.means
        standardised = np.matmul(away[:, :, None, :], self.roots)[:, :, 0, :]
        return np.sqrt(_squares(standardised).min(axis=1))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Means and roots."""
        return {"means": self.means.copy(), "roots": self.roots.copy()}


class NeighbourNovelty:
    """Mean Euclidean distance to the nearest training rows; it supposes no shape of clusters.

    Parameters
    ----------
    rows : numpy.ndarray, shape (n, k)
        Training latents, coordinates of like scales. They are kept: a checkpoint grows by them.
    neighbours : int
        Rows averaged over, at most n.
    """

    kind: ClassVar[Kind] = "neighbours"

    def __init__(self, rows: np.ndarray, neighbours: int) -> None:
        known = _rows(rows, None)
        if not 1 <= neighbours <= len(known):
            raise DataError(
                "too few training rows for the nearest neighbours",
                expected=f"at least {max(neighbours, 1)} rows and 1 neighbour",
                got=f"{len(known)} rows, {neighbours} neighbours",
            )
        self._known, self._neighbours, self._tree = known.copy(), neighbours, KDTree(known)

    def distance(self, latents: np.ndarray) -> np.ndarray:
        """Mean distance to the nearest training rows, shape (t,)."""
        queries = _rows(latents, self._known.shape[1])
        away, _ = self._tree.query(queries, k=range(1, self._neighbours + 1))
        total: np.ndarray = away[:, 0].copy()
        for column in range(1, self._neighbours):
            total += away[:, column]
        return total / self._neighbours

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Training rows, and how many neighbours."""
        return {"rows": self._known.copy(), "neighbours": np.array([self._neighbours])}


def fit_novelty(
    latents: np.ndarray, labels: np.ndarray, rule: NoveltyRule
) -> tuple[Novelty, float]:
    """A monitor fitted on the first part of training, and its limit from the last.

    On new rows of the law of training, each independent of the others, a share of at most
    1 - quantile lies beyond the limit on average (the order statistic of split conformal
    prediction; Vovk, Gammerman and Shafer 2005). Rows of one market depend on one another, so
    that alarms come in bursts, and the share in any one year may be far off.

    Parameters
    ----------
    latents : numpy.ndarray, shape (t, k)
        Of the training window, in the order of time.
    labels : numpy.ndarray, shape (t,), int
        Cluster of each row; ``neighbours`` makes no use of them.
    rule : NoveltyRule

    Returns
    -------
    tuple of Novelty, float
        The monitor and the largest distance that is tolerated.

    Raises
    ------
    InputError
        If there are too few rows to hold any out.
    DataError
        If there are too few calibration rows for the quantile, or the monitor cannot be fitted.
    """
    known, held_out = calibration_rows(len(latents), rule.calibration_share, rule.gap)
    found: Novelty
    if rule.kind == "neighbours":
        found = NeighbourNovelty(latents[known], rule.neighbours)
    elif rule.kind == "mahalanobis":
        found = MahalanobisNovelty.fit(latents[known], labels[known])
    else:
        found = EuclideanNovelty.fit(latents[known], labels[known])
    return found, novelty_limit(found.distance(latents[held_out]), rule.quantile)


def novelty_limit(distances: np.ndarray, quantile: float) -> float:
    """The distance that a new one of the same law exceeds with probability 1 - quantile at most.

    It is the order statistic number ceil((n + 1) quantile) of n distances.

    Parameters
    ----------
    distances : numpy.ndarray, shape (n,)
        Of rows that the monitor was not fitted on.
    quantile : float

    Raises
    ------
    DataError
        If a distance is not finite, none is above zero, or there are too few for the quantile.

    Examples
    --------
    >>> novelty_limit(np.arange(1.0, 100.0), 0.99)
    99.0
    """
    values = np.sort(np.asarray(distances, dtype=np.float64))
    if not np.isfinite(values).all():
        raise DataError("a limit of novelty needs finite distances")
    # One ulp off the product must not ask for a row more.
    rank = math.ceil((len(values) + 1) * quantile - 1e-9)
    if rank > len(values):
        raise DataError(
            "too few calibration rows for the quantile of a limit",
            expected=f"at least {math.ceil(quantile / (1.0 - quantile) - 1e-9)} for {quantile:g}",
            got=str(len(values)),
            remedy="train on a longer history, hold out a larger share, or lower the quantile",
        )
    limit = float(values[max(rank, 1) - 1])
    if limit <= 0.0:
        raise DataError("a limit of novelty is zero", got="calibration rows that do not vary")
    return limit


def novelty_arrays(monitor: Novelty) -> dict[str, np.ndarray]:
    """A monitor as arrays whose names say its kind."""
    return {f"{monitor.kind}.{name}": array for name, array in monitor.to_arrays().items()}


def novelty_from_arrays(arrays: Mapping[str, np.ndarray]) -> Novelty:
    """The monitor that :func:`novelty_arrays` described.

    Raises
    ------
    CheckpointError
        If arrays are missing, misshapen, not finite, or of no known kind.
    """
    kinds = {name.partition(".")[0] for name in arrays}
    kind = kinds.pop() if len(kinds) == 1 else ""
    if kind not in KINDS:
        raise CheckpointError(
            "arrays of no known monitor of novelty",
            expected=f"names that begin with one of {', '.join(KINDS)}",
            got=", ".join(sorted(arrays)) or "none",
        )
    values = {name.partition(".")[2]: np.array(array) for name, array in arrays.items()}
    try:
        if not all(np.isfinite(array).all() for array in values.values()):
            raise DataError("an array of a monitor of novelty is not finite")
        return _RESTORE[kind](values)
    except (DataError, KeyError, ValueError, IndexError, TypeError) as error:
        raise CheckpointError(
            "arrays of a monitor of novelty are damaged", got=f"{kind}: {error!r}"[:200]
        ) from error


def _euclidean(values: dict[str, np.ndarray]) -> Novelty:
    return EuclideanNovelty(_shaped(values["centers"], 2))


def _mahalanobis(values: dict[str, np.ndarray]) -> Novelty:
    means, roots = _shaped(values["means"], 2), _shaped(values["roots"], 3)
    if roots.shape != (*means.shape, means.shape[1]):
        raise ValueError(f"shapes {means.shape} and {roots.shape}")
    return MahalanobisNovelty(means, roots)


def _neighbours(values: dict[str, np.ndarray]) -> Novelty:
    return NeighbourNovelty(_shaped(values["rows"], 2), int(values["neighbours"][0]))


_RESTORE: dict[str, Callable[[dict[str, Any]], Novelty]] = {
    "euclidean": _euclidean,
    "mahalanobis": _mahalanobis,
    "neighbours": _neighbours,
}


def _shaped(array: np.ndarray, dimensions: int) -> np.ndarray:
    if array.ndim != dimensions or array.dtype != np.float64 or 0 in array.shape:
        raise ValueError(f"shape {array.shape} of {array.dtype}")
    return array


def _precision_root(rows: np.ndarray) -> np.ndarray:
    """A root of the inverse of the shrunk covariance, shape (k, k)."""
    try:
        lower = np.linalg.cholesky(LedoitWolf().fit(rows).covariance_)
        inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
    except (np.linalg.LinAlgError, LinAlgError) as error:
        raise DataError(
            "the rows of a cluster do not vary, so that no distance to it can be measured",
            got=f"{len(rows)} rows",
        ) from error
    return np.ascontiguousarray(inverse.T)


def _squares(away: np.ndarray) -> np.ndarray:
    """Squared lengths of the last axis, each by a product of its own, shape (t, c)."""
    squares: np.ndarray = np.matmul(away[:, :, None, :], away[:, :, :, None])[:, :, 0, 0]
    return squares


def _rows(latents: np.ndarray, width: int | None) -> np.ndarray:
    rows = np.ascontiguousarray(latents, dtype=np.float64)
    fits = rows.ndim == 2 and width in (None, rows.shape[1])
    if not fits or not np.isfinite(rows).all():
        raise DataError(
            "latents cannot be measured",
            expected=f"finite, shape (t, {'k' if width is None else width})",
            got=f"shape {rows.shape}" + (", not all finite" if fits else ""),
        )
    return rows


def _clusters(latents: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """The rows of each cluster that has any, two at least."""
    rows, numbers = _rows(latents, None), np.asarray(labels)
    if not len(rows) or numbers.shape != (len(rows),) or numbers.dtype.kind not in "iu":
        raise DataError(
            "labels do not fit the latents",
            expected=f"{max(len(rows), 1)} whole numbers",
            got=f"shape {numbers.shape} of {numbers.dtype}",
        )
    groups = [rows[numbers == number] for number in np.unique(numbers)]
    if min(map(len, groups)) < 2:
        raise DataError(
            "a cluster has too few training rows",
            expected="at least 2 in each",
            got=str(min(map(len, groups))),
            remedy="train on a longer history or ask for fewer regimes",
        )
    return groups
