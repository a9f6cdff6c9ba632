"""What can be known at all: filters that are told the law of the market and its true parameters.

For the switching Heston model a particle filter with as many particles in each regime (Boers and
Driessen 2003), so that a rare regime is never without any. A particle is a variance, moved through
a bar's own steps by the simulator's scheme. Its shocks leave the return Gaussian, so that the bar
is weighed without drawing prices. What a bar's shocks add up to is drawn by a sequence of low
discrepancy over the particles in the order of their variances (Gerber and Chopin 2015): otherwise
chance in the masses of the regimes adds up from bar to bar. For the Gaussian chain Hamilton's
recursion (1989), exact.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from scipy.special import ndtri

from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import HestonConfig, HestonPaths
from finchaos.markets.simulate.heston_schemes import FULL_TRUNCATION, LAW

PARTICLES = 400
_IMPROBABLE = -1e3
_NORMAL = ndtri((np.arange(2**16) + 0.5) / 2**16)
"""The normal quantile function, tabulated."""


def heston_stress(
    paths: HestonPaths,
    config: HestonConfig,
    *,
    with_range: bool,
    seed: int,
    particles: int = PARTICLES,
    workers: int = 1,
) -> np.ndarray:
    """Probability that a bar is not of the calmest regime, given the bars up to it.

    High and low are weighed as those of one Brownian motion from open to close whose variance is
    that of the bar. The simulator draws them step by step, so that with the range the filter is a
    little short of exact.

    Parameters
    ----------
    paths : HestonPaths
        Of the full truncation scheme.
    config : HestonConfig
        That they were drawn from.
    with_range : bool
        Whether high and low are seen, or closes alone.
    seed : int
    particles : int
        In each regime.
    workers : int
        Threads.

    Returns
    -------
    numpy.ndarray, shape (p, t)
    """
    if config.scheme != FULL_TRUNCATION:
        raise ValueError("the filter follows the full truncation scheme")
    law = np.array([[vars(one)[name] for one in config.regimes] for name in LAW])
    first, last = np.log(paths.open), np.log(paths.close)
    moves, highs, lows = last - first, np.log(paths.high) - first, np.log(paths.low) - first
    scale = np.array([one.vol_of_vol**2 / (2.0 * one.kappa) for one in config.regimes])

    def one(path: int) -> np.ndarray:
        rng = random_stream(seed, f"particles/{path}")
        start = law[1][:, None] * np.ones(particles)
        noisy = scale > 0.0
        shape = law[1][noisy] / scale[noisy]
        start[noisy] = scale[noisy, None] * rng.gamma(shape[:, None], size=(noisy.sum(), particles))
        bars = np.stack([moves[path], highs[path], lows[path]])
        return _filtered(
            bars,
            start,
            law,
            config.transition,
            config.stationary,
            config.dt,
            config.substeps,
            with_range,
            _NORMAL,
            _even(particles),
            rng,
        )

    with ThreadPoolExecutor(workers) as pool:
        return np.array(list(pool.map(one, range(len(first)))))


def _even(count: int) -> np.ndarray:
    """The first numbers of van der Corput's sequence in base two."""
    numbers, weight, left = np.zeros(count), 0.5, np.arange(count)
    while left.any():
        numbers += weight * (left % 2)
        left, weight = left // 2, weight / 2.0
    return numbers


def hamilton(log_density: np.ndarray, transition: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Probabilities of the states of a chain, given what was seen up to each time, (p, t, k).

    Parameters
    ----------
    log_density : numpy.ndarray, shape (p, t, k)
        Of what was seen, in each state.
    transition : numpy.ndarray, shape (k, k)
    start : numpy.ndarray, shape (k,)

    References
    ----------
    Hamilton (1989), Econometrica 57(2), section 4.
    """
    density = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    known = np.empty_like(density)
    ahead = np.broadcast_to(start, density[:, 0].shape)
    for t in range(density.shape[1]):
        joint = density[:, t] * ahead
        known[:, t] = joint / joint.sum(axis=-1, keepdims=True)
        ahead = known[:, t] @ transition
    return known


@numba.njit(cache=True, error_model="numpy")
def log_range_density(high: float, low: float, end: float, variance: float) -> float:
    """Log density of maximum, minimum and end of a Brownian motion that starts at zero.

    It is minus the mixed derivative of the probability to stay within (low, high), by reflection
    (Feller, An Introduction to Probability Theory II, section X.5): a sum over images.
    """
    width = high - low
    if variance <= 0.0 or width <= 0.0 or high < max(end, 0.0) or low > min(end, 0.0):
        return _IMPROBABLE
    images = int(math.sqrt(20.0 * variance) / width) + 1
    if images > 16:  # so narrow that its probability is below e^-80
        return _IMPROBABLE
    total = 0.0
    for k in range(-images, images + 1):
        u = end - 2.0 * k * width
        w = 2.0 * high - end - 2.0 * k * width
        total += 4.0 * k * k * _second(u, variance) + 4.0 * k * (1.0 - k) * _second(w, variance)
    if total <= 0.0:
        return _IMPROBABLE
    return math.log(total)


@numba.njit(cache=True, error_model="numpy", inline="always")
def _second(x: float, variance: float) -> float:
    """Second derivative of the normal density."""
    scaled = x * x / variance
    return (scaled - 1.0) / variance * math.exp(-0.5 * scaled) / math.sqrt(2.0 * math.pi * variance)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _filtered(
    bars: np.ndarray,
    variance: np.ndarray,
    law: np.ndarray,
    transition: np.ndarray,
    stationary: np.ndarray,
    dt: float,
    steps: int,
    with_range: bool,
    normal: np.ndarray,
    even: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Probability of the regimes above the first, shape (t,); ``variance`` is (k, particles)."""
    regimes, particles = variance.shape
    log = np.empty((regimes, particles))
    mass = stationary.copy()
    weight = np.full((regimes, particles), 1.0 / particles)
    stress = np.empty(bars.shape[1])
    for t in range(bars.shape[1]):
        if t:
            variance, mass = _arrived(variance, weight, mass, transition, rng)
        for k in range(regimes):
            shift = rng.random()
            for i in range(particles):
                shock = normal[int((even[i] + shift) % 1.0 * len(normal))]
                variance[k, i], log[k, i] = _moved(
                    variance[k, i], shock, bars[:, t], law[:, k], dt, steps, with_range, rng
                )
        weight = np.exp(log - log.max())
        for k in range(regimes):
            total = weight[k].sum()
            mass[k] *= total
            if total > 0.0:
                weight[k] /= total
            else:
                weight[k] = 1.0 / particles
        mass /= mass.sum()
        stress[t] = 1.0 - mass[0]
    return stress


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _arrived(
    variance: np.ndarray,
    weight: np.ndarray,
    mass: np.ndarray,
    transition: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Particles of every regime at the next bar, of equal weight, and the regimes' masses.

    Systematic resampling (Kitagawa 1996) from all particles, by how probably each comes there.
    """
    regimes, particles = variance.shape
    arrived = np.empty_like(variance)
    masses = np.zeros(regimes)
    order = np.argsort(variance.copy().ravel())
    for k in range(regimes):
        for s in range(regimes):
            masses[k] += mass[s] * transition[s, k]
        place, uniform = 0, rng.random()
        edge = _share(weight, mass, transition, order[place], k)
        for i in range(particles):
            here = masses[k] * (i + uniform) / particles
            while edge < here and place < regimes * particles - 1:
                place += 1
                edge += _share(weight, mass, transition, order[place], k)
            arrived[k, i] = variance[order[place] // particles, order[place] % particles]
    return arrived, masses


@numba.njit(cache=True, error_model="numpy", inline="always")
def _share(
    weight: np.ndarray, mass: np.ndarray, transition: np.ndarray, place: int, to: int
) -> float:
    regime = place // weight.shape[1]
    share: float = mass[regime] * transition[regime, to] * weight[regime, place % weight.shape[1]]
    return share


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _moved(
    variance: float,
    together: float,
    bar: np.ndarray,
    law: np.ndarray,
    dt: float,
    steps: int,
    with_range: bool,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The variance after a bar, and the log likelihood of the bar.

    ``together`` is the sum of the bar's normal shocks over the root of their number.
    """
    kappa, theta, xi, rho, drift = law
    move = bar[0]
    summed, leaned, root = 0.0, 0.0, math.sqrt(dt)
    shocks = rng.standard_normal(steps)
    shocks += together / math.sqrt(steps) - shocks.mean()
    for step in range(steps):
        held = max(variance, 0.0)
        shock = math.sqrt(held) * root * shocks[step]
        variance += kappa * (theta - held) * dt + xi * shock
        summed += held * dt
        leaned += shock
    mean = drift * dt * steps - 0.5 * summed + rho * leaned
    left = (1.0 - rho * rho) * summed
    if left <= 0.0:
        return variance, _IMPROBABLE
    log = -0.5 * ((move - mean) ** 2 / left + math.log(left))
    if with_range:
        at_end = -0.5 * (move * move / summed + math.log(2.0 * math.pi * summed))
        log += log_range_density(bar[1], bar[2], move, summed) - at_end
    return variance, log
