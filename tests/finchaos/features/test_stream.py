"""Streaming equals batch to the bit; nothing looks ahead; prices have no scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.bars import Bar, Bars
from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features import FeatureSchema, load_schema, schema_names
from finchaos.features.formula import Moves
from finchaos.features.schema import FORMULAS, FeatureSpec
from finchaos.markets.simulate.heston import HestonConfig, HestonPaths, simulate

PRICES = ("open", "high", "low", "close")
SCHEMA = load_schema("regime_v1")
MOVES = st.tuples(
    st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(0.0, 0.3), st.floats(0.0, 0.3)
)
"""Gap, body, and how far the range goes beyond them, in logs."""


@st.composite
def markets(draw: st.DrawFn) -> Bars:
    """Any bars: gaps, crashes, flat and unchanged bars."""
    moves = draw(st.lists(st.one_of(MOVES, st.just((0.0, 0.0, 0.0, 0.0))), min_size=1, max_size=60))
    gap, body, up, down = np.array(moves).T
    opened = np.log(100.0) + np.concatenate([[0.0], np.cumsum(gap + body)[:-1]]) + gap
    closed = opened + body
    prices = {
        "open": np.exp(opened),
        "high": np.exp(np.maximum(opened, closed) + up),
        "low": np.exp(np.minimum(opened, closed) - down),
        "close": np.exp(closed),
    }
    index = pd.date_range("2001-01-02 21:00", periods=len(moves), freq="B", tz="UTC")
    return Bars(index=index, **prices, volume=np.ones(len(moves)), symbol="ANY")


@pytest.fixture(scope="module")
def paths() -> HestonPaths:
    return simulate(HestonConfig(), 5, 400, random_stream(9, "test.features"))


def arrays(paths: HestonPaths) -> dict[str, np.ndarray]:
    return {name: getattr(paths, name) for name in PRICES}


def built(schema: FeatureSchema, bars: Bars) -> np.ndarray:
    features = schema.build(bars)
    assert features.names == schema.names
    assert features.schema_digest == schema.digest
    assert (features.index == bars.index).all()
    return features.values  # noqa: PD011


def stepped(schema: FeatureSchema, bars: Bars) -> np.ndarray:
    stream = schema.open()
    return np.array([stream.step(bars[row]) for row in range(len(bars))])


@given(markets())
@settings(max_examples=60, deadline=None)
def test_steps_equal_batch_to_the_bit_and_are_finite(bars: Bars) -> None:
    batch = SCHEMA.open().replay(bars)
    assert np.isfinite(batch).all()
    assert (stepped(SCHEMA, bars) == batch).all()


@given(markets(), st.floats(1e-3, 1e5))
@settings(max_examples=60, deadline=None)
def test_the_unit_of_prices_does_not_matter(bars: Bars, unit: float) -> None:
    other = bars.with_values(**{name: getattr(bars, name) * unit for name in PRICES})
    assert SCHEMA.open().replay(other) == pytest.approx(SCHEMA.open().replay(bars), abs=1e-9)


@given(markets(), st.data())
@settings(max_examples=40, deadline=None)
def test_chunks_of_any_length_give_the_same_bits(bars: Bars, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(bars)))
    stream = SCHEMA.open()
    parts = [stream.replay(bars.rows(0, cut)), stream.replay(bars.rows(cut))]
    assert (np.concatenate(parts) == SCHEMA.open().replay(bars)).all()


@pytest.mark.parametrize("name", schema_names())
def test_many_paths_equal_each_alone(name: str, paths: HestonPaths) -> None:
    schema = load_schema(name)
    together = schema.compute({**arrays(paths), "volume": paths.volume})
    assert together.shape == (5, 400, len(schema.names))
    for path in range(5):
        assert (together[path] == schema.open().replay(paths.bars(path))).all()
    assert (stepped(schema, paths.bars(2)) == together[2]).all()


def test_leading_shapes_are_kept(paths: HestonPaths) -> None:
    flat = SCHEMA.compute(arrays(paths))
    stacked = SCHEMA.compute({name: v[:4].reshape(2, 2, -1) for name, v in arrays(paths).items()})
    assert (stacked.reshape(4, 400, -1) == flat[:4]).all()
    single = SCHEMA.compute({name: v[0] for name, v in arrays(paths).items()})
    assert (single == flat[0]).all()


@pytest.mark.parametrize("feature", SCHEMA.names)
@pytest.mark.parametrize("cut", [1, 2, 150, 399])
def test_no_feature_looks_ahead(feature: str, cut: int, paths: HestonPaths) -> None:
    before = {name: values[0] for name, values in arrays(paths).items()}
    after = {
        "noise": {k: np.concatenate([v[:cut], paths.close[1][cut:]]) for k, v in before.items()},
        "reversal": {k: np.concatenate([v[:cut], v[cut:][::-1]]) for k, v in before.items()},
        "scale": {k: np.concatenate([v[:cut], 100.0 * v[cut:]]) for k, v in before.items()},
        "truncation": {k: v[:cut] for k, v in before.items()},
    }
    column = SCHEMA.names.index(feature)
    true = SCHEMA.compute(before)[:cut, column]
    for altered in after.values():
        assert (SCHEMA.compute(altered)[:cut, column] == true).all()


def test_the_future_does_matter_to_the_future(paths: HestonPaths) -> None:
    """The causality test can fail: every feature of the last row reacts to the last bar."""
    before = {name: values[0] for name, values in arrays(paths).items()}
    moved = {k: v.copy() for k, v in before.items()}
    for name, factor in (("high", 1.0), ("open", 1.0), ("low", 0.5), ("close", 0.6)):
        moved[name][-1] *= factor
    assert (SCHEMA.compute(moved)[-1] != SCHEMA.compute(before)[-1]).all()


def test_what_came_before_the_lookback_weighs_little(paths: HestonPaths) -> None:
    whole = SCHEMA.open().replay(paths.bars(0))
    late = SCHEMA.open().replay(paths.bars(0).rows(400 - SCHEMA.lookback - 20))
    spread = whole.std(axis=0)
    assert (np.abs(whole[-1] - late[-1]) < 0.3 * spread).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [("close", np.nan), ("open", np.inf), ("low", -1.0), ("high", 0.0), ("high", 1.0)],
)
def test_a_bad_bar_is_refused_and_forgotten(field: str, value: float, paths: HestonPaths) -> None:
    bars = paths.bars(0)
    good = bars[21]
    fields = {name: getattr(good, name) for name in (*PRICES, "volume")}
    bad = Bar(ts=good.ts, **{**fields, field: value})
    stream = SCHEMA.open()
    stream.replay(bars.rows(0, 21))
    with pytest.raises(DataError):
        stream.step(bad)
    assert (stream.step(good) == SCHEMA.open().replay(bars.rows(0, 22))[-1]).all()


def test_closes_alone_are_refused_where_a_range_is_needed(paths: HestonPaths) -> None:
    bars = paths.bars(0)
    closes = Bars(
        index=bars.index,
        open=bars.close,
        high=bars.close,
        low=bars.close,
        close=bars.close,
        volume=np.zeros(len(bars)),
        symbol="CLOSES",
        has_range=False,
    )
    with pytest.raises(DataError, match="closes only"):
        SCHEMA.build(closes)
    with pytest.raises(DataError, match="missing"):
        SCHEMA.compute({"close": bars.close})
    schema = load_schema("regime_close_v1")
    alone = built(schema, closes)
    assert (schema.compute({"close": bars.close}) == alone).all()
    assert (alone == built(schema, bars)).all()
    assert alone[0, 0] == 0.0


def test_too_few_bars_and_wrong_shapes_are_refused(paths: HestonPaths) -> None:
    with pytest.raises(DataError, match="too few bars"):
        SCHEMA.build(paths.bars(0).rows(0, SCHEMA.lookback - 1))
    with pytest.raises(DataError, match="missing"):
        SCHEMA.compute({})
    with pytest.raises(DataError, match="shape"):
        SCHEMA.compute({**arrays(paths), "high": paths.high[:, 1:]})
    with pytest.raises(DataError, match="unusable"):
        SCHEMA.compute({**arrays(paths), "high": 0.0 * paths.high})


@dataclass(frozen=True)
class LogVolume:
    """A formula that reads the volume."""

    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    needs_volume: ClassVar[bool] = True
    bounded: ClassVar[bool] = False
    lookback: ClassVar[int] = 1

    def open(self, paths: int) -> LogVolume:
        return self

    def advance(self, moves: Moves) -> np.ndarray:
        return np.log1p(moves.volume)


@pytest.fixture
def of_volume(monkeypatch: pytest.MonkeyPatch) -> FeatureSchema:
    monkeypatch.setattr("finchaos.features.schema.FORMULAS", {**FORMULAS, "log_volume": LogVolume})
    specs = (("r", "log_return"), ("traded", "log_volume"))
    return FeatureSchema("x", tuple(FeatureSpec(name=n, formula=f) for n, f in specs))


def test_volume_reaches_the_formulas_that_need_it(
    of_volume: FeatureSchema, paths: HestonPaths
) -> None:
    bars = paths.bars(0).with_values(volume=np.arange(400.0))
    assert of_volume.needs_volume
    assert not SCHEMA.needs_volume
    found = built(of_volume, bars)
    assert (found[:, 1] == np.log1p(np.arange(400.0))).all()
    assert (stepped(of_volume, bars) == found).all()


def test_missing_volume_names_the_feature_and_the_remedy(
    of_volume: FeatureSchema, paths: HestonPaths
) -> None:
    bars = paths.bars(0).with_values(volume=np.zeros(400))
    with pytest.raises(DataError, match=r"no volume, and traded need it.*load bars with volume"):
        of_volume.build(bars)
    with pytest.raises(DataError, match="traded need it"):
        of_volume.compute(arrays(paths))
    with pytest.raises(DataError, match="volume has the wrong shape"):
        of_volume.compute({**arrays(paths), "volume": np.ones(3)})
    with pytest.raises(DataError, match="volume has 1 unusable values, and traded need it"):
        of_volume.open().step(replace(bars[0], volume=np.nan))
    assert len(stepped(SCHEMA, bars)) == 400


def test_bars_without_trades_in_a_market_that_trades_are_no_fault(
    of_volume: FeatureSchema, paths: HestonPaths
) -> None:
    bars = paths.bars(0).with_values(volume=np.r_[np.ones(200), np.zeros(200)])
    stream = of_volume.open()
    parts = [stream.replay(bars.rows(0, 250)), stream.replay(bars.rows(250))]
    assert (np.concatenate(parts) == built(of_volume, bars)).all()
