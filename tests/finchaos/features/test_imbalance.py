"""Order-book imbalance: the formula by hand, its bounds, and the step's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.imbalance import order_book_imbalance, order_book_imbalance_step
from finchaos.markets.simulate.order_book import OrderBookConfig, simulate_order_book

DEPTHS = arrays(np.float64, (2, 4, 6), elements=st.one_of(st.just(0.0), st.floats(0.0, 1e9)))


def test_by_hand() -> None:
    bid, ask = np.array([[10.0, 0.0, 4.0]]), np.array([[5.0, 5.0, 0.0]])
    w = np.exp(-np.arange(3) / 2)
    buy, sell = 10 + 4 * w[2], 5 + 5 * w[1]
    expected = (buy - sell) / (buy + sell)
    assert order_book_imbalance(bid, ask, levels=3) == pytest.approx([expected], rel=1e-15)
    assert order_book_imbalance(bid, ask, levels=1) == pytest.approx([1 / 3], rel=1e-15)


def test_five_levels_by_default() -> None:
    rng = random_stream(1, "test.imbalance")
    bid, ask = rng.poisson(5.0, (2, 30, 7)).astype(float)
    w = np.exp(-np.arange(5) / 2)
    expected = (bid[:, :5] @ w - ask[:, :5] @ w) / ((bid + ask)[:, :5] @ w)
    assert order_book_imbalance(bid, ask) == pytest.approx(expected, rel=1e-13)


@given(DEPTHS)
def test_bounded_antisymmetric_and_the_step_has_the_bits(depth: np.ndarray) -> None:
    bid, ask = depth
    found = order_book_imbalance(bid, ask)
    assert (np.abs(found) <= 1.0 + 1e-15).all()
    assert (order_book_imbalance(ask, bid) == -found).all()
    steps = [order_book_imbalance_step(b, a) for b, a in zip(bid, ask, strict=True)]
    assert found.tolist() == steps
    assert found[2:].tolist() == order_book_imbalance(bid[2:], ask[2:]).tolist()
    together = order_book_imbalance(bid.reshape(2, 2, 6), ask.reshape(2, 2, 6))
    assert together.ravel().tolist() == steps


def test_one_sided_and_empty_books() -> None:
    full, empty = np.ones(5), np.zeros(5)
    assert order_book_imbalance(full, empty) == 1.0
    assert order_book_imbalance(empty, full) == -1.0
    assert order_book_imbalance(empty, empty) == 0.0
    assert order_book_imbalance_step(empty, empty) == 0.0


def test_it_tells_which_way_the_mid_price_goes_next() -> None:
    """On a simulated book, as on real ones, the heavier side pushes."""
    times = np.arange(5.0, 40_000.0, 5.0)
    rng = random_stream(2, "test.imbalance.book")
    run = simulate_order_book(OrderBookConfig(), 40_000.0, rng, depth_times=times)
    found = order_book_imbalance(run.depth.bid_lots, run.depth.ask_lots)
    mid = 0.5 * (run.depth.bid_tick[:, 0] + run.depth.ask_tick[:, 0])
    assert np.corrcoef(found[:-1], np.sign(np.diff(mid)))[0, 1] > 0.05


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_unusable_depth_is_refused(bad: float) -> None:
    good, other = np.ones(5), np.array([1.0, 1.0, bad, 1.0, 1.0])
    for measure in (order_book_imbalance, order_book_imbalance_step):
        with pytest.raises(DataError, match="bid depth"):
            measure(other, good)
        with pytest.raises(DataError, match="ask depth"):
            measure(good, other)
    # Levels that do not count are not looked at.
    assert order_book_imbalance(good, other, levels=2) == 0.0


def test_wrong_shapes_are_refused() -> None:
    for bid, ask, levels in ((np.ones(4), np.ones(4), 5), (np.ones(5), np.ones(6), 5)):
        for measure in (order_book_imbalance, order_book_imbalance_step):
            with pytest.raises(DataError, match="wrong shape"):
                measure(bid, ask, levels=levels)
    with pytest.raises(DataError, match="wrong shape"):
        order_book_imbalance(np.ones(5), np.ones(5), levels=0)
    with pytest.raises(DataError, match="wrong shape"):
        order_book_imbalance(np.float64(1.0), np.float64(1.0), levels=1)
