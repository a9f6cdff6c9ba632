"""Closes of very many switching Heston paths, in single precision and in blocks.

No ranges and no volumes: this is the path for Monte Carlo and for samples of closes. A block of
paths stays in the processor's cache while its bars pass; the compiler treats many paths at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError
from finchaos.markets.simulate.heston import HestonConfig, initial_state
from finchaos.markets.simulate.heston_kernels import euler_step, quadratic_step
from finchaos.markets.simulate.heston_schemes import (
    QUADRATIC_EXPONENTIAL,
    FullTruncation,
    QuadraticExponential,
    step_for,
)

BLOCK_PATHS = 8192
_LONGEST_SPELL = 2**40
EULER_LAW = ("kappa_dt", "theta", "vol_of_vol", "rho", "across", "drift_dt")
QUADRATIC_LAW = (
    "theta", "decay", "spread_of_variance", "least_spread", "drift_dt", "k0", "k1", "k2", "k3",
    "tilt",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class HestonCloses:
    """Closes and the truth behind them; every array has shape (paths, bars).

    Attributes
    ----------
    close : numpy.ndarray, float32
    variance : numpy.ndarray, float32
        Annual spot variance at the close, truncated at zero.
    regime : numpy.ndarray, int16
        The regime whose parameters moved the bar.
    """

    close: np.ndarray
    variance: np.ndarray
    regime: np.ndarray


def simulate_closes(
    config: HestonConfig, n_paths: int, n_bars: int, rng: np.random.Generator
) -> HestonCloses:
    """Closes of every bar of independent paths.

    Other numbers than :func:`finchaos.markets.simulate.heston.simulate` draws, of the same law.
    A path depends neither on ``n_bars`` nor, up to the last block of 8192, on ``n_paths``.

    Parameters
    ----------
    config : HestonConfig
        With its scheme and substeps; volume and ranges are not drawn.
    n_paths, n_bars : int
        At least 1.
    rng : numpy.random.Generator
        A named stream; blocks of paths draw from generators that it spawns.

    Raises
    ------
    InputError
        If there is nothing to draw.

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> closes = simulate_closes(HestonConfig(), 3, 5, random_stream(7, "example"))
    >>> closes.close.shape, closes.close.dtype.name
    ((3, 5), 'float32')
    """
    _check(n_paths, n_bars)
    shape = (n_paths, n_bars)
    close, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    regime = np.empty(shape, np.int16)
    for rows, block in _blocks(config, n_paths, rng):
        bars = (n_bars, rows.stop - rows.start)
        moved, held = np.empty(bars, np.float32), np.empty(bars, np.float32)
        labels = np.empty(bars, np.int16)
        for bar in range(n_bars):
            block.advance()
            moved[bar], held[bar], labels[bar] = block.moved, block.variance, block.regime
        close[rows] = _prices(config, moved).T
        variance[rows], regime[rows] = np.maximum(held, 0.0).T, labels.T
    return HestonCloses(close, variance, regime)


def simulate_terminal(
    config: HestonConfig, n_paths: int, n_bars: int, rng: np.random.Generator
) -> HestonCloses:
    """The last bar of the paths of :func:`simulate_closes`, shape (paths, 1), in little memory.

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    _check(n_paths, n_bars)
    close, variance = np.empty((n_paths, 1), np.float32), np.empty((n_paths, 1), np.float32)
    regime = np.empty((n_paths, 1), np.int16)
    for rows, block in _blocks(config, n_paths, rng):
        for _ in range(n_bars):
            block.advance()
        close[rows, 0] = _prices(config, block.moved)
        variance[rows, 0], regime[rows, 0] = np.maximum(block.variance, 0.0), block.regime
    return HestonCloses(close, variance, regime)


def _check(n_paths: int, n_bars: int) -> None:
    if n_paths < 1 or n_bars < 1:
        raise InputError(
            "nothing to simulate", expected="n_paths >= 1, n_bars >= 1", got=f"{n_paths}, {n_bars}"
        )


def _prices(config: HestonConfig, moved: np.ndarray) -> np.ndarray:
    return np.float32(config.initial_price) * np.exp(moved)


def _blocks(
    config: HestonConfig, n_paths: int, rng: np.random.Generator
) -> Iterator[tuple[slice, _Block]]:
    starts = range(0, n_paths, BLOCK_PATHS)
    for start, own in zip(starts, rng.spawn(len(starts)), strict=True):
        rows = slice(start, min(start + BLOCK_PATHS, n_paths))
        yield rows, _Block(config, rows.stop - rows.start, own)


def _law(config: HestonConfig) -> np.ndarray:
    """The scheme's constants by regime, shape (constants, k)."""
    step = step_for(config.scheme, config.regimes, config.dt)
    if isinstance(step, QuadraticExponential):
        return np.stack([getattr(step, name) for name in QUADRATIC_LAW]).astype(np.float32)
    if not isinstance(step, FullTruncation):
        raise TypeError(f"no compiled step for {type(step).__name__}")
    own = {**vars(step), "kappa_dt": step.kappa * step.dt, "drift_dt": step.drift * step.dt}
    return np.stack([own[name] for name in EULER_LAW]).astype(np.float32)


class _Block:
    """Paths side by side; every array has shape (p,)."""

    def __init__(self, config: HestonConfig, n_paths: int, rng: np.random.Generator) -> None:
        self._rng, self._n_paths, self._config = rng, n_paths, config
        regime, variance = initial_state(config, n_paths, rng)
        self.regime = regime.astype(np.int16)
        self.variance = variance.astype(np.float32)
        self.moved = np.zeros(n_paths, np.float32)
        self._by_regime = _law(config)
        self._law = np.ascontiguousarray(self._by_regime[:, regime])
        self._leave = np.array([1.0 / one.mean_stay_bars for one in config.regimes])
        self._bar, self._due = 0, self._spells(regime)
        self._dt = np.float32(config.dt)
        quadratic = config.scheme == QUADRATIC_EXPONENTIAL
        self._step = quadratic_step if quadratic else euler_step

    def advance(self) -> None:
        """Move through one bar, after a change of regime where one is due."""
        if len(self._leave) > 1:
            self._switch()
        for _ in range(self._config.substeps):
            self._step(self._bits(), self._law, self._dt, self.moved, self.variance)
        self._bar += 1

    def _switch(self) -> None:
        leaving = np.flatnonzero(self._due == self._bar)
        if leaving.size == 0:
            return
        before = self.regime[leaving]
        other = self._rng.integers(len(self._leave) - 1, size=leaving.size, dtype=np.int16)
        after = other + (other >= before)
        self.regime[leaving] = after
        self._due[leaving] += self._spells(after)
        self._law[:, leaving] = self._by_regime[:, after]

    def _spells(self, regime: np.ndarray) -> np.ndarray:
        """Bars until a regime is left: a chain's spells are geometric."""
        return np.minimum(self._rng.geometric(self._leave[regime]), _LONGEST_SPELL)

    def _bits(self) -> np.ndarray:
        """Random bits, shape (2, p), uint32."""
        pairs = self._rng.integers(0, 2**64 - 1, self._n_paths, dtype=np.uint64, endpoint=True)
        return pairs.view("<u4").reshape(2, self._n_paths)
