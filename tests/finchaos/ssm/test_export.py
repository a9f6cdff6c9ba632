"""An exported step gives the rows of the layers, in torch.export and in ONNX Runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from finchaos.core.errors import InputError, MissingDependencyError
from finchaos.ssm import (
    S4D,
    Mamba,
    Mamba2,
    Mamba2Block,
    Mamba2Config,
    MambaBlock,
    MambaConfig,
    S4DConfig,
)
from finchaos.ssm.export import (
    export_onnx,
    export_step,
    flat_states,
    onnx_step,
    start_tensors,
    tensor_names,
)

WIDTH, BATCH, STEPS = 6, 2, 300
STACKS = ("mamba", "mamba2", "s4d", "mixed")


def stack(name: str, dtype: torch.dtype = torch.float32) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    mamba = MambaConfig(WIDTH, 3)
    mamba2 = Mamba2Config(WIDTH, d_state=5, headdim=4, ngroups=3, dt_limit=(0.01, 0.1), bias=True)
    s4d = S4DConfig(WIDTH, 8)
    layers: dict[str, list[nn.Module]] = {
        "mamba": [MambaBlock(mamba, generator), MambaBlock(mamba, generator)],
        "mamba2": [Mamba2Block(mamba2, generator), Mamba2Block(mamba2, generator)],
        "s4d": [S4D(s4d, generator), S4D(s4d, generator)],
        "mixed": [Mamba(mamba, generator), S4D(s4d, generator), Mamba2(mamba2, generator)],
    }
    return [layer.to(dtype).eval() for layer in layers[name]]


def rows(dtype: torch.dtype = torch.float32, steps: int = STEPS) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(steps, BATCH, WIDTH, generator=generator).to(dtype)


@torch.no_grad()
def stepped(layers: list[Any], x: Tensor) -> tuple[Tensor, list[Any]]:
    """Rows and last states of the layers themselves."""
    states = [layer.initial_state(BATCH) for layer in layers]
    found = []
    for row in x:
        for i, layer in enumerate(layers):
            row, states[i] = layer.step(row, states[i])
        found.append(row)
    return torch.stack(found), states


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_in_torch_export(name: str, dtype: torch.dtype, tolerance: float) -> None:
    layers, x = stack(name, dtype), rows(dtype, 40)
    expected, last = stepped(layers, x)
    step = export_step(layers, BATCH).module()
    states, found = start_tensors(layers, BATCH), []
    with torch.no_grad():
        for row in x:
            y, *states = step(row, *states)  # type: ignore[assignment]
            found.append(y)
    scale = float(expected.abs().max())
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=tolerance * scale)
    for one, other in zip(states, flat_states(last), strict=True):
        scale = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", STACKS)
def test_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    layers, x = stack(name), rows()
    expected, last = stepped(layers, x)
    export_onnx(layers, tmp_path / "step.onnx", BATCH)
    assert [path.name for path in tmp_path.iterdir()] == ["step.onnx"]
    session = onnxruntime.InferenceSession(
        str(tmp_path / "step.onnx"), providers=["CPUExecutionProvider"]
    )
    inputs, outputs = tensor_names(layers)
    assert tuple(given.name for given in session.get_inputs()) == inputs
    assert tuple(given.name for given in session.get_outputs()) == outputs
    feed = {
        name: state.numpy()
        for name, state in zip(inputs[1:], start_tensors(layers, BATCH), strict=True)
    }
    found = []
    for row in x.numpy():
        y, *after = session.run(None, {"x": row, **feed})
        feed = dict(zip(inputs[1:], after, strict=True))
        found.append(y)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(np.stack(found), expected.numpy(), rtol=0, atol=2e-6 * scale)
    for one, other in zip(feed.values(), flat_states(last), strict=True):
        scale = float(other.abs().max())
        np.testing.assert_allclose(one, other.numpy(), rtol=0, atol=2e-6 * scale)


def test_layers_stay_as_they_were() -> None:
    layers = stack("mixed")
    layers[0].train()
    before = [(layer.training, id(layer.get_parameter("D"))) for layer in layers]
    onnx_step(layers)
    export_step(layers)
    assert [(layer.training, id(layer.get_parameter("D"))) for layer in layers] == before
    assert all(p.requires_grad for layer in layers for p in layer.parameters())


def test_what_is_no_stack_is_refused() -> None:
    with pytest.raises(InputError, match="no layers"):
        export_step([])
    with pytest.raises(InputError, match=r"layer 1 has no step .* got Linear"):
        onnx_step([*stack("mamba")[:1], nn.Linear(WIDTH, WIDTH)])
    other = MambaBlock(MambaConfig(WIDTH + 1, 3))
    with pytest.raises(InputError, match=r"layer 2 takes other rows .* width 6 .* got width 7"):
        export_step([*stack("mamba"), other])


def test_without_the_exporter_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for name in [name for name in sys.modules if name.startswith("torch.onnx._internal.exporter")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingDependencyError, match=r"'\.\[onnx\]'"):
        export_onnx(stack("mamba"), tmp_path / "step.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [export_step, onnx_step, start_tensors, tensor_names])
def test_a_single_layer_is_no_stack(make: Any) -> None:
    (block, _) = stack("mamba")
    with pytest.raises(
        InputError, match=r"a stack is a sequence .* got MambaBlock; pass \[layer\]"
    ):
        make(block)
    with pytest.raises(InputError, match=r"a stack is a sequence of layers.*got int"):
        make(3)


@pytest.mark.parametrize("batch", [0, -1, 1.5])
def test_a_batch_of_nothing_is_refused(batch: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch an integer from 1"):
        export_onnx(stack("mamba"), tmp_path / "step.onnx", batch=batch)
    assert not list(tmp_path.iterdir())


def test_what_no_runtime_computes_is_not_written(tmp_path: Path) -> None:
    layers = stack("mamba", torch.bfloat16)
    with pytest.raises(
        InputError, match=r"expected torch\.float32 or torch\.float64; got .*bfloat16"
    ):
        export_onnx(layers, tmp_path / "step.onnx")
    assert not list(tmp_path.iterdir())


def test_the_exporter_is_silent_about_images(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        onnx_step(stack("mamba"))
    assert "torchvision" not in caplog.text


@pytest.mark.parametrize("name", ["mamba", "mamba2", "s4d"])
def test_a_layer_and_its_state_are_exported_as_they_are(name: str, tmp_path: Path) -> None:
    layer = stack(name)[0]
    x = torch.randn(2, 9, WIDTH, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        _, before = layer(x)
    program = torch.export.export(layer, (x, before))
    torch.export.save(program, tmp_path / "layer.pt2")
    again = torch.export.load(tmp_path / "layer.pt2").module()
    with torch.no_grad():
        y, state = again(x, before)
        expected, after = layer(x, before)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state.ssm, after.ssm)
    assert type(state) is type(after)
