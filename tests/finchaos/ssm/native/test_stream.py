"""A compiled stream has the bits of the compiled sequence, for good, and keeps to itself."""

from __future__ import annotations

import gc
import hashlib
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.ssm import (
    Mamba2Block,
    Mamba2Config,
    Mamba2State,
    MambaBlock,
    MambaConfig,
    MambaState,
    Stream,
    compile_stream,
)
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.tensors import LANES

NUMBERS = {torch.float32: np.float32, torch.float64: np.float64}
types_and_lanes = pytest.mark.parametrize(
    ("dtype", "lanes"), [(dtype, lanes) for dtype in NUMBERS for lanes in LANES]
)


Config = MambaConfig | Mamba2Config
Block = MambaBlock | Mamba2Block
State = MambaState | Mamba2State


def blocks(dtype: torch.dtype, *configs: Config, seed: int = 1) -> list[Block]:
    g = torch.Generator().manual_seed(seed)
    made: list[Block] = [
        (MambaBlock(config, g) if isinstance(config, MambaConfig) else Mamba2Block(config, g)).to(
            dtype
        )
        for config in configs
    ]
    for block in made:
        # Norms and skips that are not one, so that none can be left out unseen.
        for parameter in (block.norm.weight, block.mixer.D):
            torch.nn.init.uniform_(parameter, 0.5, 1.5, generator=g)
    return made


def rows(steps: int, width: int, dtype: torch.dtype, seed: int = 2) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((steps, width))
    return x.astype(NUMBERS[dtype])


@torch.no_grad()
def whole(stack: list[Block], x: np.ndarray) -> tuple[np.ndarray, list[State]]:
    y, states = torch.from_numpy(x).unsqueeze(0), []
    for block in stack:
        y, state = block(y)
        states.append(state)
    return y[0].numpy(), states


def assert_same_states(stream: Stream, states: list[State]) -> None:
    for found, state in zip(stream.state, states, strict=True):
        assert torch.equal(found.conv, state.conv)
        assert torch.equal(found.ssm, state.ssm)


@types_and_lanes
def test_a_row_after_the_other_has_the_bits_of_the_sequence(dtype: torch.dtype, lanes: int) -> None:
    with use_lanes(lanes):
        narrow, wide = MambaConfig(24, 8), Mamba2Config(24, d_state=20, headdim=12, ngroups=2)
        stack = blocks(dtype, narrow, wide, narrow, wide)
        x = rows(75, 24, dtype)
        expected, states = whole(stack, x)
        stream = compile_stream(stack, backend="cpu")
        assert stream.engine.name == "cpu"
    # The width of the vectors is that where the stream was compiled.
    np.testing.assert_array_equal(np.stack([stream.step(row) for row in x]), expected)
    assert_same_states(stream, states)


STATES, TAPS = st.integers(1, 19), st.integers(1, 6)


@st.composite
def stacks(draw: st.DrawFn) -> list[Config]:
    """One to three layers of either kind, of one width up to 40, and every variant of them."""
    headdim, groups, heads = (draw(st.integers(1, top)) for top in (7, 3, 2))
    width = headdim * groups * heads
    mamba = st.builds(MambaConfig, st.just(width), STATES, TAPS, st.integers(1, 3))
    mamba2 = st.builds(
        Mamba2Config,
        st.just(width),
        d_state=STATES,
        d_conv=TAPS,
        expand=st.integers(1, 2),
        headdim=st.just(headdim),
        ngroups=st.sampled_from([1, groups]),
        D_has_hdim=st.booleans(),
        rmsnorm=st.booleans(),
        norm_before_gate=st.booleans(),
        norm_per_group=st.booleans(),
        dt_limit=st.sampled_from([(0.0, float("inf")), (0.01, 0.05)]),
        conv_bias=st.booleans(),
    )
    return draw(st.lists(mamba | mamba2, min_size=1, max_size=3))


@given(
    layers=stacks(),
    cuts=st.lists(st.integers(0, 70), max_size=6),
    lanes=st.sampled_from(LANES),
    dtype=st.sampled_from(list(NUMBERS)),
)
@settings(max_examples=60, deadline=None)
def test_any_sizes_cut_anywhere_have_the_bits_of_the_sequence(
    layers: list[Config],
    cuts: list[int],
    lanes: int,
    dtype: torch.dtype,
) -> None:
    with use_lanes(lanes):
        stack = blocks(dtype, *layers)
        x = rows(70, layers[0].d_model, dtype)
        expected, states = whole(stack, x)
        stream = compile_stream(stack, backend="cpu")
    found = []
    for piece in np.split(x, sorted(cuts)):
        other = stream.fresh()  # goes on from the state alone
        other.load(stream.state)
        stream = other
        found.append(stream.step(piece[0])[None] if len(piece) == 1 else stream.advance(piece))
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert_same_states(stream, states)


def test_a_million_rows_have_the_same_bits_however_they_come() -> None:
    steps, width, half = 1_000_000, 3, 400_001
    stream = compile_stream(blocks(torch.float32, *[MambaConfig(width, 2)] * 2), backend="cpu")
    x = rows(steps, width, torch.float32)
    whole_sequence = stream.fresh().advance(x)
    expected = hashlib.sha256(whole_sequence).hexdigest()
    assert np.isfinite(whole_sequence).all()

    digest, restored = hashlib.sha256(), stream.fresh()
    for row in x[:100]:
        digest.update(stream.step(row))
    gc.collect()
    blocks_before = sys.getallocatedblocks()
    for row in x[100:half]:
        digest.update(stream.step(row))
    restored.load(stream.state)
    restored_digest = digest.copy()
    for row in x[half:]:
        digest.update(stream.step(row))
    gc.collect()
    assert sys.getallocatedblocks() - blocks_before < 1000
    assert digest.hexdigest() == expected

    for piece in np.array_split(x[half:], 777):
        restored_digest.update(restored.advance(piece))
    assert restored_digest.hexdigest() == expected
    assert_same_states(restored, list(stream.state))


def test_streams_of_one_stack_in_several_threads_keep_apart() -> None:
    first = compile_stream(blocks(torch.float32, *[MambaConfig(16)] * 2), backend="cpu")
    inputs = [rows(1500, 16, torch.float32, seed) for seed in range(4)]
    expected = [first.fresh().advance(x) for x in inputs]
    streams = [first.fresh() for _ in inputs]

    def feed(stream: Stream, x: np.ndarray) -> np.ndarray:
        singly = [stream.step(row)[None] for row in x[:1000]]
        return np.concatenate([*singly, stream.advance(x[1000:])])

    with ThreadPoolExecutor(len(inputs)) as pool:
        found = list(pool.map(feed, streams, inputs))
    np.testing.assert_array_equal(found, expected)


def test_a_second_thread_is_refused_while_the_first_is_at_work() -> None:
    stream = compile_stream(blocks(torch.float32, *[MambaConfig(16)] * 2), backend="cpu")
    x = rows(100_000, 16, torch.float32)
    expected = stream.fresh().advance(x)
    done = threading.Event()

    def work() -> np.ndarray | None:
        try:
            stream.reset()
            return stream.advance(x)
        except InputError:  # it was the other thread's turn
            return None
        finally:
            done.set()

    refused: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        while not refused:
            done.clear()
            found = pool.submit(work)
            while not done.is_set():
                try:
                    _ = stream.state
                except InputError as error:
                    refused.append(str(error))
                    done.wait()
            y = found.result()
    assert "two threads" in refused[0]
    assert y is None or (y == expected).all()


def test_memory_goes_with_the_last_stream() -> None:
    first = compile_stream(blocks(torch.float32, MambaConfig(16)), backend="cpu")
    expected = first.fresh().advance(rows(4, 16, torch.float32))
    second = first.fresh()
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    np.testing.assert_array_equal(second.advance(rows(4, 16, torch.float32)), expected)


def test_numbers_below_the_normal_range_do_not_change_the_callers_mode() -> None:
    stream = compile_stream(blocks(torch.float32, MambaConfig(4)), backend="cpu")
    tiny = np.full(4, 1e-42, dtype=np.float32)
    stream.step(tiny)
    assert (tiny * np.float32(0.5)).all()
