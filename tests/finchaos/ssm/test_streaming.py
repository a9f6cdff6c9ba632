"""A stream gives the rows of the sequence, wherever it is cut, and takes nothing it should not."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from finchaos.core.errors import InputError, MissingDependencyError, UnknownNameError
from finchaos.ssm import (
    BackendChoice,
    Mamba2Block,
    Mamba2Config,
    Mamba2State,
    MambaBlock,
    MambaConfig,
    MambaState,
    Stream,
    backends,
    compile_stream,
    native,
)

WIDTH = 6
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stack(dtype: torch.dtype = torch.float32, layers: int = 2) -> list[MambaBlock]:
    return [MambaBlock(MambaConfig(WIDTH, 3), seeded(i)).to(dtype) for i in range(layers)]


def mixed(dtype: torch.dtype = torch.float32) -> list[MambaBlock | Mamba2Block]:
    config = Mamba2Config(WIDTH, d_state=5, headdim=4, d_conv=3)
    return [*stack(dtype), Mamba2Block(config, seeded(9)).to(dtype)]


def rows(steps: int, dtype: torch.dtype = torch.float32, width: int = WIDTH) -> np.ndarray:
    return torch.randn(steps, width, dtype=dtype, generator=seeded(5)).numpy()


@torch.no_grad()
def whole(blocks: list, x: np.ndarray) -> tuple[np.ndarray, list[MambaState | Mamba2State]]:
    """The blocks' own forward over the sequence."""
    y, states = torch.from_numpy(x).unsqueeze(0), []
    for block in blocks:
        y, state = block(y)
        states.append(state)
    return y[0].numpy(), states


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rows_and_states_are_those_of_the_sequence(backend: str, dtype: torch.dtype) -> None:
    blocks, x = mixed(dtype), rows(40, dtype)
    expected, states = whole(blocks, x)
    stream = compile_stream(blocks, backend=backend)
    found = np.stack([stream.step(row) for row in x])
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype])
    for found_state, state in zip(stream.state, states, strict=True):
        assert type(found_state) is type(state)
        torch.testing.assert_close(found_state.conv, state.conv, rtol=0, atol=TOLERANCE[dtype])
        torch.testing.assert_close(found_state.ssm, state.ssm, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_however_the_rows_come_the_bits_are_the_same(backend: str) -> None:
    x = rows(50)
    one = compile_stream(mixed(), backend=backend)
    first = np.stack([one.step(row) for row in x])
    pieces = one.fresh()
    cut = [pieces.advance(piece) for piece in np.split(x, [1, 1, 8, 41])]
    np.testing.assert_array_equal(np.concatenate(cut), first)
    one.reset()
    np.testing.assert_array_equal(one.advance(x), first)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_kept_state_continues_in_another_stream(backend: str) -> None:
    blocks, x = mixed(), rows(30)
    stream = compile_stream(blocks, backend=backend)
    stream.advance(x[:13])
    kept = stream.state
    rest = stream.advance(x[13:])
    other = compile_stream(blocks, backend=backend)
    other.advance(x)
    other.load(pickle.loads(pickle.dumps(kept)))  # noqa: S301
    np.testing.assert_array_equal(other.advance(x[13:]), rest)


@torch.no_grad()
def test_a_state_of_forward_continues_in_a_stream() -> None:
    blocks, x = stack(torch.float64), rows(30, torch.float64)
    expected, _ = whole(blocks, x)
    _, states = whole(blocks, x[:10])
    stream = compile_stream(blocks)
    stream.load(states)
    np.testing.assert_allclose(stream.advance(x[10:]), expected[10:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_later_training_does_not_change_a_stream(backend: str) -> None:
    blocks, x = mixed(), rows(5)
    stream = compile_stream(blocks, backend=backend)
    before = stream.advance(x)
    with torch.no_grad():
        for block in blocks:
            for parameter in block.parameters():
                parameter.mul_(1.5)
    stream.reset()
    np.testing.assert_array_equal(stream.advance(x), before)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_what_is_given_out_is_the_callers_own(backend: str) -> None:
    x = rows(4)
    stream = compile_stream(mixed(), backend=backend)
    expected = stream.fresh().advance(x)
    first = stream.step(x[0])
    states = stream.state
    kept = first.copy()
    for state in states:
        state.ssm.fill_(7.0)
        state.conv.fill_(7.0)
    second = stream.step(x[1])
    np.testing.assert_array_equal(first, kept)
    second.fill(7.0)
    np.testing.assert_array_equal(stream.advance(x[2:]), expected[2:])


def test_loaded_states_are_copied() -> None:
    stream = compile_stream(stack())
    states = stream.state
    stream.load(states)
    for state in states:
        state.ssm.fill_(7.0)
    np.testing.assert_array_equal(stream.advance(rows(3)), stream.fresh().advance(rows(3)))


def test_rows_need_not_be_contiguous_or_writable() -> None:
    x = rows(6)
    stream = compile_stream(stack())
    expected = stream.fresh().advance(x)
    strided = np.asfortranarray(x)
    strided.flags.writeable = False
    np.testing.assert_array_equal(stream.step(strided[0]), expected[0])
    np.testing.assert_array_equal(stream.advance(strided[1:4]), expected[1:4])
    packed = np.zeros(1, dtype=[("mark", "u1"), ("row", "f4", WIDTH)])
    packed["row"] = x[4]
    assert not packed["row"][0].flags.aligned
    unaligned = stream.fresh()
    unaligned.load(stream.state)
    np.testing.assert_array_equal(unaligned.step(packed["row"][0]), expected[4])
    swapped = np.ascontiguousarray(x[4:, ::-1])[:, ::-1]
    np.testing.assert_array_equal(stream.advance(swapped), expected[4:])


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_rows_that_do_not_fit_are_refused_and_change_nothing(backend: str) -> None:
    stream = compile_stream(stack(), backend=backend)
    x = rows(3)
    expected = stream.fresh().advance(x)
    holes = x.copy()
    holes[1, 2] = np.nan
    refused = [
        (x[0, :-1], "float32 of shape \\(5,\\)"),
        (x[:1], "\\(1, 6\\)"),
        (x[0].astype(np.float64), "float64"),
        (x[0].astype(">f4"), "got >f4"),
        (x[0].tolist(), "list"),
        (torch.from_numpy(x[0]), "Tensor"),
        (holes[1], "nan at \\(2,\\)"),
        (np.full(WIDTH, -np.inf, dtype=np.float32), "-inf at \\(0,\\)"),
    ]
    for row, message in refused:
        with pytest.raises(InputError, match=message):
            stream.step(row)  # type: ignore[arg-type]
    for piece, message in [(x[0], "\\(t, 6\\)"), (x[:, :2], "\\(3, 2\\)"), (holes, "\\(1, 2\\)")]:
        with pytest.raises(InputError, match=message):
            stream.advance(piece)
    np.testing.assert_array_equal(stream.advance(x), expected)


def with_part(states: tuple, index: int, **parts: torch.Tensor) -> list:
    old = {"conv": states[index].conv, "ssm": states[index].ssm}
    new = list(states)
    new[index] = type(states[index])(**(old | parts))
    return new


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_states_that_do_not_fit_are_refused_by_name_and_change_nothing(backend: str) -> None:
    stream = compile_stream(mixed(), backend=backend)
    x = rows(6)
    stream.advance(x[:3])
    states = stream.state
    after = stream.fresh()
    after.load(states)
    nan = torch.full_like(states[1].ssm, torch.nan)
    bad = [
        (with_part(states, 1, ssm=nan), "states\\[1\\].ssm holds"),
        (with_part(states, 0, conv=states[0].conv.double()), "states\\[0\\].conv .*float64"),
        (with_part(states, 0, ssm=states[0].ssm.expand(2, -1, -1)), "states\\[0\\].ssm"),
        (with_part(states, 2, conv=states[2].conv[:, 1:]), "states\\[2\\].conv"),
        (states[:2], "3, one a block; got 2"),
        (states[::-1], "states\\[0\\] .*MambaState; got Mamba2State"),
    ]
    for given, message in bad:
        with pytest.raises(InputError, match=message):
            stream.load(given)
    np.testing.assert_array_equal(stream.advance(x[3:]), after.advance(x[3:]))


def test_stacks_that_cannot_stream_are_refused() -> None:
    good = stack()[0]
    broken = copy.deepcopy(good)
    with torch.no_grad():
        broken.mixer.D[0] = torch.nan
    partly = copy.deepcopy(good)
    partly.mixer.in_proj.double()
    refused: list[tuple[list[nn.Module], str]] = [
        ([], "at least one"),
        ([good, nn.Linear(WIDTH, WIDTH)], "blocks\\[1\\] .*Linear"),
        ([good.mixer], "blocks\\[0\\] .*got Mamba"),
        ([good, stack(torch.float64)[0]], "blocks\\[1\\] has a type"),
        ([copy.deepcopy(good).bfloat16()], "bfloat16"),
        ([partly], "float32, torch.float64"),
        ([good, MambaBlock(MambaConfig(WIDTH + 1))], "blocks\\[1\\] has another width"),
        ([broken], "blocks\\[0\\].mixer.D holds"),
    ]
    for blocks, message in refused:
        with pytest.raises(InputError, match=message):
            compile_stream(blocks)


def test_backends_of_a_stream_are_asked_for_by_name() -> None:
    with pytest.raises(UnknownNameError, match="avx"):
        compile_stream(stack(), backend="avx")
    with pytest.raises(InputError, match="'reference'"):
        compile_stream(stack(), backend="reference")
    assert compile_stream(stack(), backend="torch").engine.name == "torch"


def test_without_kernels_a_stream_says_why_and_computes_in_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, expected = rows(4), compile_stream(stack(), backend="torch").advance(rows(4))
    monkeypatch.setattr(native, "absence", lambda: "for this test only")
    backends._notify.cache_clear()
    with pytest.warns(backends.BackendNotice, match="for this test only") as seen:
        streams = [compile_stream(stack()) for _ in range(2)]
    assert len(seen) == 1
    assert streams[0].engine == BackendChoice("torch", "for this test only")
    np.testing.assert_array_equal(streams[0].advance(x), expected)
    with pytest.raises(MissingDependencyError, match="for this test only"):
        compile_stream(stack(), backend="cpu")


def test_a_stream_is_not_copied_by_accident() -> None:
    stream: Stream = compile_stream(stack())
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(InputError, match="fresh"):
            duplicate(stream)


def test_a_stack_is_a_sequence_of_blocks_and_states() -> None:
    block = MambaBlock(MambaConfig(d_model=4))
    with pytest.raises(InputError, match=r"a stack is a sequence .*MambaBlock; pass \[layer\]"):
        compile_stream(block)  # type: ignore[arg-type]
    stream = compile_stream([block])
    with pytest.raises(InputError, match=r"states are those of a stack.*got NoneType"):
        stream.load(None)  # type: ignore[arg-type]


def test_without_torch_the_engine_names_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import finchaos.ssm"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingDependencyError: the state-space engine cannot be used here" in done.stderr
    assert "pip install '.[models]'" in done.stderr
