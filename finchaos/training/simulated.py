"""Simulated bars that never run out, with the labels that real bars hide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import array_digest, random_stream, stream_seed
from finchaos.features.scaling import RobustScaler
from finchaos.features.schema import FeatureSchema
from finchaos.markets.simulate.heston import HestonConfig, HestonPaths, simulate
from finchaos.training.dataset import Batch
from finchaos.training.labels import MAD_TO_SD, bar_variance, forward_log_variance

LEAST_VARIANCE = 1e-6
"""Annual variance below which its logarithm stops."""
_UNITS_PATHS, _UNITS_BARS = 64, 1000


@dataclass(frozen=True, eq=False)
class Units:
    """In which units a network reads features and speaks of variances.

    Attributes
    ----------
    schema : FeatureSchema
    horizons : tuple of int
        Bars ahead.
    scaler : RobustScaler
    centre, spread : numpy.ndarray, shape (1 + h,)
        Median and scaled median absolute deviation of log v_t and of the forward log variances.
    """

    schema: FeatureSchema
    horizons: tuple[int, ...]
    scaler: RobustScaler
    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of_market(
        cls, market: HestonConfig, schema: FeatureSchema, horizons: tuple[int, ...], *, seed: int
    ) -> Units:
        """Those of a simulated market, measured on paths drawn for that alone."""
        paths = simulate(market, _UNITS_PATHS, _UNITS_BARS, random_stream(seed, "units/paths"))
        logs = _log_variances(paths, horizons)
        centre = np.nanmedian(logs, axis=(0, 1))
        spread = MAD_TO_SD * np.nanmedian(np.abs(logs - centre), axis=(0, 1))
        scaler = RobustScaler.fit(schema.compute(_prices(paths)), fixed=schema.bounded)
        return cls(schema, horizons, scaler, centre, spread)

    def features(self, paths: HestonPaths) -> np.ndarray:
        """Scaled features of paths, shape (p, t, f), float32."""
        scaled = self.scaler.transform(self.schema.compute(_prices(paths)))
        return scaled.astype(np.float32)

    def targets(self, paths: HestonPaths) -> np.ndarray:
        """Labels of paths, shape (p, t, 1 + h + 1), float32; NaN where unknown.

        Log v_t, forward log variances, and 1 in the regimes after the first, else 0. A market of
        one regime has nothing to tell apart: its labels of the regime are unknown.
        """
        logs = (_log_variances(paths, self.horizons) - self.centre) / self.spread
        stressed = (paths.regime > 0).astype(np.float64)
        if len(paths.config.regimes) == 1:
            stressed = np.full_like(stressed, np.nan)
        return np.concatenate([logs, stressed[..., None]], axis=-1).astype(np.float32)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything measured, as named arrays."""
        targets = {"target_centre": self.centre, "target_spread": self.spread}
        return {**targets, **self.scaler.to_arrays()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], schema: FeatureSchema, horizons: tuple[int, ...]
    ) -> Units:
        """What :meth:`to_arrays` described.

        Raises
        ------
        DataError
            If arrays are missing or damaged.
        """
        centre, spread = arrays.get("target_centre"), arrays.get("target_spread")
        if centre is None or spread is None or not len(centre) == len(spread) == 1 + len(horizons):
            raise DataError(
                "the units of simulated bars are damaged",
                expected=f"target_centre and target_spread of {1 + len(horizons)} values",
                got=", ".join(sorted(arrays)) or "nothing",
            )
        return cls(schema, horizons, RobustScaler.from_arrays(arrays), centre, spread)

    @property
    def digest(self) -> str:
        """SHA-256 of everything here."""
        return array_digest(self.to_arrays()) + self.schema.digest


@dataclass(frozen=True)
class Drawing:
    """How windows are drawn from simulated paths.

    Attributes
    ----------
    paths, bars : int
        Paths drawn at once, and bars of each.
    uses : int
        Batches taken from those before new ones are drawn.
    batch : int
        Windows of a batch.
    window_bars : int
    variety : float
        Half the width of the uniform law of the logarithm by which speed, level, noise of the
        variance and length of stay are multiplied at each draw, one factor each for a whole draw;
        0 for none.
    """

    paths: int = 96
    bars: int = 1000
    uses: int = 12
    batch: int = 32
    window_bars: int = 500
    variety: float = 0.0

    def __post_init__(self) -> None:
        sound = (
            min(self.paths, self.uses, self.batch) >= 1
            and 2 <= self.window_bars <= self.bars
            and 0 <= self.variety < 2
        )
        if not sound:
            raise InputError(
                "impossible drawing of simulated windows",
                expected="counts >= 1, window_bars from 2 to bars, variety from 0 to 2",
                got=repr(self),
            )


class SimulatedWindows:
    """Windows of simulated bars, drawn anew for ever.

    Every batch is a function of seed, name and number: the state is a number.

    Parameters
    ----------
    market : HestonConfig
    units : Units
    drawing : Drawing
    seed : int
    name : str
        Of the random streams.
    """

    def __init__(
        self, market: HestonConfig, units: Units, drawing: Drawing, *, seed: int, name: str
    ) -> None:
        self._market, self._units, self._drawing = market, units, drawing
        self._seed, self._name, self._number = seed, name, 0
        self._drawn: tuple[int, np.ndarray, np.ndarray] | None = None

    def next(self) -> Batch:
        """Windows of shapes (b, w, f) and (b, w, 1 + h + 1), float32."""
        drawing, number = self._drawing, self._number
        features, targets = self._paths(number // drawing.uses)
        rng = random_stream(self._seed, f"{self._name}/windows/{number}")
        path = rng.integers(0, drawing.paths, drawing.batch)[:, None]
        start = rng.integers(0, drawing.bars - drawing.window_bars + 1, drawing.batch)[:, None]
        rows = start + np.arange(drawing.window_bars)
        self._number += 1
        return Batch(torch.from_numpy(features[path, rows]), torch.from_numpy(targets[path, rows]))

    def state(self) -> dict[str, Any]:
        """Number of the next batch."""
        return {"number": self._number}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to a batch."""
        self._number = int(state["number"])

    def identity(self) -> dict[str, Any]:
        """Everything that decides the batches."""
        return {
            "market": asdict(self._market),
            "units": self._units.digest,
            "drawing": asdict(self._drawing),
            "seed": str(self._seed),
            "name": self._name,
        }

    def _paths(self, draw: int) -> tuple[np.ndarray, np.ndarray]:
        if self._drawn is None or self._drawn[0] != draw:
            name, drawing = f"{self._name}/paths/{draw}", self._drawing
            market = varied(self._market, drawing.variety, random_stream(self._seed, name + "/law"))
            seed = stream_seed(self._seed, name)
            paths = simulate(market, drawing.paths, drawing.bars, random_stream(seed, "paths"))
            self._drawn = draw, self._units.features(paths), self._units.targets(paths)
        return self._drawn[1:]


def varied(market: HestonConfig, variety: float, rng: np.random.Generator) -> HestonConfig:
    """A market whose speed, level, noise and stay are off by factors drawn log-uniformly."""
    if not variety:
        return market

    def times(value: float) -> float:
        return value * float(np.exp(rng.uniform(-variety, variety)))

    regimes = [
        replace(
            regime,
            kappa=times(regime.kappa),
            theta=times(regime.theta),
            vol_of_vol=times(regime.vol_of_vol),
            mean_stay_bars=max(1.0, times(regime.mean_stay_bars)),
        )
        for regime in market.regimes
    ]
    return replace(market, regimes=tuple(regimes))


def _prices(paths: HestonPaths) -> dict[str, np.ndarray]:
    return {name: getattr(paths, name) for name in ("open", "high", "low", "close")}


def _log_variances(paths: HestonPaths, horizons: tuple[int, ...]) -> np.ndarray:
    present = np.log(np.maximum(paths.variance, LEAST_VARIANCE))[..., None]
    ahead = forward_log_variance(bar_variance(_prices(paths)), horizons)
    return np.concatenate([present, ahead], axis=-1)
