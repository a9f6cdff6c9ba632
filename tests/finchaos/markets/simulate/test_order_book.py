"""The book against a twin with queues of orders; what never fails; the stylised facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.book_config import symmetric_kernels
from finchaos.markets.simulate.book_kernel import (
    CANCELLED,
    EXPIRED,
    PLACED,
    REPLENISHED,
    TRADED,
    UNFILLED,
    Fills,
    Snapshots,
    run_book,
)
from finchaos.markets.simulate.hawkes_fit import residuals
from finchaos.markets.simulate.order_book import (
    CALM,
    FlowRegime,
    OrderBookConfig,
    OrderBookRun,
    simulate_order_book,
)
from tests.finchaos.markets.simulate.queues import QueueBook

USUAL = OrderBookConfig()
THIN = OrderBookConfig(
    regimes=(FlowRegime(0.2, 0.2, 0.3, 60.0), FlowRegime(0.1, 0.3, 0.6, 30.0)),
    initial_tick=12,
    initial_depth=1,
    mean_market_size=8.0,
    placement_levels=4,
    cancel_share=0.5,
    reach=4,
    reference_distance=3,
    reserve=2,
)
"""Sides run empty, prices reach the floor, and orders fall out of reach."""


def run(config: OrderBookConfig, horizon: float, name: str = "run", **kw: Any) -> OrderBookRun:
    return simulate_order_book(config, horizon, random_stream(3, f"test.order_book.{name}"), **kw)


@pytest.fixture(scope="module")
def usual() -> OrderBookRun:
    return run(USUAL, 60_000.0, "facts")


@pytest.mark.parametrize("config", [USUAL, THIN], ids=["usual", "thin"])
def test_equals_the_book_of_queues(config: OrderBookConfig) -> None:
    horizon = 400.0
    times = np.array([0.0, 50.0, 50.0, 200.0, 400.0])
    found = run(config, horizon, depth_times=times, depth_levels=3)
    twin = QueueBook(config, random_stream(3, "test.order_book.run").spawn(3)[2])
    shots = []
    for k, (time, channel) in enumerate(zip(found.flow.time, found.flow.channel, strict=True)):
        while len(shots) < len(times) and times[len(shots)] < time:
            shots.append(depth_of(twin))
        twin.act(k, int(channel))
        quote = [found.bid[k], found.bid_lots[k], found.ask[k], found.ask_lots[k]]
        bid, ask = twin.best(0), twin.best(1)
        assert quote == [bid, twin.lots(0, bid), ask, twin.lots(1, ask)], k
    shots += [depth_of(twin)] * (len(times) - len(shots))
    trades, depth = found.trades, found.depth
    fills = list(zip(*(x.tolist() for x in (trades.event, trades.tick, trades.lots)), strict=True))
    assert len(fills) > 50
    assert fills == twin.fills
    rows = np.stack([depth.bid_tick, depth.bid_lots, depth.ask_tick, depth.ask_lots], axis=1)
    assert rows.tolist() == [list(map(list, shot)) for shot in shots]
    if config is THIN:
        assert found.book.account[[REPLENISHED, EXPIRED, UNFILLED]].min() > 0


def depth_of(twin: QueueBook) -> tuple[list[int], ...]:
    rows = []
    for side in range(2):
        ticks = twin.ranked(side)[:3]
        rows.append((ticks + [0] * 3)[:3])
        rows.append(([twin.lots(side, tick) for tick in ticks] + [0] * 3)[:3])
    return tuple(rows)


def test_trades_go_by_price_and_then_by_time() -> None:
    """In the twin, whose totals the ladder has: at one price, orders trade oldest first."""
    found = run(USUAL, 400.0)
    twin = QueueBook(USUAL, random_stream(3, "test.order_book.run").spawn(3)[2])
    for k, channel in enumerate(found.flow.channel.tolist()):
        before = len(twin.sequence)
        buyer = channel == 4
        twin.act(k, channel)
        ticks = [tick for tick, _ in twin.sequence[before:]]
        assert ticks == sorted(ticks, reverse=not buyer)
        for one, other in zip(twin.sequence[before:], twin.sequence[before + 1 :], strict=False):
            assert one[0] != other[0] or one[1] < other[1]


def test_compiled_and_plain_give_the_same_book() -> None:
    flow = run(THIN, 200.0).flow
    found = []
    for kernel in (run_book, run_book.py_func):
        book, quotes = THIN.open(), np.zeros((len(flow), 4), dtype=np.int64)
        fills = Fills(*(np.zeros(2 * len(flow) + 8, dtype=np.int64) for _ in range(3)))
        empty = np.zeros((0, 2, 1), dtype=np.int64)
        shots = Snapshots(np.array([]), empty, empty)
        rng = random_stream(1, "test.order_book.plain")
        filled = kernel(book, THIN.rules(), flow.time, flow.channel, rng, quotes, fills, shots)
        found.append([filled, quotes.tolist(), *(x.tolist() for x in (*book, *fills))])
    assert found[0] == found[1]


@st.composite
def markets(draw: st.DrawFn) -> OrderBookConfig:
    rate = st.floats(0.0, 2.0)
    regimes = draw(
        st.lists(
            st.builds(FlowRegime, rate, rate, st.floats(0.01, 2.0), st.floats(1.0, 100.0)),
            min_size=1,
            max_size=3,
        )
    )
    reach = draw(st.sampled_from([1, 2, 8, 64]))
    return OrderBookConfig(
        regimes=tuple(regimes),
        initial_tick=draw(st.integers(1, 200)),
        initial_depth=draw(st.integers(1, 9)),
        mean_limit_size=draw(st.floats(1.0, 10.0)),
        mean_market_size=draw(st.floats(1.0, 40.0)),
        placement_exponent=draw(st.floats(0.0, 4.0)),
        placement_levels=draw(st.integers(1, reach)),
        cancel_share=draw(st.floats(0.01, 1.0)),
        reach=reach,
        reference_distance=draw(st.integers(1, 100)),
        reserve=draw(st.integers(1, 50)),
    )


@given(markets(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_lots_are_conserved_and_the_book_never_crosses_or_runs_empty(
    config: OrderBookConfig, seed: int
) -> None:
    found = simulate_order_book(config, 60.0, random_stream(seed, "test.order_book.any"))
    account, book = found.book.account, found.book
    resting = book.volume.sum(axis=1)
    assert (account >= 0).all()
    assert (book.volume >= 0).all()
    assert (book.total == resting).all()
    added = account[PLACED] + account[REPLENISHED]
    assert (added == account[TRADED] + account[CANCELLED] + account[EXPIRED] + resting).all()
    sold = found.trades.sign < 0
    assert account[TRADED].tolist() == [
        found.trades.lots[sold].sum(),
        found.trades.lots[~sold].sum(),
    ]
    assert (found.bid >= 1).all()
    assert (found.bid < found.ask).all()
    assert (found.bid_lots > 0).all()
    assert (found.ask_lots > 0).all()
    assert (np.diff(found.trades.event) >= 0).all()
    assert (found.trades.lots > 0).all()


def test_a_longer_horizon_changes_nothing_before() -> None:
    short, long = run(THIN, 300.0), run(THIN, 900.0)
    n, m, s = len(short.flow), len(short.trades), len(short.switch_time)
    assert s > 2
    assert (long.flow.time[:n] == short.flow.time).all()
    for name in ("bid", "bid_lots", "ask", "ask_lots"):
        assert (getattr(long, name)[:n] == getattr(short, name)).all()
    assert (long.trades.tick[:m] == short.trades.tick).all()
    assert (long.switch_time[:s] == short.switch_time).all()
    assert long.flow.time[n] > 300.0


def test_depth_begins_with_the_quotes(usual: OrderBookRun) -> None:
    times = np.sort(random_stream(1, "test.order_book.depth").uniform(0, 60_000.0, 500))
    seen = run(USUAL, 60_000.0, "facts", depth_times=times, depth_levels=5)
    row = np.searchsorted(seen.flow.time, times, side="right") - 1
    assert (seen.depth.bid_tick[:, 0] == usual.bid[row]).all()
    assert (seen.depth.ask_lots[:, 0] == usual.ask_lots[row]).all()
    there = (seen.depth.bid_lots[:, 1:] > 0, seen.depth.ask_lots[:, 1:] > 0)
    assert (np.diff(seen.depth.bid_tick, axis=1)[there[0]] < 0).all()
    assert (np.diff(seen.depth.ask_tick, axis=1)[there[1]] > 0).all()
    assert min(there[0].mean(), there[1].mean()) > 0.95


def test_depth_at_the_time_of_an_event_is_that_after_it() -> None:
    found = run(USUAL, 300.0)
    seen = run(USUAL, 300.0, depth_times=found.flow.time, depth_levels=1).depth
    assert (seen.bid_tick[:, 0] == found.bid).all()
    assert (seen.bid_lots[:, 0] == found.bid_lots).all()
    assert (seen.ask_lots[:, 0] == found.ask_lots).all()


def test_order_sizes_and_placement_have_their_laws() -> None:
    found = run(replace(USUAL, regimes=(CALM,)), 60_000.0, "sizes")
    counts = np.bincount(found.flow.channel, minlength=6)
    account = found.book.account
    placed = account[PLACED].sum() - 2 * 30 * USUAL.initial_depth
    assert placed / counts[:2].sum() == pytest.approx(2.0, rel=0.02)
    asked = account[TRADED].sum() + account[UNFILLED].sum()
    assert asked / counts[4:].sum() == pytest.approx(3.0, rel=0.03)


def test_the_flow_is_the_hawkes_process_of_its_regime() -> None:
    config = replace(USUAL, regimes=(CALM,))
    found = run(config, 30_000.0, "rescaled")
    unit = residuals(config.laws[0], found.flow)
    for channel in range(6):
        assert stats.kstest(unit[found.flow.channel == channel], "expon").pvalue > 0.002
    rate = np.bincount(found.flow.channel) / 30_000.0
    error = np.sqrt(np.diag(config.laws[0].count_covariance) / 30_000.0)
    assert (np.abs(rate - config.laws[0].mean_rate) < 4 * error).all()


def test_regimes_stay_as_long_as_they_should() -> None:
    found = run(THIN, 60_000.0, "stays")
    spells = np.diff(found.switch_time)
    inside = found.regime[1:-1]
    for k, regime in enumerate(THIN.regimes):
        own = spells[inside == k]
        assert own.mean() == pytest.approx(regime.mean_stay, rel=4 / np.sqrt(len(own)))
    assert (np.diff(found.regime) != 0).all()
    middle = 0.5 * (found.switch_time[1:] + found.switch_time[:-1])
    assert (found.regime_at(middle) == inside).all()
    assert found.regime_at(found.switch_time[:1])[0] == found.regime[1]


def autocorrelation(values: np.ndarray, lag: int = 1) -> float:
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / centred.var())


def last_fills(found: OrderBookRun) -> np.ndarray:
    return np.append(np.diff(found.trades.event) != 0, True)


def test_trade_prices_bounce_and_have_heavy_tails(usual: OrderBookRun) -> None:
    price = np.log(usual.trades.tick[last_fills(usual)].astype(np.float64))
    moves = np.diff(price)
    assert len(moves) > 20_000
    assert stats.kurtosis(moves, fisher=False) > 4.0
    assert autocorrelation(moves) < -0.2
    # The signature plot falls: variance per trade at lag 1 is that of the bounce.
    per_lag = [((price[k:] - price[:-k]) ** 2).mean() / k for k in (1, 5, 50)]
    assert per_lag[0] > 1.5 * per_lag[1] > 1.5 * per_lag[2]


def test_absolute_returns_and_signs_cluster(usual: OrderBookRun) -> None:
    last = last_fills(usual)
    moves = np.abs(np.diff(np.log(usual.trades.tick[last].astype(np.float64))))
    noise = 4 / np.sqrt(len(moves))
    for lag in (1, 5, 20):
        assert autocorrelation(moves, lag) > noise
    sign = usual.trades.sign[last].astype(np.float64)
    assert autocorrelation(sign) > 0.1
    assert autocorrelation(sign, 5) > noise
    minutes = np.arange(60.0, 60_000.0, 60.0)
    row = np.searchsorted(usual.flow.time, minutes, side="right") - 1
    mid = np.log(0.5 * (usual.bid[row] + usual.ask[row]))
    assert stats.kurtosis(np.diff(mid), fisher=False) > 4.0
    assert autocorrelation(np.abs(np.diff(mid))) > 0.1


def test_stress_is_more_volatile_with_wider_spreads(usual: OrderBookRun) -> None:
    label = usual.regime_at(usual.flow.time)
    spread = usual.ask - usual.bid
    assert spread[label == 1].mean() > 1.3 * spread[label == 0].mean()


@pytest.mark.parametrize(
    "change",
    [
        {"regimes": ()},
        {"initial_regime": 2},
        {"initial_regime": -1},
        {"tick_size": 0.0},
        {"tick_size": np.inf},
        {"initial_tick": 0},
        {"initial_depth": 0},
        {"mean_limit_size": 0.5},
        {"mean_market_size": np.nan},
        {"placement_exponent": -1.0},
        {"placement_levels": 0},
        {"placement_levels": 513},
        {"cancel_share": 0.0},
        {"cancel_share": 1.1},
        {"reach": 500},
        {"reach": 0},
        {"reference_distance": 0},
        {"reserve": 0},
        {"reserve": 2.5},
        {"initial_depth": 10**10},
        {"mean_market_size": 1e300},
        {"reach": 512.0},
    ],
)
def test_impossible_books_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="impossible order book"):
        replace(USUAL, **change)


def test_impossible_flows_are_refused() -> None:
    for bad in ((-1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 0.0, 1.0), (1.0, 1.0, 1.0, 0.0)):
        with pytest.raises(InputError, match="regime of order flow"):
            FlowRegime(*bad)
    explosive = symmetric_kernels(
        ((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.8)), ((0, 0, 0), (0, 0, 0), (0, 0, 0.3)), (1.0,), (1.0,)
    )
    with pytest.raises(InputError, match="spectral radius below 1"):
        replace(USUAL, excitation=explosive, decay=(1.0,))
    with pytest.raises(InputError, match="impossible Hawkes rates"):
        replace(USUAL, excitation=(((0.1,),),), decay=(1.0,))


def test_impossible_runs_are_refused() -> None:
    for horizon in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InputError, match="nothing to simulate"):
            run(USUAL, horizon)
    for times in ([2.0, 1.0], [-1.0], [11.0], [[1.0]], [np.nan]):
        with pytest.raises(InputError, match="depth"):
            run(USUAL, 10.0, depth_times=np.array(times))
    with pytest.raises(InputError, match="depth"):
        run(USUAL, 10.0, depth_times=np.array([1.0]), depth_levels=0)
