"""Heston's stochastic volatility with Markov-switching parameters.

Within regime k the spot price S and its variance v follow

    dS / S = drift_k dt + sqrt(v) dW_s
    dv     = kappa_k (theta_k - v) dt + vol_of_vol_k sqrt(v) dW_v,   d<W_s, W_v> = rho_k dt

and the regime is a Markov chain that may change between bars. The variance is continuous through
a change of regime: only the level it is drawn to, the speed and the noise change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.bars import Bars, Provenance
from finchaos.core.errors import InputError
from finchaos.core.provenance import digest
from finchaos.markets.sessions import regular_closes
from finchaos.markets.simulate.bridge import bridge_extremes
from finchaos.markets.simulate.heston_schemes import (
    FULL_TRUNCATION,
    LAW,
    QUADRATIC_EXPONENTIAL,
    step_for,
)
from finchaos.markets.simulate.labelled import FIRST_DAY, LabelledBars, switches, volumes

SCHEMES = {
    FULL_TRUNCATION: "full truncation Euler",
    QUADRATIC_EXPONENTIAL: "quadratic-exponential",
}
"""The schemes by name, and how a provenance note calls them."""


@dataclass(frozen=True)
class HestonRegime:
    """Parameters while one regime lasts; rates and variances are annual.

    Attributes
    ----------
    kappa : float
        Speed of mean reversion of the variance, per year, positive.
    theta : float
        Level the variance is drawn to, positive; 0.04 is a volatility of 20 %.
    vol_of_vol : float
        Volatility of variance, non-negative.
    rho : float
        Correlation of price and variance, in [-1, 1].
    drift : float
        Expected simple return of the price per year.
    mean_stay_bars : float
        Expected length of a spell of this regime, at least one bar.
    """

    kappa: float
    theta: float
    vol_of_vol: float
    rho: float
    drift: float
    mean_stay_bars: float

    def __post_init__(self) -> None:
        values = np.array([*(getattr(self, name) for name in LAW), self.mean_stay_bars])
        sound = (
            np.isfinite(values).all()
            and self.kappa > 0
            and self.theta > 0
            and self.vol_of_vol >= 0
            and -1 <= self.rho <= 1
            and self.mean_stay_bars >= 1
        )
        if not sound:
            raise InputError(
                "impossible Heston parameters",
                expected="finite values, kappa > 0, theta > 0, vol_of_vol >= 0, |rho| <= 1, "
                "mean_stay_bars >= 1",
                got=repr(self),
            )

    @property
    def feller(self) -> bool:
        """Whether the exact variance never reaches zero (Feller: 2 kappa theta > vol_of_vol^2)."""
        return 2.0 * self.kappa * self.theta > self.vol_of_vol**2


CALM = HestonRegime(3.0, 0.02, 0.3, -0.7, 0.08, 250.0)
STRESSED = HestonRegime(3.0, 0.16, 0.9, -0.7, -0.25, 60.0)


@dataclass(frozen=True)
class HestonConfig:
    """A switching Heston market.

    Attributes
    ----------
    regimes : tuple of HestonRegime
        Calmest first, as labels count. A regime that ends is followed by any of the others with
        equal probability.
    initial_price : float
    initial_variance : float or None
        Annual. None draws it from the stationary law of the first bar's regime, a gamma.
    initial_regime : int or None
        None draws it from the chain's stationary law.
    bars_per_year : float
    substeps : int
        Steps within a bar. Highs and lows are extremes over these steps and of Brownian
        bridges between them.
    typical_volume : float
        Median volume of a bar whose variance is the calm regime's theta.
    scheme : {"full_truncation", "quadratic_exponential"}
        Euler's scheme, as the reference networks were trained on; or Andersen's, which stays
        unbiased with coarse steps and where the variance often touches zero.
    """

    regimes: tuple[HestonRegime, ...] = (CALM, STRESSED)
    initial_price: float = 100.0
    initial_variance: float | None = None
    initial_regime: int | None = None
    bars_per_year: float = 252.0
    substeps: int = 8
    typical_volume: float = 1e6
    scheme: str = FULL_TRUNCATION

    def __post_init__(self) -> None:
        positive = (self.initial_price, self.bars_per_year, self.typical_volume)
        sound = (
            len(self.regimes) >= 1
            and bool(np.isfinite(positive).all())
            and min(positive) > 0
            and self.substeps >= 1
            and (self.initial_variance is None or 0 <= self.initial_variance < np.inf)
            and (self.initial_regime is None or 0 <= self.initial_regime < len(self.regimes))
        )
        if not sound:
            raise InputError(
                "impossible Heston market",
                expected="a regime or more, positive price, bars per year and volume, "
                "substeps >= 1, a variance >= 0 and an existing regime to start from",
                got=repr(self),
            )
        if self.scheme not in SCHEMES:
            raise InputError(
                "unknown scheme of simulation",
                expected=" or ".join(SCHEMES),
                got=repr(self.scheme),
            )

    @property
    def dt(self) -> float:
        """Length of a step within a bar, in years."""
        return 1.0 / (self.bars_per_year * self.substeps)

    @property
    def transition(self) -> np.ndarray:
        """Probabilities of the next bar's regime, shape (k, k); rows are today's regime."""
        count = len(self.regimes)
        if count == 1:
            return np.ones((1, 1))
        leave = np.array([1.0 / regime.mean_stay_bars for regime in self.regimes])
        matrix = np.repeat(leave[:, None] / (count - 1), count, axis=1)
        np.fill_diagonal(matrix, 1.0 - leave)
        return matrix

    @property
    def stationary(self) -> np.ndarray:
        """Long-run share of bars in each regime, shape (k,).

        The jump chain is uniform over the other regimes, so that every regime is entered equally
        often and shares are proportional to mean stays.
        """
        stays = np.array([regime.mean_stay_bars for regime in self.regimes])
        return stays / stays.sum()


@dataclass(frozen=True, eq=False)
class HestonPaths:
    """Simulated bars and the truth behind them; every array has shape (paths, bars).

    Attributes
    ----------
    open, high, low, close, volume : numpy.ndarray
        Each bar opens where the one before it closed; the first at the initial price.
    variance : numpy.ndarray
        Annual spot variance at the bar's close, truncated at zero.
    regime : numpy.ndarray, int64
        The regime whose parameters moved the bar.
    config : HestonConfig
    seed : int or None
        Recorded seed, where the caller named it.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    variance: np.ndarray
    regime: np.ndarray
    config: HestonConfig
    seed: int | None = None

    def bars(self, path: int) -> Bars:
        """One path as Bars, on weekdays from 2000-01-03 that close at 16:00 New York time."""
        config = self.config
        law = [vars(regime) for regime in config.regimes]
        return Bars(
            index=regular_closes(FIRST_DAY, self.close.shape[1], config.bars_per_year),
            open=self.open[path],
            high=self.high[path],
            low=self.low[path],
            close=self.close[path],
            volume=self.volume[path],
            symbol="HESTON",
            bars_per_year=config.bars_per_year,
            provenance=Provenance(
                "finchaos switching Heston simulator",
                kind="simulated",
                seed=self.seed,
                notes=(
                    f"path {path}",
                    f"{SCHEMES[config.scheme]}, {config.substeps} steps a bar",
                    f"parameters {digest(law)[:16]}",
                ),
            ),
        )

    def labelled(self, path: int) -> LabelledBars:
        """One path as Bars, with regimes, variances and the points where the regime switched."""
        regime = self.regime[path]
        return LabelledBars(self.bars(path), regime, self.variance[path], switches(regime))


def simulate(
    config: HestonConfig,
    n_paths: int,
    n_bars: int,
    rng: np.random.Generator,
    *,
    seed: int | None = None,
) -> HestonPaths:
    """Draw independent paths by the scheme that the market names.

    Parameters
    ----------
    config : HestonConfig
    n_paths, n_bars : int
        At least 1. With as many paths, the first bars do not depend on ``n_bars``.
    rng : numpy.random.Generator
        A named stream, see :func:`finchaos.core.provenance.random_stream`.
    seed : int, optional
        The stream's root seed, for the provenance.

    Raises
    ------
    InputError
        If there is nothing to draw.

    References
    ----------
    Heston (1993), Review of Financial Studies 6(2), eq. 1-4. Lord, Koekkoek and van Dijk (2010),
    Quantitative Finance 10(2), table 1, "full truncation". Andersen (2008), Journal of
    Computational Finance 11(3), "QE-M".

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> paths = simulate(HestonConfig(), 2, 5, random_stream(7, "example"), seed=7)
    >>> paths.close.shape, len(paths.bars(1))
    ((2, 5), 5)
    """
    if n_paths < 1 or n_bars < 1:
        raise InputError(
            "nothing to simulate", expected="n_paths >= 1, n_bars >= 1", got=f"{n_paths}, {n_bars}"
        )
    state = _State(config, n_paths, rng)
    # Bars first: one bar of all paths lies together in memory while it is written.
    out = {name: np.empty((n_bars, n_paths)) for name in ("open", "high", "low", "close")}
    variance, volume = np.empty((n_bars, n_paths)), np.empty((n_bars, n_paths))
    regime = np.empty((n_bars, n_paths), dtype=np.int64)
    for bar in range(n_bars):
        if bar:
            state.switch()
        prices = state.advance()
        for name, values in zip(out, prices, strict=True):
            out[name][bar] = values
        variance[bar] = np.maximum(state.variance, 0.0)
        volume[bar] = state.traded()
        regime[bar] = state.regime
    ranges = {name: np.ascontiguousarray(np.exp(values).T) for name, values in out.items()}
    return HestonPaths(
        **ranges,
        volume=np.ascontiguousarray(volume.T),
        variance=np.ascontiguousarray(variance.T),
        regime=np.ascontiguousarray(regime.T),
        config=config,
        seed=seed,
    )


class _State:
    """All paths at one moment; every array has shape (paths,)."""

    def __init__(self, config: HestonConfig, n_paths: int, rng: np.random.Generator) -> None:
        self.config, self.rng, self.n_paths = config, rng, n_paths
        self._step = step_for(config.scheme, config.regimes, config.dt)
        self._cumulative = np.cumsum(config.transition, axis=1)
        self.regime, self.variance = initial_state(config, n_paths, rng)
        self.log_price = np.full(n_paths, np.log(config.initial_price))

    def switch(self) -> None:
        """Draw the next bar's regime."""
        uniform = self.rng.random(self.n_paths)
        edges = self._cumulative[self.regime, :-1]
        self.regime = (uniform[:, None] >= edges).sum(axis=1)

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Move through one bar; its log open, high, low and close."""
        steps = self.config.substeps
        normal = self.rng.standard_normal((steps, 2, self.n_paths))
        tail = np.log1p(-self.rng.random((steps, 2, self.n_paths)))
        first = self.log_price
        high, low = first, first
        for k in range(steps):
            start = self.log_price
            end, self.variance, spread = self._step(self.regime, start, self.variance, normal[k])
            top, bottom = bridge_extremes(start, end, spread, tail[k])
            high, low = np.maximum(high, top), np.minimum(low, bottom)
            self.log_price = end
        last = self.log_price
        return (
            first,
            np.maximum(high, np.maximum(first, last)),
            np.minimum(low, np.minimum(first, last)),
            last,
        )

    def traded(self) -> np.ndarray:
        """Volume of the bar: log-normal, rising with volatility."""
        noise = self.rng.standard_normal(self.n_paths)
        level = np.maximum(self.variance, 0.0) / self.config.regimes[0].theta
        return volumes(self.config.typical_volume, level, noise)


def initial_state(
    config: HestonConfig, n_paths: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Regime and variance before the first bar, shape (p,) each."""
    if config.initial_regime is None:
        edges = np.cumsum(config.stationary)
        regime = np.searchsorted(edges[:-1], rng.random(n_paths), side="right")
    else:
        regime = np.full(n_paths, config.initial_regime)
    if config.initial_variance is not None:
        return regime, np.full(n_paths, config.initial_variance)
    law = {name: np.array([vars(one)[name] for one in config.regimes]) for name in LAW}
    kappa, theta, xi = (law[name][regime] for name in ("kappa", "theta", "vol_of_vol"))
    quiet = xi == 0
    scale = np.where(quiet, 1.0, xi) ** 2 / (2.0 * kappa)
    drawn = rng.gamma(np.where(quiet, 1.0, theta / scale), scale)
    return regime, np.where(quiet, theta, drawn)
