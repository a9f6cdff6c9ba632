"""What holds for every formula, whoever wrote it: one run over all of them and all schemas."""

from __future__ import annotations

import inspect
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, DocumentError
from finchaos.features import FeatureSchema, load_schema, schema_names
from finchaos.features.schema import FORMULAS, FeatureSpec
from tests.finchaos.features.examples import REQUIRED, bars_of, every_formula, flat, simulated

ROWS = 420
STRIDE = 16
"""Bars from one estimate of the Lyapunov exponent to the next."""
EVERY = every_formula()
SCHEMAS = {"every": EVERY, **{name: load_schema(name) for name in schema_names()}}
PHASE = {"vpin": 1.5}
"""Features whose values depend on where their first bucket began, and by how many deviations."""
CHUNKS = st.lists(st.integers(1, ROWS - 1), max_size=6, unique=True)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return simulated(3, ROWS)


@pytest.fixture(scope="module")
def batch(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return EVERY.compute(arrays)


@pytest.fixture(scope="module")
def bars(arrays: dict[str, np.ndarray]) -> Bars:
    return bars_of({name: values[0] for name, values in arrays.items()})


def wrong(names: tuple[str, ...], one: np.ndarray, other: np.ndarray) -> list[str]:
    """Features that differ in any bit that matters to ==."""
    same = (one == other).all(axis=tuple(range(one.ndim - 1)))
    return [name for name, equal in zip(names, same, strict=True) if not equal]


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_steps_give_the_bits_of_the_batch(schema: FeatureSchema, bars: Bars) -> None:
    stream = schema.open()
    steps = np.array([stream.step(bars[row]) for row in range(len(bars))])
    assert wrong(schema.names, steps, schema.open().replay(bars)) == []


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_paths_together_give_the_bits_of_each_alone(
    schema: FeatureSchema, arrays: dict[str, np.ndarray]
) -> None:
    together = schema.compute(arrays)
    for path in range(3):
        alone = schema.compute({name: values[path] for name, values in arrays.items()})
        assert wrong(schema.names, alone, together[path]) == []


@given(CHUNKS)
@settings(max_examples=20, deadline=None)
def test_cuts_anywhere_give_the_bits_of_the_whole(cuts: list[int]) -> None:
    arrays = simulated(2, ROWS)
    whole = EVERY.open().replay(bars_of({name: values[0] for name, values in arrays.items()}))
    pieces = EVERY.open()
    edges = [0, *sorted(cuts), ROWS]
    parts = [
        pieces.advance({name: values[0, start:stop] for name, values in arrays.items()})
        for start, stop in pairwise(edges)
    ]
    assert wrong(EVERY.names, np.concatenate(parts), whole) == []


@pytest.mark.parametrize("cut", [1, 2, 15, 60, 300, ROWS - 1])
def test_an_altered_future_changes_nothing(
    cut: int, arrays: dict[str, np.ndarray], batch: np.ndarray
) -> None:
    others = {
        "another path": {k: np.concatenate([v[0, :cut], v[1, cut:]]) for k, v in arrays.items()},
        "reversal": {k: np.concatenate([v[0, :cut], v[0, cut:][::-1]]) for k, v in arrays.items()},
        "scale": {k: np.concatenate([v[0, :cut], 100.0 * v[0, cut:]]) for k, v in arrays.items()},
        "truncation": {k: v[0, :cut] for k, v in arrays.items()},
    }
    for altered in others.values():
        assert wrong(EVERY.names, EVERY.compute(altered)[:cut], batch[0, :cut]) == []


def test_the_test_of_the_future_can_fail(arrays: dict[str, np.ndarray], batch: np.ndarray) -> None:
    """Every feature reacts to the past within its look-back, so equality above says something."""
    moved = {name: values[0].copy() for name, values in arrays.items()}
    rows = np.arange(ROWS)
    swing = np.where(
        rows >= 340, np.exp(0.05 * np.sin(rows * 1.7) * np.minimum(rows - 339, 40)), 1.0
    )
    for name in ("open", "high", "low", "close"):
        moved[name] *= swing
    moved["volume"][340:] *= 1.0 + (rows[340:] % 3)
    altered = EVERY.compute(moved)[340:]
    assert wrong(EVERY.names, altered, batch[0, 340:]) == list(EVERY.names)


@pytest.mark.parametrize("power", [-9, 7])
def test_the_unit_of_prices_is_exactly_immaterial(
    power: int, arrays: dict[str, np.ndarray], batch: np.ndarray
) -> None:
    """A power of two changes no digit of a price, so nothing may change in a feature."""
    scaled = {k: v if k == "volume" else np.ldexp(v, power) for k, v in arrays.items()}
    assert wrong(EVERY.names, EVERY.compute(scaled), batch) == []


def test_another_unit_of_prices_or_volume_is_immaterial_up_to_rounding(
    arrays: dict[str, np.ndarray], batch: np.ndarray
) -> None:
    scaled = {k: 1000.0 * v if k == "volume" else 0.37 * v for k, v in arrays.items()}
    found = EVERY.compute(scaled)
    for column, name in enumerate(EVERY.names):
        assert found[..., column] == pytest.approx(batch[..., column], rel=1e-7, abs=1e-9), name


def test_finite_from_the_first_bar(batch: np.ndarray, bars: Bars) -> None:
    assert np.isfinite(batch).all()
    for rows in (1, 2, 3):
        assert np.isfinite(EVERY.open().replay(bars.rows(0, rows))).all()


@st.composite
def rough(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Any bars: crashes, spikes, bars without range, prices that repeat."""
    move = st.one_of(st.just(0.0), st.floats(-0.5, 0.5))
    width = st.one_of(st.just(0.0), st.floats(0.0, 0.3))
    moves = draw(st.lists(st.tuples(move, move, width, width), min_size=1, max_size=50))
    gap, body, up, down = np.array(moves).T
    opened = 4.0 + np.concatenate([[0.0], np.cumsum(gap + body)[:-1]]) + gap
    closed = opened + body
    volume = draw(st.lists(st.integers(0, 1000), min_size=len(moves), max_size=len(moves)))
    opens, closes = np.exp(opened), np.exp(closed)
    return {
        "open": opens,
        "high": np.maximum(opens, closes) * np.exp(up),
        "low": np.minimum(opens, closes) * np.exp(-down),
        "close": closes,
        "volume": np.array(volume, dtype=np.float64),
    }


@given(rough())
@settings(max_examples=60, deadline=None)
def test_any_bars_give_finite_features_and_bounded_ones_stay_bounded(
    arrays: dict[str, np.ndarray],
) -> None:
    found = EVERY.compute(arrays)
    assert np.isfinite(found).all()
    bounded = found[:, np.array(EVERY.bounded)]
    assert np.abs(bounded).max() <= 10.0
    steps = EVERY.open()
    rows = [
        steps.advance({k: v[row : row + 1] for k, v in arrays.items()}) for row in range(len(found))
    ]
    assert wrong(EVERY.names, np.concatenate(rows), found) == []


def test_a_price_that_never_moves_gives_finite_features_that_settle() -> None:
    """Whatever a feature says of nothing, it says the same again and again."""
    found = EVERY.compute(flat(3000))
    assert np.isfinite(found).all()
    late = found[-100:]
    assert (np.abs(late - late[-1]) <= 1e-6 * (1.0 + np.abs(late[-1]))).all()


def test_a_price_that_stops_moving_gives_finite_features(arrays: dict[str, np.ndarray]) -> None:
    still = flat(5000, float(arrays["close"][0, -1]))
    found = EVERY.compute({k: np.concatenate([v[0], still[k]]) for k, v in arrays.items()})
    assert np.isfinite(found).all()
    assert np.abs(found[-1]).max() < 100.0


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_each_parameter_is_validated(name: str) -> None:
    """No formula takes a number that cannot be meant."""
    fields = list(inspect.signature(FORMULAS[name]).parameters)
    for field in fields:
        for bad in (-1.0, float("inf")):
            params: dict[str, Any] = {**REQUIRED.get(name, {}), field: bad}
            with pytest.raises((DataError, DocumentError, ValueError)):
                FORMULAS[name](**params)
    params = {**REQUIRED.get(name, {}), "no_such_parameter": 1.0}
    spec = FeatureSpec(name="f", formula=name, params=params)
    with pytest.raises(DocumentError, match="cannot be made"):
        FeatureSchema("x", (spec,))


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_windows_are_whole_numbers_of_bars(name: str) -> None:
    for field in inspect.signature(FORMULAS[name]).parameters:
        if field.endswith("window") or field in ("fast", "slow", "signal", "smooth"):
            for bad in (0.0, 2.5):
                with pytest.raises(DataError, match=field):
                    FORMULAS[name](**{**REQUIRED.get(name, {}), field: bad})


def test_lookbacks_are_whole_positive_numbers() -> None:
    for name, bars_back in zip(EVERY.names, EVERY.lookbacks, strict=True):
        assert isinstance(bars_back, int), name
        assert bars_back >= 1, name


def test_what_came_before_the_lookback_weighs_little() -> None:
    """Streams that start late agree with those that did not, a look-back and some bars on."""
    arrays = simulated(24, 1200, seed=3)
    whole = EVERY.compute(arrays)
    spread = whole[:, 600:].std(axis=(0, 1))
    for column, name in enumerate(EVERY.names):
        start = 1200 - EVERY.lookbacks[column] - 20
        # Features that are taken anew every few bars count them from the first.
        start -= start % STRIDE
        late = EVERY.compute({k: v[:, start:] for k, v in arrays.items()})
        apart = np.abs(late[:, -1, column] - whole[:, -1, column]) / max(spread[column], 1e-12)
        assert np.quantile(apart, 0.9) < PHASE.get(name, 0.3), name


def test_a_stream_does_not_grow(arrays: dict[str, np.ndarray]) -> None:
    one = {name: values[0] for name, values in arrays.items()}
    stream = EVERY.open()
    stream.advance(one)
    size = len(pickle.dumps(stream))
    for _ in range(5):
        stream.advance(one)
    # Only counters may take another byte or two.
    assert len(pickle.dumps(stream)) <= size + 4 * len(EVERY.names)


def test_a_pickled_stream_goes_on_with_the_same_bits(bars: Bars) -> None:
    stream = EVERY.open()
    stream.replay(bars.rows(0, 200))
    again = pickle.loads(pickle.dumps(stream))  # noqa: S301
    assert wrong(EVERY.names, again.replay(bars.rows(200)), stream.replay(bars.rows(200))) == []
