from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.markov_chain import checked_transition, draw_regimes, stationary_law


@given(st.integers(1, 5), st.integers(0, 10_000))
def test_the_stationary_law_is_kept_by_the_chain(count: int, seed: int) -> None:
    matrix = random_stream(seed, "test.chain").dirichlet(np.ones(count), size=count)
    shares = stationary_law(matrix)
    assert shares.sum() == pytest.approx(1.0)
    assert shares @ matrix == pytest.approx(shares, abs=1e-9)


def test_a_chain_that_falls_apart_has_no_law() -> None:
    with pytest.raises(InputError, match=r"do not all reach.*initial regime"):
        stationary_law(np.array([[0.9, 0.1], [0.0, 1.0]]))
    cycle = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert stationary_law(cycle) == pytest.approx(np.full(3, 1 / 3))


@pytest.mark.parametrize(
    "rows",
    [((1.0,),), ((0.5, 0.5), (1.0,)), ((0.5, 0.4), (0.5, 0.5)), ((1.5, -0.5), (0.5, 0.5)),
     ((np.nan, 1.0), (0.5, 0.5)), ()],
)  # fmt: skip
def test_what_is_no_chain_is_refused(rows: tuple) -> None:
    with pytest.raises(InputError, match="transition matrix"):
        checked_transition(rows, 2)


def test_the_compiled_walk_is_the_plain_one() -> None:
    rng = random_stream(4, "test.chain")
    matrix = rng.dirichlet(np.ones(3), size=3)
    uniform, first = rng.random((200, 6)), rng.integers(3, size=6)
    found = draw_regimes(matrix, first, uniform)
    edges = np.cumsum(matrix, axis=1)[:, :-1]
    for path in range(6):
        now = first[path]
        for bar in range(200):
            if bar:
                now = np.searchsorted(edges[now], uniform[bar, path], side="right")
            assert found[bar, path] == now
