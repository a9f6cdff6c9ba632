"""States in a file: the same bits come back, and nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import finchaos.core.files
from finchaos.core.errors import CheckpointError, InputError
from finchaos.ssm import (
    S4D,
    Mamba2Block,
    Mamba2Config,
    MambaBlock,
    MambaConfig,
    S4DConfig,
    S4DState,
)
from finchaos.ssm.states import load_state, save_state


def stack(dtype: torch.dtype = torch.float32, **sizes: int) -> list[Any]:
    """One layer of each kind."""
    generator = torch.Generator().manual_seed(1)
    return [
        MambaBlock(MambaConfig(**{"d_model": 6, "d_state": 3, **sizes}), generator).to(dtype),
        Mamba2Block(Mamba2Config(6, d_state=5, headdim=4, ngroups=3), generator).to(dtype),
        S4D(S4DConfig(6, 8), generator).to(dtype),
    ]


def advance(layers: list[Any], x: torch.Tensor, states: Any = None) -> tuple[torch.Tensor, Any]:
    after = []
    with torch.no_grad():
        for i, layer in enumerate(layers):
            x, state = layer(x, None if states is None else states[i])
            after.append(state)
    return x, tuple(after)


def sequence(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(2)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stream_goes_on_from_a_file_with_the_same_bits(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    layers, x = stack(dtype), sequence(dtype)
    _, states = advance(layers, x[:, :9])
    save_state(tmp_path / "states", states)
    again = load_state(tmp_path / "states", torch.nn.ModuleList(layers))
    for one, other in zip(states, again, strict=True):
        assert type(one) is type(other)
        for name, tensor in vars(one).items():
            assert torch.equal(tensor, getattr(other, name))
            assert tensor.dtype == getattr(other, name).dtype
    expected, _ = advance(layers, x[:, 9:], states)
    assert torch.equal(advance(layers, x[:, 9:], again)[0], expected)


def test_same_states_same_bytes_whatever_the_memory_layout(tmp_path: Path) -> None:
    layers = stack()
    _, states = advance(layers, sequence())
    turned = [
        type(s)(**{n: v.transpose(1, 2).contiguous().transpose(1, 2) for n, v in vars(s).items()})
        for s in states
    ]
    save_state(tmp_path / "one", states)
    save_state(tmp_path / "other", turned)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "other"]


def test_what_is_loaded_is_not_tied_to_the_file(tmp_path: Path) -> None:
    layers = stack()
    _, states = advance(layers, sequence())
    save_state(tmp_path / "states", states)
    before = (tmp_path / "states").read_bytes()
    again = load_state(tmp_path / "states", layers)
    again[0].ssm.zero_()
    assert (tmp_path / "states").read_bytes() == before


def test_a_convolution_of_one_step_has_an_empty_state(tmp_path: Path) -> None:
    layers = stack(d_conv=1)
    _, states = advance(layers, sequence())
    save_state(tmp_path / "states", states)
    assert load_state(tmp_path / "states", layers)[0].conv.shape == (2, 0, 12)  # type: ignore[union-attr]


@given(st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None)
def test_any_truncation_is_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("states") / "states"
    layers = stack()
    save_state(path, [layer.initial_state(1) for layer in layers])
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path, layers)


@given(st.integers(8, 10_000), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_altered_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, by: int
) -> None:
    path = tmp_path_factory.mktemp("states") / "states"
    layers = stack()
    _, states = advance(layers, sequence())
    save_state(path, states)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= by
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        load_state(path, layers)


def fewer(layers: list[Any]) -> list[Any]:
    return layers[:2]


def swapped(layers: list[Any]) -> list[Any]:
    return [layers[1], layers[0], layers[2]]


def wider(layers: list[Any]) -> list[Any]:
    return stack(d_state=4)


def doubled(layers: list[Any]) -> list[Any]:
    return stack(torch.float64)


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (fewer, "the number of layers in .* expected 2; got 3"),
        (swapped, "layer 0 in .* expected mamba2; got mamba"),
        (
            wider,
            r"tensor 0.ssm in .* expected float32 of shape \(2, 12, 4\); "
            r"got float32 of shape \(2, 12, 3\)",
        ),
        (doubled, "tensor 0.conv in .* expected float64 .* got float32"),
    ],
)
def test_states_of_another_configuration_are_refused(
    tmp_path: Path, alter: Callable[[list[Any]], list[Any]], message: str
) -> None:
    layers = stack()
    _, states = advance(layers, sequence())
    save_state(tmp_path / "states", states)
    with pytest.raises(CheckpointError, match=message):
        load_state(tmp_path / "states", alter(layers))


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no states can be read"):
        load_state(tmp_path / "absent", stack())
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="another origin"):
        load_state(tmp_path / "foreign", stack())
    save_file({"a": torch.zeros(2)}, tmp_path / "newer", {"finchaos": '{"format": "x"}'})
    with pytest.raises(CheckpointError, match="version 1; got x, version None"):
        load_state(tmp_path / "newer", stack())
    (tmp_path / "text").write_text("not a file of tensors")
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(tmp_path / "text", stack())


def test_what_is_no_stack_of_states_is_not_written(tmp_path: Path) -> None:
    layers, path = stack(), tmp_path / "states"
    with pytest.raises(InputError, match="no state of a layer"):
        save_state(path, [torch.zeros(2)])  # type: ignore[list-item]
    with pytest.raises(
        InputError, match=r"one stack and batch.* got 2 states with batches \[1, 2\]"
    ):
        save_state(path, [layers[0].initial_state(1), layers[0].initial_state(2)])
    with pytest.raises(InputError, match="0 states"):
        save_state(path, [])
    assert not list(tmp_path.iterdir())


def test_the_old_file_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, path = stack(), tmp_path / "states"
    _, states = advance(layers, sequence())
    save_state(path, states)

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finchaos.core.files, "write_synced", full)
    with pytest.raises(OSError, match="No space"):
        save_state(path, [layer.initial_state(1) for layer in layers])
    assert [p.name for p in tmp_path.iterdir()] == ["states"]
    assert torch.equal(load_state(path, layers)[0].ssm, states[0].ssm)


def test_one_state_is_no_stack_of_states(tmp_path: Path) -> None:
    state = S4DState(torch.zeros(1, 2, 3, dtype=torch.complex64))
    with pytest.raises(InputError, match=r"a sequence of states.*got S4DState; pass \[state\]"):
        save_state(tmp_path / "states", state)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no states; got int"):
        save_state(tmp_path / "states", 3)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
