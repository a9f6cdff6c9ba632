"""Regimes whose centres follow the market, forgetting exponentially, one bar after the other.

A fit on the training window gives the start. Each bar is first judged by the regimes as they are
and then moves them: of the rows that a regime has taken, one that lies ``half_life_bars`` of its
own bars back counts half. The clock of a regime runs only while it holds, so that a crash cluster
not seen for years stays where it was instead of being built anew from the first bar of the next
crash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.regimes.clustering import COVARIANCE_FLOOR, RegimeClusters
from finchaos.regimes.online_kernels import separations, walk

Form = Literal["kmeans", "diagonal", "full"]
FORMS: tuple[Form, ...] = ("kmeans", "diagonal", "full")

INDISTINCT = 1e-3
"""Two regimes closer than this (Bhattacharyya) are one: nothing keeps their labels apart."""


@dataclass(frozen=True)
class OnlineRule:
    """How regimes follow the market.

    Attributes
    ----------
    form : {"kmeans", "diagonal", "full"}
        What moves, and how a row is shared out. K-Means: the centre of the likeliest regime alone.
        Mixtures: centres and variances (diagonal) or covariances (full), by the probability of
        each regime.
    half_life_bars : float
        Bars spent in a regime after which what it learnt before counts half.
    weight_half_life_bars : float
        The same of the shares of a mixture, in bars of the clock; infinite keeps the shares of the
        training window. K-Means has none.
    least_weight : float
        What no share falls below for good, however long its regime stays away: a crash must stay
        possible. Below one over the number of regimes.
    reach : float
        Rows farther than this from every regime (Mahalanobis) move nothing.
    least_separation : float
        Share of their distance at the start (Bhattacharyya, which goes with the square of the
        centres' distance) below which two regimes have collapsed into one. K-Means notices this
        only where one centre walks onto another: of two clouds that merge it goes on to take the
        halves, which lie nearly as far apart. Where regimes may merge, use a mixture.
    """

    form: Form = "full"
    half_life_bars: float = 500.0
    weight_half_life_bars: float = math.inf
    least_weight: float = 0.01
    reach: float = math.inf
    least_separation: float = 0.25

    def __post_init__(self) -> None:
        sound = (
            self.form in FORMS
            and 0 < self.half_life_bars < math.inf
            and self.weight_half_life_bars > 0
            and (self.form != "kmeans" or self.weight_half_life_bars == math.inf)
            and 0 < self.least_weight < 0.5
            and self.reach > 0
            and 0 <= self.least_separation < 1
        )
        if not sound:
            raise InputError(
                "impossible rule for online regimes",
                expected="form kmeans, diagonal or full, half-lives and reach > 0, "
                "least_weight in (0, 0.5), least_separation in [0, 1), and no half-life of weights "
                "with kmeans",
                got=repr(self),
            )

    @property
    def rate(self) -> float:
        """Weight of a new row in the centre of a regime that takes all of it."""
        return -math.expm1(-math.log(2.0) / self.half_life_bars)


class OnlineRegimes:
    """Regimes that :meth:`step` judges a bar by and then moves.

    The labels keep their meaning: nothing is fitted anew and no regime changes places. Rows given
    one by one leave the very bits that rows given together leave.

    Parameters
    ----------
    clusters : RegimeClusters
        Fitted on the training window.
    rule : OnlineRule

    Raises
    ------
    DataError
        If two of the fitted regimes are the same to begin with.
    InputError
        If the rule's least weight leaves no room for so many regimes.

    References
    ----------
    MacQueen (1967), Some methods for classification and analysis of multivariate observations:
    the step of K-Means, here with a constant rate. Cappé & Moulines (2009), On-line
    expectation-maximization, JRSS B 71(3), section 2: the step of a mixture; here each regime
    forgets by its own clock.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> regime = np.arange(400) % 2
    >>> latents = rng.normal(size=(400, 2)) + 6.0 * regime[:, None]
    >>> returns = 0.01 * (1 + regime) * rng.normal(size=400)
    >>> from finchaos.regimes.clustering import ClusterRule
    >>> clusters = RegimeClusters.fit(latents, returns, ClusterRule(), seed=1)
    >>> live = OnlineRegimes(clusters, OnlineRule(half_life_bars=50))
    >>> [int(live.step(row).argmax()) for row in latents[:4]]
    [0, 1, 0, 1]
    """

    def __init__(self, clusters: RegimeClusters, rule: OnlineRule) -> None:
        self.rule = rule
        self._origin = clusters
        roots = clusters.precision_root
        spread = np.linalg.inv(roots @ roots.transpose(0, 2, 1))
        if rule.form == "diagonal":
            spread = spread * np.eye(spread.shape[1])
        shares = np.exp(clusters.log_weight - np.log(np.abs(np.linalg.det(roots))))
        self._weight = shares / shares.sum()
        self._mean = clusters.mean.copy()
        self._covariance = spread - COVARIANCE_FLOOR * np.eye(spread.shape[1])
        self._start = separations(self._mean, self._covariance, COVARIANCE_FLOOR)
        self._bars = 0
        if rule.least_weight * len(shares) >= 1:
            raise InputError(
                "least_weight is too large for the number of regimes",
                expected=f"below {1 / len(shares):g}",
                got=repr(rule.least_weight),
            )
        apart = self._start[np.triu_indices(len(self._start), 1)]
        if not (apart > INDISTINCT).all():
            raise DataError(
                "two regimes are one to begin with, so that their labels mean nothing",
                expected=f"a Bhattacharyya distance above {INDISTINCT}",
                got=", ".join(f"{value:.2g}" for value in apart),
                remedy="fit on a longer training window or ask for fewer regimes",
            )

    @property
    def bars(self) -> int:
        """Bars judged so far."""
        return self._bars

    def step(self, latent: np.ndarray) -> np.ndarray:
        """Probability of each regime for the next bar, shape (c,); then the regimes move.

        Parameters
        ----------
        latent : numpy.ndarray, shape (k,)

        Raises
        ------
        DataError
            If a value is not finite, or the bar would make two regimes one. The state stays as it
            was before the bar.
        """
        return self.follow(np.asarray(latent)[None])[0]

    def follow(self, latents: np.ndarray) -> np.ndarray:
        """The same of several bars in order, shape (t, c).

        Parameters
        ----------
        latents : numpy.ndarray, shape (t, k)

        Raises
        ------
        DataError
            As :meth:`step`. Rows that are not finite are refused before any is taken; a row that
            makes two regimes one leaves the state of the row before it.
        """
        rows = np.ascontiguousarray(latents, dtype=np.float64)
        width = len(self._origin.center)
        if rows.ndim != 2 or rows.shape[1] != width:
            raise InputError(
                "latents do not fit the regimes", expected=f"(t, {width})", got=str(rows.shape)
            )
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(broken):
            raise DataError("a latent is not finite", got=f"row {broken[0]}")
        found = np.empty((len(rows), len(self._weight)))
        taken = walk(
            rows,
            np.ascontiguousarray(self._origin.center),
            np.ascontiguousarray(self._origin.whitening),
            self._constants(),
            self._start,
            (self._weight, self._mean, self._covariance),
            found,
        )
        self._bars += taken
        if taken < len(rows):
            raise DataError(
                "two regimes have drifted into one",
                expected=f"at least {self.rule.least_separation:g} of their first distance",
                got=f"less at row {taken}",
                remedy="fit anew and align the labels, or keep the regimes as they are",
            )
        return found

    def clusters(self) -> RegimeClusters:
        """The regimes as they are now, for what reads fitted ones, such as distances.

        The volatility is that of the training window.
        """
        lower = np.linalg.cholesky(
            self._covariance + COVARIANCE_FLOOR * np.eye(self._mean.shape[1])
        )
        roots = np.ascontiguousarray(np.linalg.inv(lower).transpose(0, 2, 1))
        return replace(
            self._origin,
            log_weight=np.log(self._weight) + np.log(np.abs(np.linalg.det(roots))),
            mean=self._mean.copy(),
            precision_root=roots,
        )

    def drift(self) -> np.ndarray:
        """How far each centre has moved since the fit, in whitened units, shape (c,)."""
        return np.asarray(np.linalg.norm(self._mean - self._origin.mean, axis=1))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """State and rule as named arrays, from which :meth:`from_arrays` goes on bit for bit."""
        rule = self.rule
        return {
            **{f"origin.{name}": value for name, value in self._origin.to_arrays().items()},
            "weight": self._weight.copy(),
            "mean_now": self._mean.copy(),
            "covariance": self._covariance.copy(),
            "bars": np.array([self._bars]),
            "form": np.array([FORMS.index(rule.form)]),
            "rule": np.array(
                [
                    rule.half_life_bars,
                    rule.weight_half_life_bars,
                    rule.least_weight,
                    rule.reach,
                    rule.least_separation,
                ]
            ),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> OnlineRegimes:
        """The regimes that :meth:`to_arrays` described.

        Raises
        ------
        CheckpointError
            If an array is missing, misshapen or not sound.
        """
        missing = {"weight", "mean_now", "covariance", "bars", "form", "rule"} - set(arrays)
        if missing:
            raise CheckpointError("arrays are missing", got=", ".join(sorted(missing)))
        origin = RegimeClusters.from_arrays(
            {name[7:]: value for name, value in arrays.items() if name.startswith("origin.")}
        )
        try:
            form = FORMS[int(arrays["form"][0])]
            found = cls(origin, OnlineRule(form, *map(float, arrays["rule"])))
        except (IndexError, TypeError, ValueError, InputError) as error:
            raise CheckpointError("the rule of online regimes is damaged") from error
        for own, name in (
            (found._weight, "weight"),
            (found._mean, "mean_now"),
            (found._covariance, "covariance"),
        ):
            if arrays[name].shape != own.shape or not np.isfinite(arrays[name]).all():
                raise CheckpointError("an array of online regimes is damaged", got=name)
            own[...] = arrays[name]
        if not (found._weight > 0).all():
            raise CheckpointError("a share of online regimes is damaged", got=str(found._weight))
        found._bars = int(arrays["bars"][0])
        return found

    def _constants(self) -> np.ndarray:
        rule = self.rule
        return np.array(
            [
                self._origin.temperature,
                math.log(2.0) / rule.half_life_bars,
                -math.expm1(-math.log(2.0) / rule.weight_half_life_bars),
                float(FORMS.index(rule.form)),
                rule.reach**2,
                rule.least_separation,
                COVARIANCE_FLOOR,
                rule.least_weight,
            ]
        )
