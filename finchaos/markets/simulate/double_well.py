"""A market that tips: a double-well system whose calm attractor disappears as a parameter drifts.

    dx = (x - x^3 + mu(t)) dt + noise dW

With |mu| below 2 / (3 sqrt 3) there are two attractors, the real roots of x - x^3 + mu on both
sides of a saddle. As mu rises past that value the lower attractor and the saddle meet in a fold
and vanish, and x falls to the upper one. x sets the volatility of the market: the lower attractor
at mu = 0, x = -1, is calm, the upper, x = 1, volatile.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from finchaos.core.bars import BAR_FIELDS, Provenance
from finchaos.core.errors import InputError
from finchaos.core.provenance import digest
from finchaos.markets.simulate.bridge import bridge_extremes
from finchaos.markets.simulate.labelled import SimulatedPaths, volumes

FOLD = 2.0 / (3.0 * np.sqrt(3.0))
"""The mu at which an attractor and the saddle meet."""
_EDGE = 1.0 / np.sqrt(3.0)
"""They meet at x = -1 / sqrt 3 as mu rises, at +1 / sqrt 3 as it falls."""
_LARGEST_STEP = 0.25
"""Euler's scheme of x - x^3 is stable for |x| up to 2 with steps below about 0.36."""


@dataclass(frozen=True)
class DoubleWellConfig:
    """A tipping market.

    Attributes
    ----------
    mu_start, mu_end : float
        The parameter at the first bar's open and the last bar's close; it drifts evenly. Equal
        values keep it fixed.
    noise : float
        Of x, per root unit of its time; non-negative.
    time_per_bar : float
        Units of x's time that pass in a bar; x relaxes in about half a unit near -1.
    substeps : int
        Euler steps in a bar; a step must not exceed a quarter of a unit.
    start_at : {"lower", "upper"}
        The attractor of ``mu_start`` that x begins at.
    calm_volatility, volatile_volatility : float
        Annual volatility at x = -1 and at x = 1; its logarithm is linear in x.
    drift : float
        Expected simple return of the price per year.
    initial_price, bars_per_year, typical_volume : float
    """

    mu_start: float = -0.25
    mu_end: float = 0.55
    noise: float = 0.1
    time_per_bar: float = 0.2
    substeps: int = 8
    start_at: str = "lower"
    calm_volatility: float = 0.12
    volatile_volatility: float = 0.45
    drift: float = 0.05
    initial_price: float = 100.0
    bars_per_year: float = 252.0
    typical_volume: float = 1e6

    def __post_init__(self) -> None:
        positive = (
            self.time_per_bar,
            self.calm_volatility,
            self.volatile_volatility,
            self.initial_price,
            self.bars_per_year,
            self.typical_volume,
        )
        finite = np.isfinite([*positive, self.mu_start, self.mu_end, self.noise, self.drift]).all()
        sound = (
            finite
            and min(positive) > 0
            and self.noise >= 0
            and self.substeps >= 1
            and self.time_per_bar / self.substeps <= _LARGEST_STEP
            and self.start_at in ("lower", "upper")
            and max(abs(self.mu_start), abs(self.mu_end)) <= 2.0
        )
        if not sound:
            raise InputError(
                "impossible double-well market",
                expected="finite values, |mu| <= 2, noise >= 0, positive times, volatilities, "
                f"price and volume, steps of at most {_LARGEST_STEP} units, a start at lower or "
                "upper",
                got=repr(self),
            )

    def mu(self, n_bars: int) -> np.ndarray:
        """The parameter at the close of every bar, shape (n_bars,)."""
        return self.mu_start + (self.mu_end - self.mu_start) * np.arange(1, n_bars + 1) / n_bars

    def fold_bar(self, n_bars: int) -> int | None:
        """The bar during which the attractor that x starts at vanishes; None if it stays."""
        gone = self.mu(n_bars) > FOLD if self.start_at == "lower" else self.mu(n_bars) < -FOLD
        return int(np.argmax(gone)) if gone.any() else None


@dataclass(frozen=True, eq=False)
class DoubleWellPaths(SimulatedPaths):
    """Bars of a tipping market; ``regime`` is 0 on the calm attractor's side, 1 on the other.

    Attributes
    ----------
    x : numpy.ndarray, shape (paths, bars)
        The state at every close.
    mu : numpy.ndarray, shape (bars,)
    fold_bar : int or None
        The bar in which the first attractor vanishes: the tipping point without noise, but for
        the time that x then takes to fall.
    tipping_bar : numpy.ndarray, shape (paths,), int64
        The first bar after which a path stays beyond the saddle to its end; -1 where it ends on
        the side that it began on. Noise lets paths tip before the fold.
    """

    x: np.ndarray
    mu: np.ndarray
    fold_bar: int | None
    tipping_bar: np.ndarray


def attractors(mu: float | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower attractor, saddle and upper attractor; NaN where they do not exist.

    Examples
    --------
    >>> [round(float(root), 3) for root in attractors(0.2)]
    [-0.879, -0.209, 1.088]
    """
    mu = np.asarray(mu, dtype=np.float64)
    scaled = mu / FOLD
    three = np.abs(scaled) <= 1.0
    # Viete's three real roots of x^3 - x - mu; where there is one, it is Cardano's.
    angle = np.arccos(np.clip(scaled, -1.0, 1.0)) / 3.0
    upper, saddle, lower = (2.0 * _EDGE * np.cos(angle - 2.0 * np.pi * k / 3.0) for k in (0, 1, 2))
    beyond = 2.0 * _EDGE * np.cosh(np.arccosh(np.maximum(np.abs(scaled), 1.0)) / 3.0)
    lower = np.where(three, lower, np.where(scaled < 0, -beyond, np.nan))
    upper = np.where(three, upper, np.where(scaled > 0, beyond, np.nan))
    return lower, np.where(three, saddle, np.nan), upper


def attractor_of(x: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Whose basin x lies in: 0 the lower attractor's, 1 the upper's; int64.

    With one attractor left all of x belongs to it.
    """
    saddle = attractors(mu)[1]
    only = np.where(np.asarray(mu) > 0, -np.inf, np.inf)
    return (x > np.where(np.isnan(saddle), only, saddle)).astype(np.int64)


def simulate(
    config: DoubleWellConfig,
    n_paths: int,
    n_bars: int,
    rng: np.random.Generator,
    *,
    seed: int | None = None,
) -> DoubleWellPaths:
    """Draw independent paths of one ramp by Euler's scheme.

    Parameters
    ----------
    config : DoubleWellConfig
    n_paths, n_bars : int
        At least 1. The ramp spans the bars, so that more bars mean a slower one.
    rng : numpy.random.Generator
        A named stream.
    seed : int, optional
        The stream's root seed, for the provenance.

    Raises
    ------
    InputError
        If there is nothing to draw, or noise throws x out of where Euler's scheme is stable.

    References
    ----------
    Kramers (1940), Physica 7(4); Scheffer et al. (2009), Nature 461, on early warnings.

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> paths = simulate(DoubleWellConfig(), 2, 300, random_stream(7, "example"), seed=7)
    >>> paths.fold_bar, paths.x.shape, len(paths.labelled(0).bars)
    (238, (2, 300), 300)
    """
    if n_paths < 1 or n_bars < 1:
        raise InputError(
            "nothing to simulate", expected="n_paths >= 1, n_bars >= 1", got=f"{n_paths}, {n_bars}"
        )
    out = {name: np.empty((n_bars, n_paths)) for name in (*BAR_FIELDS, "x", "variance")}
    lower, _, upper = attractors(config.mu_start)
    start = float(lower if config.start_at == "lower" else upper)
    if np.isnan(start):
        raise InputError(
            "the attractor to start at does not exist",
            expected=f"mu_start within {FOLD:.4f} of 0, or on that attractor's side",
            got=f"start at {config.start_at}, mu_start {config.mu_start:g}",
        )
    state = _State(config, np.full(n_paths, start), rng)
    ends = np.concatenate([[config.mu_start], config.mu(n_bars)])
    for bar in range(n_bars):
        for name, values in state.advance(ends[bar], ends[bar + 1]).items():
            out[name][bar] = values
    if not np.isfinite(out["x"]).all():
        raise InputError("x left the double well; Euler's steps are too large for this noise")
    arrays = {name: np.ascontiguousarray(values.T) for name, values in out.items()}
    mu = config.mu(n_bars)
    regime = attractor_of(arrays["x"], mu)
    return DoubleWellPaths(
        **arrays,
        regime=regime,
        symbol="DOUBLEWELL",
        bars_per_year=config.bars_per_year,
        provenance=_provenance(config, n_bars, seed),
        mu=mu,
        fold_bar=config.fold_bar(n_bars),
        tipping_bar=_tipping(regime, 0 if config.start_at == "lower" else 1),
    )


class _State:
    """All paths at one moment; arrays of shape (paths,)."""

    def __init__(self, config: DoubleWellConfig, x: np.ndarray, rng: np.random.Generator) -> None:
        self.config, self.x, self._rng = config, x, rng
        self.log_price = np.full(x.shape, np.log(config.initial_price))
        self._middle = 0.5 * np.log(config.calm_volatility * config.volatile_volatility)
        self._slope = 0.5 * np.log(config.volatile_volatility / config.calm_volatility)

    def advance(self, mu_open: float, mu_close: float) -> dict[str, np.ndarray]:
        """Move through one bar; its fields, prices themselves."""
        config, steps, n = self.config, self.config.substeps, len(self.x)
        dt, own_dt = 1.0 / (config.bars_per_year * steps), config.time_per_bar / steps
        normal = self._rng.standard_normal((steps, 2, n))
        tail = np.log1p(-self._rng.random((steps, 2, n)))
        first = high = low = here = self.log_price
        for k in range(steps):
            mu = mu_open + (mu_close - mu_open) * (k + 0.5) / steps
            variance = self._variance()
            end = (
                here + (config.drift - 0.5 * variance) * dt + np.sqrt(variance * dt) * normal[k, 0]
            )
            top, bottom = bridge_extremes(here, end, variance * dt, tail[k])
            high, low, here = np.maximum(high, top), np.minimum(low, bottom), end
            pull = (self.x - self.x**3 + mu) * own_dt
            self.x = self.x + pull + config.noise * np.sqrt(own_dt) * normal[k, 1]
        self.log_price = here
        variance = self._variance()
        level = variance / config.calm_volatility**2
        return {
            "open": np.exp(first),
            "high": np.exp(np.maximum(high, np.maximum(first, here))),
            "low": np.exp(np.minimum(low, np.minimum(first, here))),
            "close": np.exp(here),
            "volume": volumes(config.typical_volume, level, self._rng.standard_normal(n)),
            "x": self.x,
            "variance": variance,
        }

    def _variance(self) -> np.ndarray:
        return np.exp(2.0 * (self._middle + self._slope * self.x))


def _tipping(regime: np.ndarray, before: int) -> np.ndarray:
    """First bar of the stretch of ``regime != before`` that reaches a path's end, else -1."""
    on_first_side = regime == before
    bars = regime.shape[1]
    last = bars - 1 - np.argmax(on_first_side[:, ::-1], axis=1)
    last = np.where(on_first_side.any(axis=1), last, -1)
    return np.where(last == bars - 1, -1, last + 1)


def _provenance(config: DoubleWellConfig, n_bars: int, seed: int | None) -> Provenance:
    fold = config.fold_bar(n_bars)
    return Provenance(
        "finchaos double-well simulator",
        kind="simulated",
        seed=seed,
        notes=(
            f"parameters {digest(asdict(config))[:16]}",
            "no fold" if fold is None else f"fold in bar {fold}",
        ),
    )
