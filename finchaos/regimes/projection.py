"""Latents in two or three dimensions: principal axes that may be used live, and maps to look at.

:class:`PrincipalAxes` are fitted on training rows and project each row by itself, so that an orbit
drawn over time holds nothing of later bars. A :class:`NeighbourMap` places all its rows together:
every point depends on every other, also on later ones. It is a picture and nothing may be computed
from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.core.provenance import stream_seed

CONSTANT = 1e-12
"""A largest variance up to this is rounding: nothing varies."""


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Directions in which training latents vary most.

    Attributes
    ----------
    center : numpy.ndarray, shape (k,)
    axes : numpy.ndarray, shape (k, p)
        Orthonormal columns, the largest variance first; of each the entry largest in size is
        positive.
    variance : numpy.ndarray, shape (p,)
        Of the training rows along each (n - 1).
    total_variance : float
        Sum over all directions.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> axes = PrincipalAxes.fit(rng.normal(size=(50, 2)) * [3.0, 0.1], count=1)
    >>> axes.transform(np.array([[3.0, 0.0]])).shape, bool(axes.explained[0] > 0.99)
    ((1, 1), True)
    """

    center: np.ndarray
    axes: np.ndarray
    variance: np.ndarray
    total_variance: float

    @classmethod
    def fit(cls, latents: np.ndarray, *, count: int = 3) -> PrincipalAxes:
        """Axes of training rows.

        Parameters
        ----------
        latents : numpy.ndarray, shape (t, ...)
            Training rows only; further dimensions, such as channels by states, are laid flat.
        count : int
            Axes to keep.

        Raises
        ------
        DataError
            If there are too few rows, one is not finite, or fewer than ``count`` directions vary.
        """
        rows = flat(latents)
        if count < 1 or len(rows) <= count or rows.shape[1] < count:
            raise DataError(
                "too few latents for principal axes",
                expected=f"more than {count} rows of at least {count} values",
                got=f"shape {rows.shape}",
            )
        center = rows.mean(axis=0)
        with threadpool_limits(limits=1):
            _, lengths, axes = np.linalg.svd(rows - center, full_matrices=False)
        variance = lengths**2 / (len(rows) - 1)
        if variance[0] <= CONSTANT or variance[count - 1] <= CONSTANT * variance[0]:
            raise DataError(
                "the latents do not vary in enough directions",
                expected=f"{count}",
                got=str(int((variance > max(CONSTANT, CONSTANT * variance[0])).sum())),
                remedy="a constant layer has no picture; ask for fewer axes",
            )
        kept = axes[:count].T
        kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(count)])
        return cls(center, np.ascontiguousarray(kept), variance[:count], float(variance.sum()))

    @property
    def explained(self) -> np.ndarray:
        """Share of the training rows' variance along each axis, shape (p,)."""
        return self.variance / self.total_variance

    def transform(self, latents: np.ndarray) -> np.ndarray:
        """Coordinates along the axes, shape (t, p); a row's bits depend on that row alone.

        Raises
        ------
        DataError
            If the width differs or a value is not finite.
        """
        rows = flat(latents)
        if rows.shape[1] != len(self.center):
            raise DataError(
                "latents do not fit the axes", expected=str(len(self.center)), got=str(rows.shape)
            )
        found: np.ndarray = np.matmul((rows - self.center)[:, None, :], self.axes)
        return found[:, 0, :]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The axes as named arrays."""
        return {
            "center": self.center.copy(),
            "axes": self.axes.copy(),
            "variance": self.variance.copy(),
            "total_variance": np.array([self.total_variance]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PrincipalAxes:
        """The axes that :meth:`to_arrays` described.

        Raises
        ------
        CheckpointError
            If an array is missing, misshapen or not finite.
        """
        names = ("center", "axes", "variance", "total_variance")
        missing = set(names) - set(arrays)
        if missing:
            raise CheckpointError("arrays of axes are missing", got=", ".join(sorted(missing)))
        center, axes, variance, total = (np.array(arrays[n], dtype=np.float64) for n in names)
        sound = (
            axes.ndim == 2
            and axes.shape == (len(center), len(variance))
            and total.shape == (1,)
            and all(np.isfinite(a).all() for a in (center, axes, variance, total))
        )
        if not sound:
            raise CheckpointError("arrays of axes are damaged", got=f"axes of shape {axes.shape}")
        return cls(center, axes, variance, float(total[0]))


def fit_layers(layers: Mapping[str, np.ndarray], *, count: int = 3) -> dict[str, PrincipalAxes]:
    """Axes of every layer's training latents.

    Parameters
    ----------
    layers : mapping of str to numpy.ndarray, shape (t, ...)
        Latents of each layer after each training bar.
    count : int

    Raises
    ------
    DataError
        As :meth:`PrincipalAxes.fit`, with the name of the layer.
    """
    if not layers:
        raise InputError("there are no layers to project")
    found = {}
    for name, latents in layers.items():
        try:
            found[name] = PrincipalAxes.fit(latents, count=count)
        except DataError as error:
            raise DataError(f"layer {name}: {error}") from error
    return found


@dataclass(frozen=True, eq=False)
class Orbit:
    """A path of latents over time, ready to be drawn.

    Attributes
    ----------
    index : pandas.DatetimeIndex, shape (t,)
    points : numpy.ndarray, shape (t, p)
        Each from its own bar alone.
    speed : numpy.ndarray, shape (t,)
        Length of the step to each point from the one before; the first is 0.
    labels : numpy.ndarray or None, shape (t,)
        Regimes, for colours.
    trained : numpy.ndarray, shape (t,), bool
        Rows up to the end of the training window, where the axes were fitted.
    explained : numpy.ndarray, shape (p,)
        Share of the training variance along each axis.
    """

    index: pd.DatetimeIndex
    points: np.ndarray
    speed: np.ndarray
    labels: np.ndarray | None
    trained: np.ndarray
    explained: np.ndarray


def orbit(
    axes: PrincipalAxes,
    latents: np.ndarray,
    index: pd.DatetimeIndex,
    *,
    trained_until: pd.Timestamp,
    labels: np.ndarray | None = None,
) -> Orbit:
    """Project latents over time.

    Parameters
    ----------
    axes : PrincipalAxes
        Fitted on rows up to ``trained_until``.
    latents : numpy.ndarray, shape (t, ...)
    index : pandas.DatetimeIndex, shape (t,)
    trained_until : pandas.Timestamp
    labels : numpy.ndarray, shape (t,), optional

    Raises
    ------
    InputError
        If the lengths differ.
    """
    points = axes.transform(latents)
    if len(index) != len(points) or (labels is not None and len(labels) != len(points)):
        raise InputError(
            "latents, times and labels do not fit together",
            expected=f"{len(points)} of each",
            got=f"{len(index)} times, {'no' if labels is None else len(labels)} labels",
        )
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return Orbit(
        index=index,
        points=points,
        speed=np.concatenate([np.zeros(min(1, len(points))), steps]),
        labels=labels,
        trained=np.asarray(index <= trained_until),
        explained=axes.explained,
    )


@dataclass(frozen=True, eq=False)
class NeighbourMap:
    """Rows placed so that neighbours stay neighbours: in-sample, for the eye alone.

    Attributes
    ----------
    points : numpy.ndarray, shape (n, 2)
        Distances between far points and sizes of groups mean nothing.
    rows : numpy.ndarray, shape (n,)
        Which latents were placed; evenly thinned if there were more than asked for.
    divergence : float
        Kullback-Leibler divergence reached.
    perplexity : float
    """

    points: np.ndarray
    rows: np.ndarray
    divergence: float
    perplexity: float


def neighbour_map(
    latents: np.ndarray, *, seed: int, perplexity: float = 30.0, most_rows: int = 2000
) -> NeighbourMap:
    """A t-SNE picture of latents. It looks at all rows at once, later ones included.

    Parameters
    ----------
    latents : numpy.ndarray, shape (t, ...)
    seed : int
    perplexity : float
        Neighbours that count, fewer than a third of the rows.
    most_rows : int
        Beyond it rows are thinned evenly.

    Raises
    ------
    DataError
        If there are too few rows for the perplexity, one is not finite, or they do not vary.

    References
    ----------
    van der Maaten & Hinton, Visualizing Data using t-SNE, Journal of Machine Learning Research 9,
    2008.
    """
    values = flat(latents)
    rows = np.unique(np.linspace(0, len(values) - 1, min(len(values), most_rows)).astype(int))
    if perplexity <= 0 or len(rows) <= 3 * perplexity:
        raise DataError(
            "too few latents for a map of neighbours",
            expected=f"more than three times the perplexity, {perplexity:g}, which is positive",
            got=f"{len(rows)} rows",
        )
    if values[rows].var(axis=0).max() <= CONSTANT:
        raise DataError("the latents do not vary, so that there is no map of them")
    model = TSNE(
        perplexity=perplexity,
        init="pca" if values.shape[1] > 1 else "random",
        random_state=stream_seed(seed, "regimes.neighbour_map") % 2**32,
    )
    with threadpool_limits(limits=1):
        points = model.fit_transform(values[rows])
    return NeighbourMap(
        np.asarray(points, dtype=np.float64), rows, float(model.kl_divergence_), perplexity
    )


def flat(latents: np.ndarray) -> np.ndarray:
    """Latents of shape (t, ...) as (t, k), float64, finite.

    Raises
    ------
    DataError
        If there is only one dimension, there are no rows, or a value is not finite.
    """
    values = np.asarray(latents, dtype=np.float64)
    if values.ndim < 2 or not values.size:
        raise DataError("latents need a row per bar", got=f"shape {values.shape}")
    rows = values.reshape(len(values), -1)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise DataError("latents must be finite", got=f"{len(broken)} rows, first {broken[0]}")
    return rows
