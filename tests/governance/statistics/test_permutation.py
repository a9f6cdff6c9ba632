"""Shuffled bars: possible, causal, and different in one piece of information only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.permutation import (
    INPUTS,
    block_permutation,
    informative_inputs,
    permuted_bars,
)
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(5, 300)
START = 100


def parts(bars: Bars) -> dict[str, np.ndarray]:
    before = bars.close[:-1]
    upper = np.maximum(bars.open, bars.close)[1:]
    lower = np.minimum(bars.open, bars.close)[1:]
    return {
        "return": np.log(bars.close[1:] / before),
        "open": np.log(bars.open[1:] / before),
        "high": np.log(bars.high[1:] / upper),
        "low": np.log(lower / bars.low[1:]),
        "volume": bars.volume[1:],
    }


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("seed", range(3))
def test_only_the_named_input_moves(name: str, seed: int) -> None:
    order = block_permutation(random_stream(seed, "order"), len(BARS) - START, 5)
    shuffled = permuted_bars(BARS, name, START, order)
    for field in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(
            getattr(shuffled, field)[:START], getattr(BARS, field)[:START]
        )
    before, after = parts(BARS), parts(shuffled)
    for other in INPUTS:
        expected = before[other].copy()
        if other == name:
            expected[START - 1 :] = expected[START - 1 :][order]
        np.testing.assert_allclose(after[other], expected, atol=1e-12)
    assert shuffled.provenance.kind == "simulated"


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 9))
def test_a_block_permutation_is_one(n: int, block: int, seed: int) -> None:
    order = block_permutation(random_stream(seed, "blocks"), n, block)
    assert sorted(order.tolist()) == list(range(n))
    # Joins between neighbours: all but those at the ends of blocks and at the rolled end.
    kept = int(((np.diff(order) % n) == 1).sum()) if n > 1 else 0
    assert kept >= n - 1 - -(-n // block)


def test_closes_alone_have_returns_alone() -> None:
    close = BARS.close
    flat = replace(
        BARS, open=close, high=close, low=close, volume=np.zeros(len(BARS)), has_range=False
    )
    assert informative_inputs(flat) == ("return",)
    assert informative_inputs(BARS) == INPUTS
    order = block_permutation(random_stream(1, "order"), len(BARS) - START, 5)
    shuffled = permuted_bars(flat, "return", START, order)
    np.testing.assert_array_equal(shuffled.high, shuffled.close)
    np.testing.assert_array_equal(shuffled.open, shuffled.close)


@pytest.mark.parametrize(
    ("name", "start", "order"),
    [("colour", 100, np.arange(200)), ("open", 0, np.arange(300)), ("open", 100, np.zeros(200))],
)
def test_refuses_what_is_no_permutation(name: str, start: int, order: np.ndarray) -> None:
    with pytest.raises(InputError, match="cannot permute"):
        permuted_bars(BARS, name, start, order)
