"""One switching Heston path of any length in constant memory, bar after bar in compiled loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numba
import numpy as np
from scipy.special import ndtr

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.bar_file import Description, read_description, write_bars
from finchaos.markets.simulate.heston import SCHEMES, HestonConfig, initial_state
from finchaos.markets.simulate.heston_schemes import (
    PSI_SWITCH,
    FullTruncation,
    QuadraticExponential,
    step_for,
)
from finchaos.markets.simulate.labelled import SimulatedRows, switches, volumes

CHUNK_BARS = 16_384
Prices = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class HestonStream:
    """A path that goes on; every call draws its next bars.

    The numbers are those of :func:`finchaos.markets.simulate.heston.simulate` with one path and
    the same generator, however the bars are divided into calls: bit for bit with Euler's scheme,
    to rounding with the quadratic-exponential one.

    Parameters
    ----------
    config : HestonConfig
    rng : numpy.random.Generator
        A named stream, which belongs to this path from here on.

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> stream = HestonStream(HestonConfig(), random_stream(7, "example"))
    >>> rows = stream.next_bars(3)
    >>> len(rows), stream.next_bars(2).first_row
    (3, 3)
    """

    def __init__(self, config: HestonConfig, rng: np.random.Generator) -> None:
        self.config, self._rng, self._row = config, rng, 0
        regime, variance = initial_state(config, 1, rng)
        self._regime, self._variance = int(regime[0]), float(variance[0])
        self._log_price = float(np.log(config.initial_price))
        self._step = step_for(config.scheme, config.regimes, config.dt)
        self._edges = np.cumsum(config.transition, axis=1)[:, :-1].copy()

    def next_bars(self, count: int) -> SimulatedRows:
        """The path's next bars.

        Raises
        ------
        InputError
            If ``count`` is not positive.
        """
        if count < 1:
            raise InputError("no bars to simulate", expected="count >= 1", got=str(count))
        steps, first_row, before = self.config.substeps, self._row, self._regime
        uniform, volume_noise = np.zeros(count), np.empty(count)
        normal, tail = np.empty((count, steps, 2)), np.empty((count, steps, 2))
        _draw(self._rng, first_row == 0, uniform, normal, tail, volume_noise)
        np.log1p(np.negative(tail, out=tail), out=tail)
        regime = np.empty(count, dtype=np.int64)
        _chain(before, first_row == 0, uniform, self._edges, regime)
        prices, variance = self._advance(regime, normal, tail)
        self._row, self._regime = first_row + count, int(regime[-1])
        shown = np.maximum(variance, 0.0)
        level = shown / self.config.regimes[0].theta
        first, high, low, last = (np.exp(values) for values in prices)
        return SimulatedRows(
            open=first,
            high=high,
            low=low,
            close=last,
            volume=volumes(self.config.typical_volume, level, volume_noise),
            variance=shown,
            regime=regime,
            switch=switches(regime, before),
            first_row=first_row,
        )

    def _advance(
        self, regime: np.ndarray, normal: np.ndarray, tail: np.ndarray
    ) -> tuple[Prices, np.ndarray]:
        count, step = len(regime), self._step
        prices = (np.empty(count), np.empty(count), np.empty(count), np.empty(count))
        variance = np.empty(count)
        start = (self._log_price, self._variance)
        if isinstance(step, QuadraticExponential):
            upper = ndtr(-normal[..., 0])
            law = np.stack([getattr(step, name) for name in _QE_LAW])
            _qe_bars(start, regime, normal, upper, tail, law, step.dt, prices, variance)
        elif isinstance(step, FullTruncation):
            normal *= step.root_dt
            law = np.stack([getattr(step, name) for name in _EULER_LAW])
            _euler_bars(start, regime, normal, tail, law, step.dt, prices, variance)
        self._log_price, self._variance = float(prices[3][-1]), float(variance[-1])
        return prices, variance


def stream_bars(
    config: HestonConfig,
    n_bars: int,
    rng: np.random.Generator,
    *,
    chunk_bars: int = CHUNK_BARS,
) -> Iterator[SimulatedRows]:
    """One path of ``n_bars`` in stretches of ``chunk_bars``, whose choice changes no number.

    Raises
    ------
    InputError
        At the first stretch, if either count is not positive.
    """
    if n_bars < 1 or chunk_bars < 1:
        raise InputError(
            "nothing to simulate",
            expected="n_bars >= 1, chunk_bars >= 1",
            got=f"{n_bars}, {chunk_bars}",
        )
    stream = HestonStream(config, rng)
    for start in range(0, n_bars, chunk_bars):
        yield stream.next_bars(min(chunk_bars, n_bars - start))


def generate(
    path: Path,
    config: HestonConfig,
    n_bars: int,
    *,
    seed: int,
    stream: str = "generate/heston",
    chunk_bars: int = CHUNK_BARS,
) -> Description:
    """Write one path of any length to a Parquet file, a row group for every stretch.

    Parameters
    ----------
    path : pathlib.Path
    config : HestonConfig
    n_bars, chunk_bars : int
    seed : int
    stream : str
        Name of the random stream.

    Returns
    -------
    Description
        What the file says of itself.

    Raises
    ------
    InputError
        If there is nothing to draw.
    MissingDependencyError
        If pyarrow is not installed.
    """
    said = asdict(config)
    description = Description(
        simulator="Heston",
        parameters={**said, "regimes": list(said["regimes"])},
        scheme=SCHEMES[config.scheme],
        seed=seed,
        stream=stream,
        bars_per_year=config.bars_per_year,
    )
    rows = stream_bars(config, n_bars, random_stream(seed, stream), chunk_bars=chunk_bars)
    write_bars(path, rows, description)
    return read_description(path)


@numba.njit(cache=True)
def _draw(
    rng: np.random.Generator,
    at_start: bool,
    uniform: np.ndarray,
    normal: np.ndarray,
    tail: np.ndarray,
    volume_noise: np.ndarray,
) -> None:
    """Random numbers bar by bar, in the order of the simulator of many paths."""
    count, steps, _ = normal.shape
    for i in range(count):
        if i or not at_start:
            uniform[i] = rng.random()
        for k in range(steps):
            normal[i, k, 0] = rng.standard_normal()
            normal[i, k, 1] = rng.standard_normal()
        for k in range(steps):
            tail[i, k, 0] = rng.random()
            tail[i, k, 1] = rng.random()
        volume_noise[i] = rng.standard_normal()


@numba.njit(cache=True)
def _chain(
    now: int, at_start: bool, uniform: np.ndarray, edges: np.ndarray, regime: np.ndarray
) -> None:
    """The regime of every bar; the first bar of a path keeps the one that was drawn for it."""
    for i in range(len(regime)):
        if i or not at_start:
            after = 0
            for k in range(edges.shape[1]):
                after += uniform[i] >= edges[now, k]
            now = after
        regime[i] = now


_EULER_LAW = ("kappa", "theta", "vol_of_vol", "rho", "across", "drift")
_QE_LAW = (
    "theta", "decay", "spread_of_variance", "least_spread", "drift_dt", "k0", "k1", "k2", "k3",
    "tilt",
)  # fmt: skip


@numba.njit(cache=True)
def _euler_bars(
    state: tuple[float, float],
    regime: np.ndarray,
    moved: np.ndarray,
    tail: np.ndarray,
    law: np.ndarray,
    dt: float,
    prices: Prices,
    variances: np.ndarray,
) -> None:
    """Bars by full truncation; in the order of operations of the vectorised step."""
    price, variance = state
    for i in range(len(regime)):
        kappa, theta, vol_of_vol, rho, across, drift = law[:, regime[i]]
        first = high = low = price
        for k in range(moved.shape[1]):
            held = max(variance, 0.0)
            vol = np.sqrt(held)
            shock = rho * moved[i, k, 0] + across * moved[i, k, 1]
            end = price + (drift - 0.5 * held) * dt + vol * shock
            variance = variance + kappa * (theta - held) * dt + vol_of_vol * vol * moved[i, k, 0]
            top, bottom = _bridge(price, end, held * dt, tail[i, k])
            high, low, price = max(high, top), min(low, bottom), end
        prices[0][i], prices[3][i], variances[i] = first, price, variance
        prices[1][i] = max(high, first, price)
        prices[2][i] = min(low, first, price)


@numba.njit(cache=True)
def _qe_bars(
    state: tuple[float, float],
    regime: np.ndarray,
    normal: np.ndarray,
    upper: np.ndarray,
    tail: np.ndarray,
    law: np.ndarray,
    dt: float,
    prices: Prices,
    variances: np.ndarray,
) -> None:
    """Bars by the quadratic-exponential scheme; ``upper`` is the normals' upper tail."""
    price, variance = state
    for i in range(len(regime)):
        constants = law[:, regime[i]]
        first = high = low = price
        for k in range(normal.shape[1]):
            end, after = _qe_step(price, variance, normal[i, k], upper[i, k], constants)
            top, bottom = _bridge(price, end, 0.5 * (variance + after) * dt, tail[i, k])
            high, low, price, variance = max(high, top), min(low, bottom), end, after
        prices[0][i], prices[3][i], variances[i] = first, price, variance
        prices[1][i] = max(high, first, price)
        prices[2][i] = min(low, first, price)


@numba.njit(cache=True)
def _bridge(start: float, end: float, spread: float, tail: np.ndarray) -> tuple[float, float]:
    squared = (end - start) ** 2
    top = np.sqrt(squared - 2.0 * spread * tail[0])
    bottom = np.sqrt(squared - 2.0 * spread * tail[1])
    return 0.5 * (start + end + top), 0.5 * (start + end - bottom)


@numba.njit(cache=True)
def _qe_step(
    price: float, variance: float, normal: np.ndarray, upper: float, law: np.ndarray
) -> tuple[float, float]:
    theta, decay, spread, least, drift_dt, k0, k1, k2, k3, tilt = law
    mean = theta + (variance - theta) * decay
    psi = (variance * spread + least) / mean**2
    if psi == 0.0:
        after, log_mean = mean, tilt * mean
    elif psi <= PSI_SWITCH:
        ratio = 2.0 / psi
        b_squared = ratio - 1.0 + np.sqrt(ratio) * np.sqrt(ratio - 1.0)
        a = mean / (1.0 + b_squared)
        after = a * (np.sqrt(b_squared) + normal[0]) ** 2
        left = 1.0 - 2.0 * tilt * a
        exists = left > 0.0
        log_mean = tilt * b_squared * a / left - 0.5 * np.log(left) if exists else np.nan
    else:
        zero = (psi - 1.0) / (psi + 1.0)
        beta = (1.0 - zero) / mean
        after = max(np.log((1.0 - zero) / upper), 0.0) / beta
        exists = beta > tilt
        log_mean = np.log(zero + beta * (1.0 - zero) / (beta - tilt)) if exists else np.nan
    constant = k0 if np.isnan(log_mean) else -log_mean - (k1 + 0.5 * k3) * variance
    root = np.sqrt(k3 * (variance + after))
    end = price + drift_dt + constant + k1 * variance + k2 * after + root * normal[1]
    return end, after
