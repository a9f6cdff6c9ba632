"""Markov-switching returns: Gaussian or Student t in every regime, with Merton's jumps.

In regime k a bar of dt years moves the log price by

    log_drift dt + volatility sqrt(dt) e + (sum of N jumps) - compensation dt

where e has mean 0 and variance 1, N is Poisson with mean jump_intensity dt and a jump is normal
with mean jump_mean and deviation jump_sd.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from finchaos.core.bars import Provenance
from finchaos.core.errors import InputError
from finchaos.core.provenance import digest
from finchaos.markets.simulate.bridge import bar_range
from finchaos.markets.simulate.labelled import SimulatedPaths, volumes
from finchaos.markets.simulate.markov_chain import (
    checked_transition,
    draw_regimes,
    stationary_law,
)


@dataclass(frozen=True)
class ReturnRegime:
    """How returns are drawn while a regime lasts; rates are annual.

    Attributes
    ----------
    log_drift : float
        Mean of the log return per year, jumps aside.
    volatility : float
        Standard deviation of the log return per root year, jumps aside; non-negative.
    degrees_of_freedom : float or None
        Of Student's t, above 2; scaled, so that ``volatility`` keeps its meaning. None: Gaussian.
    jump_intensity : float
        Expected jumps per year, non-negative.
    jump_mean, jump_sd : float
        Of the jump in the log price; ``jump_sd`` non-negative.
    compensated : bool
        Whether the drift takes back the growth that jumps add to the expected price,
        jump_intensity (exp(jump_mean + jump_sd^2 / 2) - 1) per year.
    """

    log_drift: float
    volatility: float
    degrees_of_freedom: float | None = None
    jump_intensity: float = 0.0
    jump_mean: float = 0.0
    jump_sd: float = 0.0
    compensated: bool = True

    def __post_init__(self) -> None:
        values = (self.log_drift, self.volatility, self.jump_intensity, self.jump_mean)
        freedom = self.degrees_of_freedom
        sound = (
            bool(np.isfinite([*values, self.jump_sd]).all())
            and min(self.volatility, self.jump_intensity, self.jump_sd) >= 0
            and (freedom is None or (np.isfinite(freedom) and freedom > 2))
        )
        if not sound:
            raise InputError(
                "impossible regime of returns",
                expected="finite values; volatility, jump intensity and deviation >= 0; degrees "
                "of freedom > 2",
                got=repr(self),
            )

    @property
    def compensation(self) -> float:
        """What the drift takes back per year."""
        growth = np.expm1(self.jump_mean + 0.5 * self.jump_sd**2)
        return self.jump_intensity * float(growth) if self.compensated else 0.0

    @property
    def mean(self) -> float:
        """Mean of the log return per year."""
        return self.log_drift - self.compensation + self.jump_intensity * self.jump_mean

    @property
    def variance(self) -> float:
        """Variance of the log return per year, jumps included."""
        return self.volatility**2 + self.jump_intensity * (self.jump_mean**2 + self.jump_sd**2)


@dataclass(frozen=True)
class SwitchingConfig:
    """A market that switches between regimes of returns.

    Attributes
    ----------
    regimes : tuple of ReturnRegime
        Calmest first, as labels count.
    transition : tuple of tuple of float
        Probabilities of the next bar's regime; rows are the present one.
    initial_price : float
    initial_regime : int or None
        None draws it from the chain's stationary law.
    bars_per_year : float
    substeps : int
        Steps within a bar that its range is measured over, with Brownian bridges between them.
    typical_volume : float
        Median volume of a bar of the calmest regime.
    """

    regimes: tuple[ReturnRegime, ...]
    transition: tuple[tuple[float, ...], ...]
    initial_price: float = 100.0
    initial_regime: int | None = None
    bars_per_year: float = 252.0
    substeps: int = 8
    typical_volume: float = 1e6

    def __post_init__(self) -> None:
        positive = (self.initial_price, self.bars_per_year, self.typical_volume)
        sound = (
            len(self.regimes) >= 1
            and bool(np.isfinite(positive).all())
            and min(positive) > 0
            and self.substeps >= 1
            and (self.initial_regime is None or 0 <= self.initial_regime < len(self.regimes))
        )
        if not sound:
            raise InputError(
                "impossible switching market",
                expected="a regime or more, positive price, bars per year and volume, "
                "substeps >= 1 and an existing regime to start from",
                got=repr(self),
            )
        matrix = checked_transition(self.transition, len(self.regimes))
        if self.initial_regime is None:
            stationary_law(matrix)

    @property
    def matrix(self) -> np.ndarray:
        """The transition matrix, shape (k, k)."""
        return np.array(self.transition)

    @property
    def stationary(self) -> np.ndarray:
        """Long-run share of bars in each regime, shape (k,)."""
        return stationary_law(self.matrix)


def hardy(days_per_month: int = 21) -> SwitchingConfig:
    """Hardy's two Gaussian regimes of the Toronto index 1956-1999, scaled from months to days.

    Means are divided by the days of a month, deviations by their root, and the daily chain is the
    root of the monthly one, so that a month's transition is Hardy's own.

    Raises
    ------
    InputError
        If a month has no day.

    References
    ----------
    Hardy (2001), North American Actuarial Journal 5(2): monthly means 0.0123 and -0.0157,
    deviations 0.0347 and 0.0778, probabilities of change 0.0371 and 0.2101.

    Examples
    --------
    >>> hardy().stationary.round(3).tolist()
    [0.85, 0.15]
    """
    if days_per_month < 1:
        raise InputError("a month needs a day", expected=">= 1", got=str(days_per_month))
    months, up, down = 12.0, 0.0371, 0.2101
    kept = (1.0 - up - down) ** (1.0 / days_per_month)
    leave_calm, leave_stress = ((1.0 - kept) * p / (up + down) for p in (up, down))
    return SwitchingConfig(
        regimes=(
            ReturnRegime(0.0123 * months, 0.0347 * months**0.5),
            ReturnRegime(-0.0157 * months, 0.0778 * months**0.5),
        ),
        transition=((1.0 - leave_calm, leave_calm), (leave_stress, 1.0 - leave_stress)),
        bars_per_year=months * days_per_month,
    )


def simulate(
    config: SwitchingConfig,
    n_paths: int,
    n_bars: int,
    rng: np.random.Generator,
    *,
    seed: int | None = None,
) -> SimulatedPaths:
    """Draw independent paths; the law of closes is exact, whatever the substeps.

    Jumps of a bar fall right after its open. A bar of Student's t draws one variance and moves by
    Brownian steps within it.

    Parameters
    ----------
    config : SwitchingConfig
    n_paths, n_bars : int
        At least 1. With as many paths, the first bars do not depend on ``n_bars``.
    rng : numpy.random.Generator
        A named stream; chain, moves, jumps, ranges and volumes draw from generators it spawns.
    seed : int, optional
        The stream's root seed, for the provenance.

    Raises
    ------
    InputError
        If there is nothing to draw.

    References
    ----------
    Hamilton (1989), Econometrica 57(2); Merton (1976), Journal of Financial Economics 3(1).

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> paths = simulate(hardy(), 2, 5, random_stream(7, "example"), seed=7)
    >>> paths.close.shape, len(paths.labelled(1).bars)
    ((2, 5), 5)
    """
    if n_paths < 1 or n_bars < 1:
        raise InputError(
            "nothing to simulate", expected="n_paths >= 1, n_bars >= 1", got=f"{n_paths}, {n_bars}"
        )
    shape = (n_bars, n_paths)
    for_chain, for_moves, for_mixing, for_jumps, for_ranges, for_volume = rng.spawn(6)
    regime = _regimes(config, shape, for_chain)
    law = _Law(config)
    spread = law.diffusive[regime] * _mixing(law.freedom[regime], for_mixing) / config.substeps
    steps = for_moves.standard_normal((*shape, config.substeps))
    moves = np.moveaxis(steps, -1, 0) * np.sqrt(spread) + law.drift[regime] / config.substeps
    jump = _jumps(law, regime, for_jumps)
    total = moves.sum(axis=0) + jump
    last = np.log(config.initial_price) + np.cumsum(total, axis=0)
    first = np.vstack([np.full(n_paths, np.log(config.initial_price)), last[:-1]])
    tail = np.moveaxis(np.log1p(-for_ranges.random((*shape, config.substeps, 2))), (2, 3), (0, 1))
    high, low, _ = bar_range(first + jump, moves, spread, tail)
    variance = law.variance[regime]
    level = variance / law.calm_variance
    volume = volumes(config.typical_volume, level, for_volume.standard_normal(shape))
    prices = {
        "open": first,
        "high": np.maximum(high, np.maximum(first, last)),
        "low": np.minimum(low, np.minimum(first, last)),
        "close": last,
    }
    return SimulatedPaths(
        **{name: np.ascontiguousarray(np.exp(values).T) for name, values in prices.items()},
        volume=np.ascontiguousarray(volume.T),
        variance=np.ascontiguousarray(variance.T),
        regime=np.ascontiguousarray(regime.T),
        symbol="SWITCHING",
        bars_per_year=config.bars_per_year,
        provenance=_provenance(config, seed),
    )


class _Law:
    """Constants of a bar by regime; arrays of shape (k,)."""

    def __init__(self, config: SwitchingConfig) -> None:
        dt = 1.0 / config.bars_per_year
        regimes = config.regimes
        self.drift = np.array([(r.log_drift - r.compensation) * dt for r in regimes])
        self.diffusive = np.array([r.volatility**2 * dt for r in regimes])
        self.variance = np.array([r.variance for r in regimes])
        self.calm_variance = self.variance[0] if self.variance[0] > 0 else 1.0
        self.freedom = np.array([r.degrees_of_freedom or np.inf for r in regimes])
        self.jumps = np.array([r.jump_intensity * dt for r in regimes])
        self.jump_mean = np.array([r.jump_mean for r in regimes])
        self.jump_sd = np.array([r.jump_sd for r in regimes])


def _regimes(
    config: SwitchingConfig, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    uniform = rng.random(shape)
    if config.initial_regime is None:
        edges = np.cumsum(config.stationary)[:-1]
        first = np.searchsorted(edges, uniform[0], side="right")
    else:
        first = np.full(shape[1], config.initial_regime)
    return draw_regimes(config.matrix, first, uniform)


def _mixing(freedom: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Variances with mean 1 that make normal moves those of Student's t."""
    heavy = np.isfinite(freedom)
    if not heavy.any():
        return np.ones(freedom.shape)
    nu = np.where(heavy, freedom, 3.0)
    return np.where(heavy, (nu - 2.0) / rng.chisquare(nu), 1.0)


def _jumps(law: _Law, regime: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sum of the bar's jumps in the log price; zero where there is none."""
    if not law.jumps.any():
        return np.zeros(regime.shape)
    for_count, for_size = rng.spawn(2)
    count = for_count.poisson(law.jumps[regime])
    size = for_size.standard_normal(regime.shape)
    return count * law.jump_mean[regime] + np.sqrt(count) * law.jump_sd[regime] * size


def _provenance(config: SwitchingConfig, seed: int | None) -> Provenance:
    law = {**asdict(config), "transition": [list(row) for row in config.transition]}
    law["regimes"] = list(law["regimes"])
    return Provenance(
        "finchaos regime-switching returns simulator",
        kind="simulated",
        seed=seed,
        notes=(f"parameters {digest(law)[:16]}",),
    )
