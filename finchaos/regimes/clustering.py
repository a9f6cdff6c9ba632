"""Clusters of latents, fitted on training rows alone and ordered by the volatility inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from finchaos.core.errors import CheckpointError, DataError, InputError

Method = Literal["gmm", "kmeans"]

LEAST_VARIANCE = 0.05
"""Principal directions with less than this share of the largest one's variance form no regimes."""
NO_VARIANCE = 1e-6
"""Directions with less than this share are constant and left out altogether."""
COVARIANCE_FLOOR = 1e-3
"""Added to the diagonal of covariances of whitened latents, whose own scale is one."""


@dataclass(frozen=True)
class ClusterRule:
    """How regimes are found among latents.

    Attributes
    ----------
    method : {"gmm", "kmeans"}
        Gaussian mixture with full covariances, or K-Means read as a mixture of equal balls.
    count : int
        Regimes, at least 2.
    temperature : float
        Log probabilities are divided by it; above 1 softens them.
    volatility_ratio : float
        Neighbouring regimes must differ in realised volatility by at least this factor.
    least_share : float
        Share of the training rows that every regime must hold.
    restarts : int
        Initialisations, of which the best is kept.
    """

    method: Method = "gmm"
    count: int = 2
    temperature: float = 1.0
    volatility_ratio: float = 1.2
    least_share: float = 0.02
    restarts: int = 4

    def __post_init__(self) -> None:
        sound = (
            self.method in ("gmm", "kmeans")
            and self.count >= 2
            and 0 < self.temperature < np.inf
            and 1 < self.volatility_ratio < np.inf
            and 0 <= self.least_share < 1 / self.count
            and self.restarts >= 1
        )
        if not sound:
            raise InputError(
                "impossible rule for regimes",
                expected="method gmm or kmeans, count >= 2, temperature > 0, "
                "volatility_ratio > 1, least_share in [0, 1 / count), restarts >= 1",
                got=repr(self),
            )


@dataclass(frozen=True, eq=False)
class RegimeClusters:
    """Gaussian regimes among whitened latents; regime 0 is the calmest.

    Attributes
    ----------
    center : numpy.ndarray, shape (k,)
        Mean of the training latents.
    whitening : numpy.ndarray, shape (k, w)
        Latents less ``center``, times this, have unit covariance over the training rows. It keeps
        the principal directions that vary much; regimes lie among these.
    residual : numpy.ndarray, shape (k, r)
        The same for the other directions. A bar may leave the training rows in one of them, so
        that they count in :meth:`distance`.
    log_weight : numpy.ndarray, shape (c,)
        Log of each regime's share, with the normalisation of its Gaussian.
    mean : numpy.ndarray, shape (c, w)
    precision_root : numpy.ndarray, shape (c, w, w)
        ``(x - mean) @ precision_root`` has unit covariance within a regime.
    volatility : numpy.ndarray, shape (c,)
        Realised volatility per bar of the training rows in each regime, rising.
    temperature : float
    """

    center: np.ndarray
    whitening: np.ndarray
    residual: np.ndarray
    log_weight: np.ndarray
    mean: np.ndarray
    precision_root: np.ndarray
    volatility: np.ndarray
    temperature: float

    @classmethod
    def fit(
        cls, latents: np.ndarray, log_returns: np.ndarray, rule: ClusterRule, *, seed: int
    ) -> RegimeClusters:
        """Regimes of training rows.

        Parameters
        ----------
        latents : numpy.ndarray, shape (t, k)
        log_returns : numpy.ndarray, shape (t,)
            Return of each bar; it decides the order of the regimes and nothing else.
        rule : ClusterRule
        seed : int
            Of the initialisations.

        Raises
        ------
        DataError
            If the latents do not vary, a regime holds too few rows, or two regimes do not differ
            enough in volatility to say which is the calmer one.
        """
        center, whitening, residual = principal_whitening(latents)
        whitened = (latents - center) @ whitening
        weight, mean, root = fit_mixture(whitened, rule, seed)
        log_weight = np.log(weight) + np.log(np.abs(np.linalg.det(root)))
        found = cls(
            center=center,
            whitening=whitening,
            residual=residual,
            log_weight=log_weight,
            mean=mean,
            precision_root=root,
            volatility=np.zeros(rule.count),
            temperature=rule.temperature,
        )
        labels = found.log_scores(latents).argmax(axis=1)
        order, volatility = _ordered(labels, log_returns, rule)
        return replace(
            found,
            log_weight=log_weight[order],
            mean=mean[order],
            precision_root=root[order],
            volatility=volatility,
        )

    def _standardised(self, latents: np.ndarray) -> np.ndarray:
        """Distance vectors to each regime in its own units, shape (t, c, w).

        Every product is that of one row with a matrix, so that a row's bits do not depend on how
        many rows there are.
        """
        whitened = np.matmul((latents - self.center)[:, None, :], self.whitening)
        away: np.ndarray = np.matmul((whitened - self.mean)[:, :, None, :], self.precision_root)
        return away[:, :, 0, :]

    def squared_distances(self, latents: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance to each regime, shape (t, c)."""
        away = self._standardised(latents)
        squares: np.ndarray = np.matmul(away[:, :, None, :], away[:, :, :, None])[:, :, 0, 0]
        return squares

    def squared_center_distances(self, latents: np.ndarray) -> np.ndarray:
        """Squared Euclidean distance to each centre among whitened latents, shape (t, c)."""
        whitened = np.matmul((latents - self.center)[:, None, :], self.whitening)
        away = (whitened - self.mean)[:, :, None, :]
        squares: np.ndarray = np.matmul(away, away.transpose(0, 1, 3, 2))[:, :, 0, 0]
        return squares

    def coordinates(self, latents: np.ndarray) -> np.ndarray:
        """All principal directions that vary, each of unit variance over training, shape (t, m)."""
        axes = np.hstack([self.whitening, self.residual])
        along: np.ndarray = np.matmul((latents - self.center)[:, None, :], axes)[:, 0, :]
        return along

    def log_scores(self, latents: np.ndarray) -> np.ndarray:
        """Log of weight times density of each regime, up to a constant, shape (t, c)."""
        return self.log_weight - 0.5 * self.squared_distances(latents)

    def probabilities(self, latents: np.ndarray) -> np.ndarray:
        """Probability of each regime, tempered, shape (t, c); rows sum to one."""
        scores = self.log_scores(latents) / self.temperature
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        total = shares[:, :1].copy()
        for column in range(1, shares.shape[1]):
            total += shares[:, column : column + 1]
        return shares / total

    def distance(self, latents: np.ndarray) -> np.ndarray:
        """How unlike training each row is, shape (t,).

        Mahalanobis distance to the nearest regime, and in the directions that form no regimes
        from the centre of all training rows.
        """
        rest = np.matmul((latents - self.center)[:, None, :], self.residual)
        squares = np.matmul(rest, rest.transpose(0, 2, 1))[:, 0, 0]
        return np.sqrt(self.squared_distances(latents).min(axis=1) + squares)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The regimes as named arrays, for a checkpoint."""
        arrays = {name: getattr(self, name).copy() for name in _ARRAYS}
        return {**arrays, "temperature": np.array([self.temperature])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> RegimeClusters:
        """The regimes that :meth:`to_arrays` described.

        Raises
        ------
        CheckpointError
            If an array is missing, misshapen or not finite.
        """
        missing = {*_ARRAYS, "temperature"} - set(arrays)
        if missing:
            raise CheckpointError("arrays of regimes are missing", got=", ".join(sorted(missing)))
        values = {name: np.array(arrays[name], dtype=np.float64) for name in _ARRAYS}
        k, w = values["whitening"].shape
        c = len(values["log_weight"])
        r = values["residual"].shape[-1]
        shapes = {
            "center": (k,),
            "residual": (k, r),
            "mean": (c, w),
            "precision_root": (c, w, w),
            "volatility": (c,),
        }
        wrong = [name for name, shape in shapes.items() if values[name].shape != shape]
        wrong += [name for name, array in values.items() if not np.isfinite(array).all()]
        if wrong:
            raise CheckpointError("arrays of regimes are damaged", got=", ".join(wrong))
        return cls(**values, temperature=float(arrays["temperature"][0]))


_ARRAYS = ("center", "whitening", "residual", "log_weight", "mean", "precision_root", "volatility")


def principal_whitening(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, and principal axes over their standard deviations: large ones, then small ones.

    Parameters
    ----------
    latents : numpy.ndarray, shape (t, k)
        Training rows.

    Raises
    ------
    DataError
        If there are fewer than two rows, one is not finite, or they do not vary.
    """
    if len(latents) < 2 or not np.isfinite(latents).all():
        raise DataError("regimes need finite training latents", got=f"{len(latents)} rows")
    center = latents.mean(axis=0)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(latents.T)))
    largest = float(variances.max())
    if largest <= 1e-12:
        raise DataError("the training latents do not vary, so that no regimes can be found")
    # The sign of an axis is arbitrary; fix it, so that results do not depend on the library.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    varies = variances > NO_VARIANCE * largest
    axes[:, varies] /= np.sqrt(variances[varies])
    kept = variances > LEAST_VARIANCE * largest
    return (
        center,
        np.ascontiguousarray(axes[:, kept]),
        np.ascontiguousarray(axes[:, varies & ~kept]),
    )


Mixture = tuple[np.ndarray, np.ndarray, np.ndarray]


def _gaussian_mixture(whitened: np.ndarray, rule: ClusterRule, seed: int) -> Mixture:
    model = GaussianMixture(
        rule.count,
        covariance_type="full",
        reg_covar=COVARIANCE_FLOOR,
        n_init=rule.restarts,
        max_iter=500,
        random_state=seed,
    ).fit(whitened)
    return model.weights_, model.means_, np.ascontiguousarray(model.precisions_cholesky_)


def _k_means(whitened: np.ndarray, rule: ClusterRule, seed: int) -> Mixture:
    model = KMeans(rule.count, n_init=rule.restarts, random_state=seed).fit(whitened)
    within = np.sqrt(model.inertia_ / whitened.size + COVARIANCE_FLOOR)
    root = np.eye(whitened.shape[1]) / within
    equal = np.full(rule.count, 1.0 / rule.count)
    return equal, model.cluster_centers_, np.repeat(root[None], rule.count, axis=0)


_FITS = {"gmm": _gaussian_mixture, "kmeans": _k_means}


def fit_mixture(whitened: np.ndarray, rule: ClusterRule, seed: int) -> Mixture:
    """Shares, shape (c,), means, (c, w), and precision roots, (c, w, w), of whitened rows."""
    with threadpool_limits(limits=1):
        return _FITS[rule.method](whitened, rule, seed % 2**32)


def _ordered(
    labels: np.ndarray, log_returns: np.ndarray, rule: ClusterRule
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster numbers from the calmest to the most volatile, and their volatilities."""
    held = np.bincount(labels, minlength=rule.count)
    if held.min() < max(2, rule.least_share * len(labels)):
        raise DataError(
            "a regime holds too few training rows",
            expected=f"at least {max(2.0, rule.least_share * len(labels)):.0f} rows in each",
            got=", ".join(map(str, sorted(held))),
            remedy="train on a longer history or ask for fewer regimes",
        )
    squares = np.bincount(labels, weights=log_returns**2, minlength=rule.count)
    volatility = np.sqrt(squares / held)
    order = np.argsort(volatility, kind="stable")
    rising = volatility[order]
    if (rising[1:] < rule.volatility_ratio * rising[:-1]).any() or rising[-1] == 0.0:
        raise DataError(
            "the regimes cannot be ordered by volatility",
            expected=f"each at least {rule.volatility_ratio:g} times as volatile as the one before",
            got=", ".join(f"{value:.6f}" for value in rising) + " per bar",
            remedy="the training window may hold one regime only: train on a longer history",
        )
    return order, rising
