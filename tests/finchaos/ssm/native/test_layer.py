"""A whole Mamba layer as one kernel: the numbers and gradients of its parts, one after another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm import Mamba, MambaBlock, MambaConfig, MambaState
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.tensors import (
    LANES,
    TOLERANCE,
    Tensors,
    assert_near,
    leaves,
    loss_of,
    normal,
)

Layer = Mamba | MambaBlock
KINDS: list[type[Mamba] | type[MambaBlock]] = [Mamba, MambaBlock]


def layer_of(
    kind: type[Mamba] | type[MambaBlock], backend: str, bias: bool = True, **sizes: int
) -> Layer:
    """A layer in float64 whose weights float32 holds exactly, the norm's among them."""
    config = MambaConfig(**{"d_model": 6, "d_state": 3, **sizes}, backend=backend)
    layer = kind(config, torch.Generator().manual_seed(3))
    mixer = layer if isinstance(layer, Mamba) else layer.mixer
    if isinstance(layer, MambaBlock):
        torch.nn.init.uniform_(
            layer.norm.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(4)
        )
    if not bias:
        mixer.conv1d.bias = None
    return layer.double()


def inputs_of(layer: Layer, batch: int, time: int) -> Tensors:
    config = layer.config if isinstance(layer, Mamba) else layer.mixer.config
    g = torch.Generator().manual_seed(5)
    return {
        "x": normal(g, batch, time, config.d_model),
        "conv": normal(g, batch, config.d_conv - 1, config.d_inner),
        "ssm": normal(g, batch, config.d_inner, config.d_state),
    }


def run(
    layer: Layer, inputs: Tensors, state: bool = True, lengths: torch.Tensor | None = None
) -> Tensors:
    before = MambaState(inputs["conv"], inputs["ssm"]) if state else None
    y, after = layer(inputs["x"], before, lengths)
    if lengths is not None:
        # What a padded step of a block holds is not defined; only the mixer's is zero.
        y = y * (torch.arange(y.shape[1]) < lengths[:, None])[..., None]
    return {"y": y, "conv": after.conv, "ssm": after.ssm}


def with_gradients(layer: Layer, inputs: Tensors, **options: Any) -> tuple[Tensors, Tensors]:
    outputs = run(layer, inputs, **options)
    loss_of(outputs).backward()
    of_inputs = {f"grad of {name}": v.grad for name, v in inputs.items() if v.grad is not None}
    of_weights = {f"grad of {name}": v.grad for name, v in layer.named_parameters()}
    assert all(v is not None for v in of_weights.values())
    return {name: v.detach() for name, v in outputs.items()}, of_inputs | of_weights


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int], dict[str, Any]]:
    """Arguments of ``layer_of``, batch and time, options of ``run``."""
    batch, time = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3, 31, 32, 33, 65, 70]))
    layer = {
        "kind": draw(st.sampled_from(KINDS)),
        "d_model": draw(st.sampled_from([1, 2, 6, 17, 20, 33, 64])),
        "d_state": draw(st.sampled_from([1, 3, 4, 8, 16, 21])),
        "d_conv": draw(st.integers(1, 5)),
        "expand": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
    }
    lengths = st.lists(st.integers(0, time), min_size=batch, max_size=batch).map(torch.tensor)
    options = {"state": draw(st.booleans()), "lengths": draw(st.none() | lengths)}
    return layer, (batch, time), options


@given(cases(), st.sampled_from(list(TOLERANCE)), st.sampled_from(LANES))
@settings(max_examples=40, deadline=None)
def test_layer_equals_its_parts(
    case: tuple[dict[str, Any], tuple[int, int], dict[str, Any]],
    dtype: torch.dtype,
    lanes: int,
) -> None:
    sizes, shape, options = case
    layer = layer_of(backend="cpu", **sizes).to(dtype)
    inputs = inputs_of(layer, *shape)
    with use_lanes(lanes):
        found = with_gradients(layer, leaves(inputs, dtype), **options)
    by_parts = layer_of(backend="torch", **sizes)
    expected = with_gradients(by_parts, leaves(inputs, torch.float64), **options)
    for kind in (0, 1):
        # A layer adds up products of several matrices: more roundings than its scan alone.
        assert_near(found[kind], expected[kind], 5 * TOLERANCE[dtype][kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("d_conv", [1, 2, 3, 4, 40])
def test_layer_equals_the_definition(kind: Any, lanes: int, d_conv: int) -> None:
    """Also with a convolution wider than a chunk of steps."""
    sizes = {"d_model": 20, "d_state": 13, "d_conv": d_conv}
    layer = layer_of(kind, "cpu", **sizes)
    inputs = inputs_of(layer, 2, 77)
    options = {"lengths": torch.tensor([77, 34])}
    with use_lanes(lanes):
        found = with_gradients(layer, leaves(inputs, torch.float64), **options)
    slow = layer_of(kind, "reference", **sizes)
    expected = with_gradients(slow, leaves(inputs, torch.float64), **options)
    assert_near(found[0] | found[1], expected[0] | expected[1], 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_finite_differences(kind: Any) -> None:
    layer = layer_of(kind, "cpu", d_model=3, d_state=2)
    inputs = leaves(inputs_of(layer, 2, 34), torch.float64)
    weights = dict(layer.named_parameters())
    lengths = torch.tensor([34, 2])

    def outputs(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given_inputs = dict(zip(inputs, values, strict=False))
        given_weights = dict(zip(weights, values[len(inputs) :], strict=True))
        state = MambaState(given_inputs["conv"], given_inputs["ssm"])
        y, after = torch.func.functional_call(
            layer, given_weights, (given_inputs["x"], state, lengths)
        )
        return y, after.conv, after.ssm

    values = (*inputs.values(), *(w.detach().requires_grad_() for w in weights.values()))
    assert torch.autograd.gradcheck(outputs, values)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_steps_are_zero_and_take_no_gradient(kind: Any) -> None:
    layer = layer_of(kind, "cpu")
    inputs = leaves(inputs_of(layer, 3, 40), torch.float64)
    lengths = torch.tensor([40, 33, 0])
    y, state = layer(inputs["x"], MambaState(inputs["conv"], inputs["ssm"]), lengths)
    y.sum().backward()
    assert inputs["x"].grad is not None
    for i, length in enumerate(lengths.tolist()):
        assert not y[i, length:].any()
        assert not inputs["x"].grad[i, length:].any()
    assert torch.equal(state.ssm[2], inputs["ssm"][2])
    assert torch.equal(state.conv[2], inputs["conv"][2])


def test_a_gradient_of_the_gradient_is_refused() -> None:
    layer = layer_of(MambaBlock, "cpu")
    x = inputs_of(layer, 1, 5)["x"].requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_frozen_weights_get_no_gradient_and_leave_the_others() -> None:
    layer, whole = layer_of(MambaBlock, "cpu"), layer_of(MambaBlock, "cpu")
    x = inputs_of(layer, 2, 40)["x"]
    for name, weight in layer.named_parameters():
        weight.requires_grad_("x_proj" in name)
    layer(x)[0].square().sum().backward()
    whole(x)[0].square().sum().backward()
    expected = dict(whole.named_parameters())
    for name, weight in layer.named_parameters():
        if "x_proj" in name:
            assert torch.equal(weight.grad, expected[name].grad)
        else:
            assert weight.grad is None


def test_layouts_of_inputs_states_and_weights_do_not_matter() -> None:
    layer = layer_of(MambaBlock, "cpu", d_model=8)
    inputs = leaves(inputs_of(layer, 8, 40), torch.float64)
    expected = with_gradients(layer, inputs)
    odd = layer_of(MambaBlock, "cpu", d_model=8)
    for weight in odd.parameters():
        # The same numbers in memory of another order.
        if weight.dim() > 1:
            weight.data = weight.data.transpose(0, -1).contiguous().transpose(0, -1)
    turned = {
        name: v.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_()
        for name, v in inputs.items()
    }
    assert not turned["x"].is_contiguous()
    found = with_gradients(odd, turned)
    assert_near(found[0] | found[1], expected[0] | expected[1], 1e-14)


def test_an_expanded_input_and_an_expanded_gradient() -> None:
    layer = layer_of(MambaBlock, "cpu")
    row = inputs_of(layer, 1, 1)["x"]
    results = []
    for expand in (torch.Tensor.expand, lambda v, *s: v.expand(*s).clone()):
        x = row.clone().requires_grad_()
        layer.zero_grad()
        layer(expand(x, 3, 40, 6))[0].sum().backward()
        results.append({name: v.grad.clone() for name, v in layer.named_parameters()})
        results[-1]["x"] = x.grad
    assert_near(results[0], results[1], 1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_agrees_within_its_rounding(kind: Any) -> None:
    layer = layer_of(kind, "cpu", d_model=16).float()
    x = inputs_of(layer, 2, 40)["x"].float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(x)[0]
    exact = layer_of(kind, "reference", d_model=16)
    with torch.no_grad():
        expected = exact(x.double())[0]
    assert_near({"y": low}, {"y": expected}, 4 * torch.finfo(torch.bfloat16).eps)


def test_inputs_are_left_alone() -> None:
    layer = layer_of(MambaBlock, "cpu")
    inputs = inputs_of(layer, 2, 40)
    before = {name: v.clone() for name, v in inputs.items()}
    with_gradients(layer, {name: v.requires_grad_() for name, v in inputs.items()})
    assert all(torch.equal(inputs[name], v) for name, v in before.items())


def test_outputs_and_gradients_of_different_widths_agree() -> None:
    """The gradient is taken with the width of the outputs, whichever is in use by then."""
    layer = layer_of(MambaBlock, "cpu", d_model=3)
    inputs = leaves(inputs_of(layer, 2, 40), torch.float64)
    expected = with_gradients(layer, inputs)[1]
    expected = {name: v.clone() for name, v in expected.items()}
    again = leaves(inputs, torch.float64)
    layer.zero_grad()
    with use_lanes(min(LANES)):
        loss = loss_of(run(layer, again))
    loss.backward()
    found = {
        name: again[name.removeprefix("grad of ")].grad for name in expected if name[8:] in again
    }
    assert_near(found, {name: expected[name] for name in found}, 1e-12)
