"""The compiled scan and convolution against the definition: values and all gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm import selective_scan
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.tensors import (
    LANES,
    TOLERANCE,
    assert_near,
    conv,
    conv_tensors,
    leaves,
    scan,
    scan_tensors,
    with_gradients,
)

TIMES = st.sampled_from([1, 2, 31, 32, 33, 64, 65, 100])
SIZES = st.sampled_from([1, 3, 5, 16, 17, 40])
DTYPES = st.sampled_from(list(TOLERANCE))
GRID = settings(max_examples=60, deadline=None)


def absent(*names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(tuple)


@st.composite
def scan_cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of ``scan_tensors`` and options of the scan."""
    time, batch, softplus = draw(TIMES), draw(st.integers(1, 5)), draw(st.booleans())
    sizes = {
        "batch": batch,
        "time": time,
        "d": draw(SIZES),
        "n": draw(SIZES),
        "seed": draw(st.integers(0, 1000)),
        "without": draw(absent("z", "D", "delta_bias", "initial_state")),
        "positive": not softplus,
    }
    lengths = st.lists(st.integers(0, time), min_size=batch, max_size=batch)
    keep = st.none() | st.lists(st.integers(0, time - 1), unique=True, max_size=5).map(sorted)
    return sizes, {
        "delta_softplus": softplus,
        "lengths": draw(st.none() | lengths.map(torch.tensor)),
        "keep": draw(keep),
    }


@given(scan_cases(), DTYPES, st.sampled_from(LANES))
@GRID
def test_scan_equals_the_definition(
    case: tuple[dict[str, Any], dict[str, Any]], dtype: torch.dtype, lanes: int
) -> None:
    sizes, options = case
    tensors = scan_tensors(**sizes)
    with use_lanes(lanes):
        found = with_gradients(scan, leaves(tensors, dtype), **options)
    exact = leaves(tensors, torch.float64)
    expected = with_gradients(scan, exact, backend="reference", **options)
    for kind in (0, 1):
        assert_near(found[kind], expected[kind], TOLERANCE[dtype][kind])


@given(
    st.integers(1, 5),
    TIMES,
    SIZES,
    st.integers(1, 6),
    st.sampled_from([None, "silu"]),
    absent("bias", "initial_state"),
    st.data(),
)
@GRID
def test_convolution_equals_the_definition(
    batch: int,
    time: int,
    d: int,
    width: int,
    activation: str | None,
    without: tuple[str, ...],
    data: st.DataObject,
) -> None:
    tensors = conv_tensors(batch, time, d, width, without=without)
    lengths = st.lists(st.integers(0, time), min_size=batch, max_size=batch).map(torch.tensor)
    options = {"activation": activation, "lengths": data.draw(st.none() | lengths)}
    dtype = data.draw(DTYPES)
    with use_lanes(data.draw(st.sampled_from(LANES))):
        found = with_gradients(conv, leaves(tensors, dtype), **options)
    exact = leaves(tensors, torch.float64)
    expected = with_gradients(conv, exact, backend="reference", **options)
    for kind in (0, 1):
        assert_near(found[kind], expected[kind], TOLERANCE[dtype][kind])


@pytest.mark.parametrize("lanes", LANES)
def test_every_width_and_block_of_states(lanes: int) -> None:
    """Blocks of 16, 8 and 4 states in one call, and one vector more than whole ones."""
    for dtype, (_, tolerance) in TOLERANCE.items():
        tensors = scan_tensors(2, 67, 33, 27)
        with use_lanes(lanes):
            found = with_gradients(scan, leaves(tensors, dtype), keep=[0, 31, 32, 66])
        exact = leaves(tensors, torch.float64)
        expected = with_gradients(scan, exact, backend="reference", keep=[0, 31, 32, 66])
        assert_near(found[0] | found[1], expected[0] | expected[1], tolerance)


def test_gradients_agree_with_finite_differences() -> None:
    lengths = torch.tensor([35, 3])
    tensors = leaves(scan_tensors(2, 35, 2, 3), torch.float64)

    def run_scan(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(tensors, values, strict=True))
        return tuple(scan(named, lengths=lengths, keep=[2, 31, 33]).values())

    assert torch.autograd.gradcheck(run_scan, tuple(tensors.values()))
    of_conv = leaves(conv_tensors(2, 35, 3, 4), torch.float64)

    def run_conv(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(conv(dict(zip(of_conv, values, strict=True)), lengths=lengths).values())

    assert torch.autograd.gradcheck(run_conv, tuple(of_conv.values()))


@pytest.mark.parametrize(
    ("run", "tensors"), [(scan, scan_tensors(1, 5, 3, 2)), (conv, conv_tensors(1, 5, 3, 4))]
)
def test_a_gradient_of_the_gradient_is_refused(run: Any, tensors: dict[str, torch.Tensor]) -> None:
    given_tensors = leaves(tensors, torch.float64)
    first = next(iter(given_tensors.values()))
    y = run(given_tensors)["y"]
    (gradient,) = torch.autograd.grad(y.square().sum(), first, create_graph=True)
    with pytest.raises(RuntimeError, match=r"backward|differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("wanted", ["u", "A", "z", "initial_state", "B"])
def test_a_gradient_of_one_input_only(wanted: str) -> None:
    tensors = scan_tensors(2, 40, 5, 3)
    alone = {name: v.clone().requires_grad_(name == wanted) for name, v in tensors.items()}
    _, found = with_gradients(scan, alone)
    _, expected = with_gradients(scan, leaves(tensors, torch.float64))
    assert torch.equal(found[f"grad of {wanted}"], expected[f"grad of {wanted}"])
    assert all(v.grad is None for name, v in alone.items() if name != wanted)


@pytest.mark.parametrize("output", ["last_state", "states"])
def test_a_gradient_through_the_states_alone(output: str) -> None:
    tensors = scan_tensors(3, 70, 5, 3)
    options = {"lengths": torch.tensor([70, 0, 33]), "keep": [0, 40, 69]}
    grads = []
    for backend in ("cpu", "reference"):
        given_tensors = leaves(tensors, torch.float64)
        state = scan(given_tensors, backend, **options)[output]
        (state * torch.linspace(-1, 1, state.numel()).reshape(state.shape)).sum().backward()
        read = ("u", "delta", "A", "B", "delta_bias", "initial_state")
        grads.append({name: given_tensors[name].grad for name in read})
    assert_near(grads[0], grads[1], 1e-12)


def test_low_precision_activations_are_computed_in_float32() -> None:
    tensors = scan_tensors(2, 40, 5, 3)
    for dtype in (torch.bfloat16, torch.float16):
        low = {
            name: v.to(dtype if name in ("u", "delta", "z", "B", "C") else torch.float32)
            for name, v in tensors.items()
        }
        found = with_gradients(scan, {name: v.requires_grad_() for name, v in low.items()})
        exact = leaves(low, torch.float64)
        expected = with_gradients(scan, exact, backend="reference")
        rounding = torch.finfo(dtype).eps
        assert found[0]["y"].dtype == dtype
        assert found[0]["last_state"].dtype == torch.float32
        assert all(
            g.dtype == low[name.removeprefix("grad of ")].dtype for name, g in found[1].items()
        )
        assert_near(found[0], expected[0], rounding)
        assert_near(found[1], expected[1], 2 * rounding)


def test_autocast_does_not_reach_into_the_scan() -> None:
    tensors = {name: v.float() for name, v in scan_tensors(2, 40, 5, 3).items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = selective_scan(**tensors, delta_softplus=True, backend="cpu")
    outside = selective_scan(**tensors, delta_softplus=True, backend="cpu")
    assert torch.equal(inside.y, outside.y)
    assert inside.y.dtype == torch.float32
