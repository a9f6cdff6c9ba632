"""A whole layer as one kernel: the numbers and gradients of its parts, one after another."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm import Mamba, Mamba2, Mamba2Block, MambaBlock
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.layers import (
    BLOCKS,
    KINDS,
    Kind,
    inputs_of,
    layer_of,
    layer_with_gradients,
    mixer_of,
    run_layer,
)
from tests.finchaos.ssm.native.tensors import (
    LANES,
    TOLERANCE,
    Tensors,
    assert_near,
    assert_same_bits,
    leaves,
    loss_of,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_block = pytest.mark.parametrize("kind", BLOCKS)


@st.composite
def mamba_sizes(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "kind": draw(st.sampled_from([Mamba, MambaBlock])),
        "d_model": draw(st.sampled_from([1, 2, 6, 17, 20, 33, 64])),
        "d_state": draw(st.sampled_from([1, 3, 4, 8, 16, 21])),
        "d_conv": draw(st.integers(1, 5)),
        "expand": draw(st.integers(1, 3)),
        "conv_bias": draw(st.booleans()),
    }


@st.composite
def mamba2_sizes(draw: st.DrawFn) -> dict[str, Any]:
    """Every variant; groups of one head, of several and of all.

    A norm is of four channels at least: one of a single channel leaves but a sign, and magnifies
    rounding where that changes.
    """
    headdim, groups = draw(st.sampled_from([1, 2, 5, 8, 12])), draw(st.sampled_from([1, 2, 3]))
    least = math.ceil(4 / headdim)
    heads = groups * draw(st.integers(least, least + 1))
    return {
        "kind": draw(st.sampled_from([Mamba2, Mamba2Block])),
        "d_model": headdim * heads,
        "d_state": draw(st.sampled_from([1, 3, 4, 16, 21])),
        "d_conv": draw(st.integers(1, 6)),
        "expand": draw(st.integers(1, 2)),
        "headdim": headdim,
        "ngroups": draw(st.sampled_from([1, groups])),
        "conv_bias": draw(st.booleans()),
        "D_has_hdim": draw(st.booleans()),
        "rmsnorm": draw(st.booleans()),
        "norm_before_gate": draw(st.booleans()),
        "norm_per_group": draw(st.booleans()),
        "dt_limit": draw(st.sampled_from([(0.0, math.inf), (0.005, 0.05)])),
    }


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int], dict[str, Any]]:
    """Arguments of ``layer_of``, batch and time, options of ``run_layer``."""
    layer = draw(mamba_sizes() | mamba2_sizes() | mamba2_sizes())
    batch = draw(st.sampled_from([1, 2, 3, 5, 20]))
    time = draw(st.sampled_from([1, 2, 3, 31, 32, 33, 65, 70]))
    lengths = st.lists(st.integers(0, time), min_size=batch, max_size=batch).map(torch.tensor)
    options = {"state": draw(st.booleans()), "lengths": draw(st.none() | lengths)}
    return layer, (batch, time), options


@given(cases(), st.sampled_from(list(TOLERANCE)), st.sampled_from(LANES))
@settings(max_examples=120, deadline=None)
def test_layer_equals_its_parts(
    case: tuple[dict[str, Any], tuple[int, int], dict[str, Any]],
    dtype: torch.dtype,
    lanes: int,
) -> None:
    sizes, shape, options = case
    layer = layer_of(backend="cpu", **sizes).to(dtype)
    inputs = inputs_of(layer, *shape)
    with use_lanes(lanes):
        found = layer_with_gradients(layer, leaves(inputs, dtype), **options)
    by_parts = layer_of(backend="torch", **sizes)
    expected = layer_with_gradients(by_parts, leaves(inputs, torch.float64), **options)
    for kind in (0, 1):

        def plain(kind: int = kind) -> Tensors:
            same = layer_of(backend="torch", **sizes).to(dtype)
            return layer_with_gradients(same, leaves(inputs, dtype), **options)[kind]

        # A layer adds up products of several matrices: more roundings than its scan alone.
        assert_near(found[kind], expected[kind], 5 * TOLERANCE[dtype][kind], plain)


def test_a_single_channel_equals_its_parts() -> None:
    one = {"d_model": 1, "d_state": 1, "headdim": 1, "ngroups": 1, "expand": 1}
    layer, parts = (layer_of(Mamba2Block, backend, **one) for backend in ("cpu", "torch"))
    inputs = inputs_of(layer, 2, 33)
    with torch.no_grad():
        assert_near(run_layer(layer, inputs), run_layer(parts, inputs), 1e-12)


WIDE = {Mamba: {"d_state": 13}, Mamba2: {"d_state": 13, "headdim": 5, "ngroups": 4}}
"""Sizes that fill whole vectors and a part of one more."""


@every_kind
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("d_conv", [1, 2, 3, 4, 40])
def test_layer_equals_the_definition(kind: Kind, lanes: int, d_conv: int) -> None:
    """Also with a convolution wider than a chunk of steps."""
    mixer = Mamba if kind in (Mamba, MambaBlock) else Mamba2
    sizes = {"d_model": 20, "d_conv": d_conv, **WIDE[mixer]}
    layer = layer_of(kind, "cpu", **sizes)
    inputs = inputs_of(layer, 2, 77)
    options = {"lengths": torch.tensor([77, 34])}
    with use_lanes(lanes):
        found = layer_with_gradients(layer, leaves(inputs, torch.float64), **options)
    slow = layer_of(kind, "reference", **sizes)
    expected = layer_with_gradients(slow, leaves(inputs, torch.float64), **options)
    assert_near(found[0] | found[1], expected[0] | expected[1], 1e-12)


@pytest.mark.parametrize("kind", [Mamba2, Mamba2Block])
@pytest.mark.parametrize(
    "variant",
    [
        {"rmsnorm": False},
        {"norm_before_gate": True},
        {"norm_per_group": False},
        {"norm_before_gate": True, "norm_per_group": False},
        {"D_has_hdim": True},
        {"conv_bias": False},
        {"ngroups": 1},
        {"ngroups": 8},
        {"dt_limit": (0.005, 0.02)},
    ],
    ids=str,
)
def test_every_variant_of_mamba2_equals_the_definition(kind: Kind, variant: dict[str, Any]) -> None:
    sizes = {"d_model": 20, **WIDE[Mamba2], **variant}
    inputs = inputs_of(layer_of(kind, "cpu", **sizes), 2, 70)
    options = {"lengths": torch.tensor([70, 33])}
    slow = layer_of(kind, "reference", **sizes)
    expected = layer_with_gradients(slow, leaves(inputs, torch.float64), **options)
    for dtype in TOLERANCE:
        layer = layer_of(kind, "cpu", **sizes).to(dtype)
        found = layer_with_gradients(layer, leaves(inputs, dtype), **options)
        for which in (0, 1):
            assert_near(found[which], expected[which], 5 * TOLERANCE[dtype][which])


def test_a_projection_with_a_bias_goes_by_parts_with_the_same_numbers() -> None:
    layer, slow = (layer_of(Mamba2Block, name, bias=True) for name in ("cpu", "reference"))
    inputs, lengths = inputs_of(layer, 3, 40), torch.tensor([40, 33, 0])
    found = layer_with_gradients(layer, leaves(inputs, torch.float64), lengths=lengths)
    expected = layer_with_gradients(slow, leaves(inputs, torch.float64), lengths=lengths)
    assert_near(found[0] | found[1], expected[0] | expected[1], 1e-12)
    assert not any(found[0]["y"][i, n:].any() for i, n in enumerate(lengths.tolist()))


@every_kind
def test_gradients_agree_with_finite_differences(kind: Kind) -> None:
    layer = layer_of(kind, "cpu", d_model=2, d_state=2)
    inputs = leaves(inputs_of(layer, 2, 34), torch.float64)
    weights = dict(layer.named_parameters())
    lengths = torch.tensor([34, 2])
    make: Any = mixer_of(layer).state_type

    def outputs(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given_inputs = dict(zip(inputs, values, strict=False))
        given_weights = dict(zip(weights, values[len(inputs) :], strict=True))
        state = make(given_inputs["conv"], given_inputs["ssm"])
        y, after = torch.func.functional_call(
            layer, given_weights, (given_inputs["x"], state, lengths)
        )
        return y, after.conv, after.ssm

    values = (*inputs.values(), *(w.detach().requires_grad_() for w in weights.values()))
    assert torch.autograd.gradcheck(outputs, values)


@every_kind
@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_padded_steps_are_zero_and_take_no_gradient(kind: Kind, backend: str) -> None:
    layer = layer_of(kind, backend)
    inputs = leaves(inputs_of(layer, 3, 40), torch.float64)
    lengths = torch.tensor([40, 33, 0])
    out = run_layer(layer, inputs, lengths=lengths)
    out["y"].sum().backward()
    assert inputs["x"].grad is not None
    for i, length in enumerate(lengths.tolist()):
        assert not out["y"][i, length:].any()
        assert not inputs["x"].grad[i, length:].any()
    assert torch.equal(out["ssm"][2], inputs["ssm"][2])
    assert torch.equal(out["conv"][2], inputs["conv"][2])


@every_kind
def test_frozen_weights_get_no_gradient_and_leave_the_others(kind: Kind) -> None:
    whole = layer_of(kind, "cpu")
    x = inputs_of(whole, 2, 40)["x"]
    whole(x)[0].square().sum().backward()
    expected = dict(whole.named_parameters())
    for alone in expected:
        layer = layer_of(kind, "cpu")
        for name, weight in layer.named_parameters():
            weight.requires_grad_(name == alone)
        layer(x)[0].square().sum().backward()
        for name, weight in layer.named_parameters():
            if name == alone:
                assert torch.equal(weight.grad, expected[name].grad), name
            else:
                assert weight.grad is None


@every_block
def test_layouts_of_inputs_states_and_weights_do_not_matter(kind: Kind) -> None:
    layer = layer_of(kind, "cpu", d_model=8)
    inputs = leaves(inputs_of(layer, 8, 40), torch.float64)
    expected = layer_with_gradients(layer, inputs)
    odd = layer_of(kind, "cpu", d_model=8)
    for weight in odd.parameters():
        # The same numbers in memory of another order.
        if weight.dim() > 1:
            weight.data = weight.data.transpose(0, -1).contiguous().transpose(0, -1)
    turned = {
        name: v.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_()
        for name, v in inputs.items()
    }
    assert not turned["x"].is_contiguous()
    found = layer_with_gradients(odd, turned)
    assert_near(found[0] | found[1], expected[0] | expected[1], 1e-14)


@every_block
def test_an_expanded_input_and_an_expanded_gradient(kind: Kind) -> None:
    layer = layer_of(kind, "cpu")
    row = inputs_of(layer, 1, 1)["x"]
    results = []
    for expand in (torch.Tensor.expand, lambda v, *s: v.expand(*s).clone()):
        x = row.clone().requires_grad_()
        layer.zero_grad()
        layer(expand(x, 3, 40, 6))[0].sum().backward()
        results.append({name: v.grad.clone() for name, v in layer.named_parameters()})
        results[-1]["x"] = x.grad
    assert_near(results[0], results[1], 1e-14)


@every_kind
def test_mixed_precision_agrees_within_its_rounding(kind: Kind) -> None:
    layer = layer_of(kind, "cpu", d_model=16).float()
    x = inputs_of(layer, 2, 40)["x"].float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(x)[0]
    exact = layer_of(kind, "reference", d_model=16)
    with torch.no_grad():
        expected = exact(x.double())[0]
    assert_near({"y": low}, {"y": expected}, 4 * torch.finfo(torch.bfloat16).eps)


@every_block
def test_inputs_are_left_alone_and_results_share_no_memory(kind: Kind) -> None:
    layer = layer_of(kind, "cpu")
    inputs = leaves(inputs_of(layer, 2, 40), torch.float64)
    before = {name: v.detach().clone() for name, v in inputs.items()}
    first = run_layer(layer, inputs)
    kept = {name: v.detach().clone() for name, v in first.items()}
    again = run_layer(layer, {**inputs, "conv": first["conv"], "ssm": first["ssm"]})
    loss_of(again).backward()
    assert_same_bits(inputs, before)
    assert_same_bits(first, kept)
    places = [v.data_ptr() for v in (*inputs.values(), *first.values(), *again.values())]
    assert len(set(places)) == len(places)


@every_block
def test_outputs_and_gradients_of_different_widths_agree(kind: Kind) -> None:
    """The gradient is taken with the width of the outputs, whichever is in use by then."""
    layer = layer_of(kind, "cpu", d_model=4)
    inputs = leaves(inputs_of(layer, 2, 40), torch.float64)
    expected = layer_with_gradients(layer, inputs)[1]
    expected = {name: v.clone() for name, v in expected.items()}
    again = leaves(inputs, torch.float64)
    layer.zero_grad()
    with use_lanes(min(LANES)):
        loss = loss_of(run_layer(layer, again))
    loss.backward()
    gradients = {**again, **dict(layer.named_parameters())}
    found = {name: gradients[name.removeprefix("grad of ")].grad for name in expected}
    assert_near(found, expected, 1e-12)
