"""The bar-by-bar form against PyTorch, and against itself under any cutting of the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm import MambaBlock, MambaConfig, MambaReplay
from finchaos.ssm.replay import CHUNK_ROWS


def blocks() -> list[MambaBlock]:
    g = torch.Generator().manual_seed(5)
    return [MambaBlock(MambaConfig(d_model=6, d_state=3), g).double() for _ in range(2)]


def rows(count: int, seed: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6))


BLOCKS = blocks()
ROWS = rows(300)
WHOLE = MambaReplay(BLOCKS).advance(ROWS)


def test_equals_the_torch_form() -> None:
    with torch.no_grad():
        y = torch.from_numpy(ROWS)[None]
        for layer in BLOCKS:
            y, _ = layer(y)
    np.testing.assert_allclose(WHOLE, y[0].numpy(), rtol=1e-12, atol=1e-12)


@given(st.lists(st.integers(0, 300), max_size=6).map(sorted))
@settings(max_examples=30, deadline=None)
def test_any_cut_gives_the_same_bits(cuts: list[int]) -> None:
    session = MambaReplay(BLOCKS)
    pieces = [session.advance(ROWS[a:b]) for a, b in zip([0, *cuts], [*cuts, 300], strict=True)]
    assert np.array_equal(np.concatenate(pieces), WHOLE)


def test_single_rows_give_the_same_bits() -> None:
    session = MambaReplay(BLOCKS)
    assert np.array_equal(np.concatenate([session.advance(row[None]) for row in ROWS]), WHOLE)


def test_the_future_leaves_the_past_bit_equal() -> None:
    altered = ROWS.copy()
    altered[200:] *= -3.0
    found = MambaReplay(BLOCKS).advance(altered)
    assert np.array_equal(found[:200], WHOLE[:200])
    assert not np.array_equal(found[200:], WHOLE[200:])


def test_longer_than_a_chunk() -> None:
    long = rows(CHUNK_ROWS + 50)
    session = MambaReplay(BLOCKS)
    pieces = [session.advance(long[:70]), session.advance(long[70:])]
    assert np.array_equal(np.concatenate(pieces), MambaReplay(BLOCKS).advance(long))


@pytest.mark.parametrize("size", [1e-3, 1e3, 1e8])
def test_extreme_inputs_stay_finite(size: float) -> None:
    assert np.isfinite(MambaReplay(BLOCKS).advance(size * ROWS)).all()


def test_a_fresh_session_forgets_and_later_training_does_not_reach_it() -> None:
    model = blocks()
    session = MambaReplay(model)
    session.advance(ROWS)
    with torch.no_grad():
        for layer in model:
            layer.mixer.D.add_(1.0)
    assert np.array_equal(session.fresh().advance(ROWS), WHOLE)
