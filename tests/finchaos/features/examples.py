"""Every formula with parameters, and bars to try it on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bars
from finchaos.core.provenance import random_stream
from finchaos.features.schema import (
    FORMULAS,
    FeatureSchema,
    FeatureSpec,
    load_schema,
    schema_names,
)
from finchaos.markets.simulate.heston import HestonConfig, simulate

REQUIRED = {
    spec.formula: dict(spec.params)
    for name in reversed(schema_names())
    for spec in load_schema(name).specs
}
"""Parameters of formulas as a published schema has them; the others have defaults."""

SMOOTHED = {
    "velocity_smooth": ("velocity", {"half_life": 7.0}),
    "acceleration_smooth": ("acceleration", {"half_life": 7.0}),
    "kappa_legacy": ("kappa_proxy", {"legacy": 1.0}),
}
"""Formulas whose parameters lead through other code."""


def every_formula() -> FeatureSchema:
    """A schema of all there are."""
    specs = [FeatureSpec(name=n, formula=n, params=REQUIRED.get(n, {})) for n in sorted(FORMULAS)]
    specs += [FeatureSpec(name=n, formula=f, params=p) for n, (f, p) in SMOOTHED.items()]
    return FeatureSchema("every", tuple(specs))


def simulated(paths: int, rows: int, seed: int = 9) -> dict[str, np.ndarray]:
    """Heston prices with gaps at the open and a volume, each of shape (paths, rows)."""
    rng = random_stream(seed, "test.features.every")
    prices = simulate(HestonConfig(), paths, rows, rng)
    gaps = np.exp(np.cumsum(0.004 * rng.standard_normal((paths, rows)), axis=1))
    out = {name: getattr(prices, name) * gaps for name in BAR_FIELDS[:4]}
    return {**out, "volume": np.round(1e6 * rng.gamma(2.0, 1.0, (paths, rows)))}


def bars_of(arrays: dict[str, np.ndarray]) -> Bars:
    """Daily bars of one path."""
    index = pd.date_range("2001-01-02 21:00", periods=len(arrays["close"]), freq="B", tz="UTC")
    return Bars(index=index, **arrays, symbol="ANY")


def flat(rows: int, price: float = 100.0) -> dict[str, np.ndarray]:
    """One path that does not move."""
    return {name: np.full(rows, price) for name in BAR_FIELDS[:4]} | {"volume": np.full(rows, 1e6)}
