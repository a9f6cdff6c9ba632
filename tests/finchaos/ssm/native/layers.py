"""Layers of either kind for the tests of the compiled kernels, their inputs, and a run of them."""

from __future__ import annotations

from typing import Any

import torch

from finchaos.ssm import Mamba, Mamba2, Mamba2Block, Mamba2Config, MambaBlock, MambaConfig
from tests.finchaos.ssm.native.tensors import Tensors, loss_of, normal

Layer = Mamba | MambaBlock | Mamba2 | Mamba2Block
Kind = type[Mamba] | type[MambaBlock] | type[Mamba2] | type[Mamba2Block]
KINDS: list[Kind] = [Mamba, MambaBlock, Mamba2, Mamba2Block]
BLOCKS: list[Kind] = [MambaBlock, Mamba2Block]


def layer_of(kind: Kind, backend: str, *, conv_bias: bool = True, **sizes: Any) -> Layer:
    """A layer in float64 whose weights float32 holds exactly; norms and skips are not just ones."""
    config: Any
    if kind in (Mamba, MambaBlock):
        config = MambaConfig(**{"d_model": 6, "d_state": 3, **sizes}, backend=backend)
    else:
        default = {"d_model": 6, "d_state": 3, "headdim": 2, "ngroups": 2}
        config = Mamba2Config(**{**default, **sizes}, conv_bias=conv_bias, backend=backend)
    layer = kind(config, torch.Generator().manual_seed(3))
    if not conv_bias:
        mixer_of(layer).conv1d.bias = None
    g = torch.Generator().manual_seed(4)
    for name, weight in layer.named_parameters():
        if name.endswith(("norm.weight", "D")):
            torch.nn.init.uniform_(weight, 0.5, 1.5, generator=g)
    return layer.double()


def mixer_of(layer: Layer) -> Mamba | Mamba2:
    return layer if isinstance(layer, Mamba | Mamba2) else layer.mixer


def inputs_of(layer: Layer, batch: int, time: int) -> Tensors:
    """A sequence and the states before it."""
    mixer, g = mixer_of(layer), torch.Generator().manual_seed(5)
    state = mixer.initial_state(batch)
    return {
        "x": normal(g, batch, time, mixer.config.d_model),
        "conv": normal(g, *state.conv.shape),
        "ssm": normal(g, *state.ssm.shape),
    }


def run_layer(
    layer: Layer, inputs: Tensors, *, state: bool = True, lengths: torch.Tensor | None = None
) -> Tensors:
    make: Any = mixer_of(layer).state_type
    before = make(inputs["conv"], inputs["ssm"]) if state else None
    y, after = layer(inputs["x"], before, lengths)
    return {"y": y, "conv": after.conv, "ssm": after.ssm}


def layer_with_gradients(layer: Layer, inputs: Tensors, **options: Any) -> tuple[Tensors, Tensors]:
    """Outputs, and the gradients of the loss in the inputs and in every weight."""
    outputs = run_layer(layer, inputs, **options)
    loss_of(outputs).backward()
    of_inputs = {f"grad of {name}": v.grad for name, v in inputs.items() if v.grad is not None}
    of_weights = {f"grad of {name}": v.grad for name, v in layer.named_parameters()}
    assert all(v is not None for v in of_weights.values())
    return {name: v.detach() for name, v in outputs.items()}, of_inputs | of_weights
