"""Everything a fitted model can be asked about the state of a market, in one table over time.

Axes of projections are those of the training rows; every column but ``map_x`` and ``map_y`` is
known at its row. Those two place all rows together and are a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError, SubjectFault
from finchaos.core.signals import Signals
from finchaos.regimes.projection import (
    NeighbourMap,
    Orbit,
    PrincipalAxes,
    fit_layers,
    neighbour_map,
    orbit,
)

AXES = 3
MAP_NAMES = ("map_x", "map_y")


@dataclass(frozen=True, eq=False)
class Extraction:
    """Latents and states of a model over time.

    Attributes
    ----------
    signals : Signals, t rows
        Past the model's warm-up.
    close : numpy.ndarray, shape (t,)
    latents : Orbit
        The latents that regimes are found among, along their principal axes.
    layers : mapping of str to Orbit
        The hidden states of every layer along theirs; empty for a model that does not show them.
    neighbours : NeighbourMap
        Of the latents.
    """

    signals: Signals
    close: np.ndarray
    latents: Orbit
    layers: Mapping[str, Orbit]
    neighbours: NeighbourMap

    @property
    def state(self) -> np.ndarray:
        """Regime of each row, all 0 for a model that names none, shape (t,)."""
        regime = self.signals.regime
        return np.zeros(len(self.signals), dtype=np.int64) if regime is None else regime

    def table(self) -> pd.DataFrame:
        """One row a bar: close, signals, latents and all projections."""
        columns: dict[str, np.ndarray] = {"close": self.close, "trained": self.latents.trained}
        for name, values in self.signals.arrays().items():
            if values.ndim == 1:
                columns[name] = values
            else:
                columns |= _numbered("latent", values)
        columns |= _numbered("axis", self.latents.points)
        for name, path in self.layers.items():
            columns |= _numbered(f"{name}_axis", path.points)
        placed = np.full((len(self.signals), 2), np.nan)
        placed[self.neighbours.rows] = self.neighbours.points
        columns |= dict(zip(MAP_NAMES, placed.T, strict=True))
        return pd.DataFrame(columns, index=self.signals.index.rename("ts"))


def extract(
    signals: Signals,
    close: np.ndarray,
    *,
    warmup_bars: int,
    trained_until: pd.Timestamp,
    seed: int,
    layers: Mapping[str, np.ndarray] | None = None,
) -> Extraction:
    """Put a model's latents and states over time together.

    Parameters
    ----------
    signals : Signals, t rows
        With latents.
    close : numpy.ndarray, shape (t,)
    warmup_bars : int
        First rows that are left out.
    trained_until : pandas.Timestamp
        Last bar of training: axes are fitted up to it.
    seed : int
        Of the map of neighbours.
    layers : mapping of str to numpy.ndarray, shape (t, ...), optional
        Hidden states of each layer.

    Raises
    ------
    SubjectFault
        If the signals carry no latents.
    DataError
        If no bar of training lies past the warm-up, or latents do not vary.
    """
    if signals.latents is None:
        raise SubjectFault(
            "the model shows no latents", remedy="its signals must carry them; see Signals.latents"
        )
    known = signals.rows(warmup_bars)
    index = known.index
    trained = np.asarray(index <= trained_until)
    latents = signals.latents[warmup_bars:]
    count = min(AXES, latents.shape[1])
    if trained.sum() <= count:
        raise DataError(
            "too few bars of training past the warm-up",
            expected=f"more than {count} between bar {warmup_bars} and {trained_until}",
            got=str(int(trained.sum())),
        )
    states = {name: values[warmup_bars:] for name, values in (layers or {}).items()}
    axes = PrincipalAxes.fit(latents[trained], count=count)
    fitted = fit_layers({n: v[trained] for n, v in states.items()}, count=AXES) if states else {}

    def path(fitted: PrincipalAxes, values: np.ndarray) -> Orbit:
        return orbit(fitted, values, index, trained_until=trained_until, labels=known.regime)

    return Extraction(
        signals=known,
        close=np.asarray(close[warmup_bars:], dtype=np.float64),
        latents=path(axes, latents),
        layers={name: path(fitted[name], values) for name, values in states.items()},
        neighbours=neighbour_map(latents, seed=seed),
    )


def _numbered(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}_{k}": column for k, column in enumerate(values.T)}
