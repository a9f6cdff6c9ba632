"""Simulated windows: functions of seed and number, in units of a market, blind to the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import HestonPaths, simulate
from finchaos.training.curriculum import CALM_MARKET, SWITCHING_MARKET
from finchaos.training.dataset import Batch
from finchaos.training.simulated import Drawing, SimulatedWindows, varied
from tests.finchaos.training.toy_curriculum import DRAWING, units

UNITS = units()
FIELDS = ("open", "high", "low", "close", "variance", "regime")


def windows(seed: int = 1, name: str = "w", **changes: Any) -> SimulatedWindows:
    drawing = replace(DRAWING, **changes)
    return SimulatedWindows(SWITCHING_MARKET, UNITS, drawing, seed=seed, name=name)


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.features, other.features) and torch.equal(
        one.targets.nan_to_num(9.0), other.targets.nan_to_num(9.0)
    )


def market(seed: int = 3, bars: int = 300) -> HestonPaths:
    return simulate(SWITCHING_MARKET, 3, bars, random_stream(seed, "test"))


@pytest.mark.parametrize("number", [0, 2, 3, 7])
def test_a_batch_is_a_function_of_seed_and_number_alone(number: int) -> None:
    source = windows()
    batches = [source.next() for _ in range(number + 1)]
    later = windows()
    later.restore({"number": number})
    assert same(later.next(), batches[-1])
    assert later.state() == source.state() == {"number": number + 1}
    back = [source.restore({"number": 0}), source.next()][1]
    assert same(back, batches[0])


def test_batches_differ_by_number_seed_and_name() -> None:
    source = windows()
    found = [source.next(), source.next(), windows(seed=2).next(), windows(name="v").next()]
    assert not any(same(a, b) for i, a in enumerate(found) for b in found[:i])


def test_shapes_types_and_labels() -> None:
    batch = windows().next()
    rows = (DRAWING.batch, DRAWING.window_bars)
    assert batch.features.shape == (*rows, len(UNITS.schema.names))
    assert batch.targets.shape == (*rows, 1 + len(UNITS.horizons) + 1)
    assert batch.features.dtype == batch.targets.dtype == torch.float32
    assert batch.features.isfinite().all()
    assert set(batch.targets[..., -1].unique().tolist()) <= {0.0, 1.0}


def test_labels_are_those_of_the_simulator() -> None:
    paths = market()
    targets = UNITS.targets(paths)
    np.testing.assert_array_equal(targets[..., -1], paths.regime > 0)
    said = targets[..., 0] * UNITS.spread[0] + UNITS.centre[0]
    np.testing.assert_allclose(said, np.log(np.maximum(paths.variance, 1e-6)), atol=1e-5)
    calm = simulate(CALM_MARKET, 2, 100, random_stream(1, "calm"))
    assert np.isnan(UNITS.targets(calm)[..., -1]).all()


def test_the_future_changes_nothing_before_it() -> None:
    one, other, t = market(3), market(4), 200
    altered = {
        name: np.concatenate([getattr(one, name)[:, :t], getattr(other, name)[:, t:]], axis=1)
        for name in FIELDS
    }
    mixed = replace(one, **altered)
    np.testing.assert_array_equal(UNITS.features(mixed)[:, :t], UNITS.features(one)[:, :t])
    # Present labels are of the present; forecasts are labels of what comes, up to their horizon.
    targets, before = UNITS.targets(mixed), UNITS.targets(one)
    np.testing.assert_array_equal(targets[:, :t, [0, -1]], before[:, :t, [0, -1]])
    known = t - max(UNITS.horizons)
    np.testing.assert_array_equal(targets[:, :known], before[:, :known])
    assert not np.array_equal(targets[:, :t], before[:, :t])


def test_units_are_of_paths_drawn_for_them_and_standardise() -> None:
    assert UNITS.digest == units().digest
    paths = simulate(SWITCHING_MARKET, 64, 1000, random_stream(8, "fresh"))
    logs = UNITS.targets(paths)[..., :-1]
    assert np.abs(np.nanmedian(logs, axis=(0, 1))).max() < 0.25
    features = UNITS.features(paths)
    assert np.isfinite(features).all()


def test_varied_markets_are_as_wide_as_told() -> None:
    rng = random_stream(1, "laws")
    laws = [varied(SWITCHING_MARKET, 0.5, rng) for _ in range(400)]
    for name in ("kappa", "theta", "vol_of_vol", "mean_stay_bars"):
        base = getattr(SWITCHING_MARKET.regimes[1], name)
        off = np.log([getattr(law.regimes[1], name) / base for law in laws])
        assert np.abs(off).max() <= 0.5
        assert abs(off.std() - 0.5 / 3**0.5) < 0.03
    assert varied(SWITCHING_MARKET, 0.0, rng) is SWITCHING_MARKET


@pytest.mark.parametrize(
    "changes",
    [{"paths": 0}, {"uses": 0}, {"window_bars": 151}, {"window_bars": 1}, {"variety": -0.1}],
)
def test_impossible_drawings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="impossible drawing"):
        replace(DRAWING, **changes)
    with pytest.raises(InputError, match="impossible drawing"):
        Drawing(variety=float("nan"))
