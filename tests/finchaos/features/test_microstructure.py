"""VPIN and illiquidity: theory, plain twins, bars without volume."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finchaos.core.bars import Bar
from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features import FeatureSchema, load_schema
from finchaos.features.formula import Formula, Moves
from finchaos.features.microstructure import (
    LogAmihud,
    Vpin,
    amihud_loop,
    bucket_loop,
    past_loop,
)
from finchaos.markets.simulate.book_bars import book_bars
from finchaos.markets.simulate.order_book import OrderBookConfig, simulate_order_book
from tests.finchaos.features.examples import bars_of

ROWS = 20_000


def rng_of(name: str) -> np.random.Generator:
    return random_stream(8, f"test.microstructure.{name}")


def moves_of(returns: np.ndarray, volume: np.ndarray) -> Moves:
    """Of one path that starts at 100."""
    column = np.asarray(returns, dtype=np.float64)[:, None]
    none = np.zeros_like(column)
    close = 100.0 * np.exp(np.cumsum(column, axis=0))
    traded = np.asarray(volume, dtype=np.float64)[:, None]
    return Moves(column, none, none, close=close, volume=traded)


def values(formula: Formula, returns: np.ndarray, volume: np.ndarray) -> np.ndarray:
    return formula.open(1).advance(moves_of(returns, volume))[:, 0]


@pytest.mark.parametrize(
    ("bars", "expected"), [(1, 0.5), (30, None), (100, None)], ids=["1", "30", "100"]
)
def test_vpin_of_independent_returns(bars: int, expected: float | None) -> None:
    """0.5 at one bar a bucket, sqrt(2 / (3 pi m)) at many."""
    expected = np.sqrt(2.0 / (3.0 * np.pi * bars)) if expected is None else expected
    count = 200 * bars + 5_000
    returns = 0.001 * rng_of("iid").standard_normal(count)
    formula = Vpin(buckets=200, bars_per_bucket=bars, half_life=2_000.0)
    last = values(formula, returns, np.full(count, 1e6))[-1]
    # A bucket's share has the standard deviation of |U(-1, 1)|, or of a half normal.
    error = (0.29 if bars == 1 else 0.756 * expected) / np.sqrt(200)
    assert abs(last - expected) < 3 * error + 0.02 * expected


def test_vpin_of_a_steady_rise_is_one() -> None:
    returns = np.full(3_000, 0.001)
    formula = Vpin(buckets=20, bars_per_bucket=10, half_life=50.0)
    assert values(formula, returns, np.full(3_000, 5e5))[-1] == pytest.approx(1.0, abs=1e-12)
    assert values(formula, -returns, np.full(3_000, 5e5))[-1] == pytest.approx(1.0, abs=1e-12)


def plain_vpin(returns: np.ndarray, volume: np.ndarray, formula: Vpin) -> list[float]:
    """Lot by lot: every bar is dealt to buckets that are kept whole."""
    found, done, value = [], deque(maxlen=int(formula.buckets)), 0.0
    decay = 0.5 ** (1.0 / formula.half_life)
    seen: list[tuple[float, float]] = []
    size, parts = None, []
    for r, v in zip(returns.tolist(), volume.tolist(), strict=True):
        if v > 0:
            # The prior is one observation of a variance, and of nothing else, before the first.
            ages = decay ** np.arange(len(seen), -1, -1.0)
            mean = np.average([0.0, *(x for x, _ in seen)], weights=ages)
            squares = np.array([1e-4, *((x - mean) ** 2 for x, _ in seen)])
            squares[0] += mean**2
            sigma = max(float(np.sqrt(np.average(squares, weights=ages))), 1e-5)
            share = 2.0 * stats.norm.cdf(r / sigma) - 1.0
            typical = np.average([x for _, x in seen], weights=ages[1:]) if seen else v
            target = formula.bucket_volume or formula.bars_per_bucket * typical
            size = target if size is None else size
            left = v
            while left >= size - sum(part for part, _ in parts):
                part = size - sum(part for part, _ in parts)
                parts.append((part, share))
                done.append((abs(sum(p * s for p, s in parts)), size))
                left -= part
                parts, size = [], target
                value = sum(a for a, _ in done) / sum(b for _, b in done)
            parts.append((left, share))
            seen.append((r, v))
        found.append(value)
    return found


@pytest.mark.parametrize("bars", [0.3, 1.7, 6.3])
@pytest.mark.parametrize("volume", [None, 4321.5])
def test_vpin_equals_the_twin_that_deals_bars_to_buckets(bars: float, volume: float | None) -> None:
    rng = rng_of("twin")
    returns = 0.01 * rng.standard_t(4, 500)
    traded = np.round(1e3 * rng.gamma(1.0, 1.0, 500))
    traded[rng.random(500) < 0.1] = 0.0
    formula = Vpin(buckets=7, bars_per_bucket=bars, half_life=30.0, bucket_volume=volume)
    found = values(formula, returns, traded)
    assert found == pytest.approx(plain_vpin(returns, traded, formula), rel=1e-9, abs=1e-12)


def test_a_bar_that_fills_every_bucket_many_times_costs_no_more() -> None:
    rng = rng_of("burst")
    returns, traded = 0.01 * rng.standard_normal(60), np.full(60, 100.0)
    traded[40] = 100.0 * 5_003 + 37.0
    formula = Vpin(buckets=7, bars_per_bucket=2.0, bucket_volume=200.0)
    found = values(formula, returns, traded)
    assert found == pytest.approx(plain_vpin(returns, traded, formula), rel=1e-9)
    vast = traded.copy()
    vast[40] = 1e300
    assert np.isfinite(values(formula, returns, vast)).all()


def test_deviation_is_of_past_bars_only() -> None:
    """A jump is classified by the calm before it, whatever its own size."""
    returns = np.append(np.tile([0.001, -0.001], 500), 0.02)
    formula = Vpin(buckets=1, bars_per_bucket=1.0, half_life=100.0)
    assert values(formula, returns, np.ones(1001))[-1] == pytest.approx(1.0, abs=1e-12)


def test_bulk_classification_finds_who_bought_in_the_simulated_book() -> None:
    run = simulate_order_book(OrderBookConfig(), 100_000.0, rng_of("book"))
    found = book_bars(run, 60.0)
    returns = np.diff(np.log(found.bars.close), prepend=np.log(found.bars.close[0]))
    past = np.zeros((5, 1))
    past[0], past[2] = 1.0, 1e-4
    deviation, average = np.empty((len(returns), 1)), np.empty((len(returns), 1))
    past_loop(returns[:, None], found.bars.volume[:, None], 0.99, past, deviation, average)
    bought = found.bars.volume * stats.norm.cdf(returns / deviation[:, 0])
    some = found.bars.volume > 0
    true_share = (found.buy_volume / np.where(some, found.bars.volume, 1.0))[some]
    share = (bought / np.where(some, found.bars.volume, 1.0))[some]
    assert np.corrcoef(true_share, share)[0, 1] > 0.4


def test_the_volume_of_a_bucket_is_measured_on_the_training_window() -> None:
    rng = rng_of("fit")
    volume = np.append(0.0, rng.gamma(2.0, 100.0, 900))
    close = 50.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(901)))
    bars = bars_of(dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": volume})
    schema = load_schema("microstructure_v1").fitted(bars)
    assert schema.constants["vpin.bucket_volume"] == pytest.approx(8 * volume[1:].mean())
    assert schema.constants["vpin_fast.bucket_volume"] == pytest.approx(volume[1:].mean())
    assert schema.digest == load_schema("microstructure_v1").digest
    assert np.isfinite(schema.open().replay(bars)).all()
    with pytest.raises(DataError, match="no volume"):
        Vpin().fit(moves_of(np.zeros(5), np.zeros(5)))


def test_amihud_equals_pandas() -> None:
    rng = rng_of("amihud")
    returns, volume = 0.01 * rng.standard_normal(900), rng.gamma(2.0, 1e5, 900)
    found = values(LogAmihud(half_life=5.0, median_window=40), returns, volume)
    close = 100.0 * np.exp(np.cumsum(returns))
    mean = pd.Series(np.abs(returns) / (close * volume)).ewm(halflife=5.0, adjust=True).mean()
    expected = np.log(mean / mean.rolling(40, min_periods=1).median())
    assert found == pytest.approx(expected.to_numpy(), rel=1e-9, abs=1e-12)


def test_amihud_of_less_trading_is_higher() -> None:
    rng = rng_of("dry")
    returns, volume = 0.01 * rng.standard_normal(800), np.full(800, 1e6)
    volume[740:] /= 50.0
    found = values(LogAmihud(half_life=10.0, median_window=200), returns, volume)
    assert found[-1] == pytest.approx(np.log(50.0), abs=0.6)
    assert np.abs(found[400:740]).max() < 1.5


def test_amihud_bounds() -> None:
    formula = LogAmihud(half_life=1e-3, median_window=3)
    still, moved = np.zeros(6), np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.01])
    assert (values(formula, still, np.ones(6)) == 0.0).all()
    assert values(formula, moved, np.ones(6))[-1] == 10.0
    back = values(formula, np.array([0.01, 0.01, 0.01, 0.0]), np.ones(4))
    assert back[-1] == pytest.approx(-10.0)


@pytest.mark.parametrize("formula", [Vpin(5, 2.0, 20.0), LogAmihud(5.0, 30)])
def test_bars_without_volume_change_nothing(formula: Formula) -> None:
    rng = rng_of("gaps")
    returns, volume = 0.01 * rng.standard_normal(300), rng.gamma(2.0, 100.0, 300)
    gaps = rng.random(300) < 0.3
    volume[gaps] = 0.0
    moves = moves_of(returns, volume)
    found = formula.open(1).advance(moves)[:, 0]
    kept = {name: getattr(moves, name)[~gaps] for name in vars(moves) if getattr(moves, name).size}
    assert (formula.open(1).advance(Moves(**kept))[:, 0] == found[~gaps]).all()
    assert gaps[1:].any()
    assert (found[1:][gaps[1:]] == found[:-1][gaps[1:]]).all()


def test_no_volume_is_refused_and_a_bad_one_too() -> None:
    schema = load_schema("microstructure_v1")
    prices = dict.fromkeys(("open", "high", "low", "close"), np.linspace(10.0, 11.0, 900))
    with pytest.raises(DataError, match="no volume, and vpin, vpin_fast, log_amihud need it"):
        schema.build(bars_of(prices | {"volume": np.zeros(900)}))
    with pytest.raises(DataError, match="no volume"):
        schema.compute(prices)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="unusable"):
            schema.compute(prices | {"volume": np.full(900, bad)})
        with pytest.raises(DataError, match="unusable"):
            schema.open().step(Bar(pd.Timestamp("2020-01-02", tz="UTC"), 1.0, 1.0, 1.0, 1.0, bad))
    with pytest.raises(DataError, match="too few bars"):
        schema.build(
            bars_of({k: v[:100] for k, v in (prices | {"volume": prices["close"]}).items()})
        )


@pytest.mark.parametrize(
    ("formula", "params"),
    [
        (Vpin, {"buckets": 0}),
        (Vpin, {"buckets": 2.5}),
        (Vpin, {"bars_per_bucket": 0.0}),
        (Vpin, {"bars_per_bucket": 1e9}),
        (Vpin, {"half_life": 0.0}),
        (Vpin, {"bucket_volume": 0.0}),
        (Vpin, {"bucket_volume": np.nan}),
        (LogAmihud, {"half_life": -1.0}),
        (LogAmihud, {"median_window": 0}),
    ],
)
def test_impossible_parameters_are_refused(formula: Any, params: dict[str, float]) -> None:
    with pytest.raises(DataError):
        formula(**params)


def test_compiled_and_plain_loops_have_the_same_bits() -> None:
    rng = rng_of("bits")
    returns, volume = 0.01 * rng.standard_normal((200, 2)), rng.poisson(3.0, (200, 2)).astype(float)
    share, size = rng.uniform(-1, 1, (200, 2)), np.full((200, 2), 7.5)
    impact = np.where(volume > 0, np.abs(returns), np.nan)
    found = []
    for past, bucket, amihud in (
        (past_loop, bucket_loop, amihud_loop),
        (past_loop.py_func, bucket_loop.py_func, amihud_loop.py_func),
    ):
        out = [np.zeros((200, 2)) for _ in range(4)]
        past(returns, volume, 0.9, np.ones((5, 2)), out[0], out[1])
        state = (np.zeros((4, 2)), np.zeros((2, 6, 2)), np.zeros(2, dtype=np.int64))
        bucket(volume, share, size, *state, out[2])
        kept = (np.zeros((3, 2)), np.zeros((2, 2, 9)), np.zeros(2, dtype=np.int64))
        amihud(impact, 0.8, *kept, out[3])
        found.append([x.tolist() for x in (*out, *state, *kept)])
    assert found[0] == found[1]


@given(st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(0, 1e12)), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bars_give_values_within_bounds(rows: list[tuple[float, float]]) -> None:
    returns, volume = np.array(rows).T
    found = values(Vpin(4, 1.5, 5.0), returns, volume)
    assert ((found >= 0.0) & (found <= 1.0 + 1e-12)).all()
    assert (np.abs(values(LogAmihud(5.0, 7), returns, volume)) <= 10.0 + 1e-12).all()


def test_schema_names_and_lookback() -> None:
    schema: FeatureSchema = load_schema("microstructure_v1")
    assert schema.names[-3:] == ("vpin", "vpin_fast", "log_amihud")
    assert schema.lookback == 800
    assert schema.needs_volume
    assert not schema.needs_range
