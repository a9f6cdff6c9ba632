"""The compiled scans and convolution against the definition: values and all gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm import selective_scan, ssd_scan
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.tensors import (
    KERNELS,
    LANES,
    MOVING,
    SCANS,
    TOLERANCE,
    Run,
    Tensors,
    assert_near,
    conv,
    conv_tensors,
    leaves,
    scan,
    scan_tensors,
    ssd,
    ssd_tensors,
    with_gradients,
)

Case = tuple[Callable[[], Tensors], dict[str, Any]]
"""How to make the tensors, whose numbers a report of a failure could not show, and options."""
TIMES = st.sampled_from([1, 2, 31, 32, 33, 64, 65, 100])
SIZES = st.sampled_from([1, 3, 5, 16, 17, 40])
DTYPES = st.sampled_from(list(TOLERANCE))
GRID = settings(max_examples=60, deadline=None)
every_kernel = pytest.mark.parametrize("name", KERNELS)
every_scan = pytest.mark.parametrize("name", SCANS)


def assert_equal_to_the_definition(
    run: Run,
    tensors: Tensors,
    dtype: torch.dtype,
    lanes: int,
    tolerance: tuple[float, float] | None = None,
    **options: Any,
) -> None:
    with use_lanes(lanes):
        found = with_gradients(run, leaves(tensors, dtype), **options)
    exact = leaves(tensors, torch.float64)
    expected = with_gradients(run, exact, backend="reference", **options)
    for kind in (0, 1):

        def plain(kind: int = kind) -> Tensors:
            same = leaves(tensors, dtype)
            return with_gradients(run, same, backend="reference", **options)[kind]

        assert_near(found[kind], expected[kind], (tolerance or TOLERANCE[dtype])[kind], plain)


def absent(*names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(tuple)


def lengths_of(batch: int, time: int) -> st.SearchStrategy[torch.Tensor | None]:
    lengths = st.lists(st.integers(0, time), min_size=batch, max_size=batch)
    return st.none() | lengths.map(torch.tensor)


def kept_of(time: int) -> st.SearchStrategy[list[int] | None]:
    return st.none() | st.lists(st.integers(0, time - 1), unique=True, max_size=5).map(sorted)


@st.composite
def scan_cases(draw: st.DrawFn) -> Case:
    """How to make tensors for the scan of Mamba-1, and options."""
    batch, time, softplus = draw(st.integers(1, 5)), draw(TIMES), draw(st.booleans())
    make = partial(
        scan_tensors,
        batch,
        time,
        draw(SIZES),
        draw(SIZES),
        seed=draw(st.integers(0, 1000)),
        without=draw(absent("z", "D", "delta_bias", "initial_state")),
        positive=not softplus,
    )
    lengths, keep = draw(lengths_of(batch, time)), draw(kept_of(time))
    return make, {"softplus": softplus, "lengths": lengths, "keep": keep}


@st.composite
def ssd_cases(draw: st.DrawFn) -> Case:
    """The same for the scan of Mamba-2; groups of one head, of several and of all."""
    batch, time, softplus = draw(st.sampled_from([1, 2, 3, 20])), draw(TIMES), draw(st.booleans())
    groups, heads_of_a_group = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    make = partial(
        ssd_tensors,
        batch,
        time,
        groups * heads_of_a_group,
        draw(st.sampled_from([1, 3, 4, 5, 8, 17])),
        groups,
        draw(st.sampled_from([1, 3, 5, 16, 17, 64])),
        seed=draw(st.integers(0, 1000)),
        without=draw(absent("z", "D", "dt_bias", "initial_state")),
        positive=not softplus,
        by_channel=draw(st.booleans()),
    )
    return make, {
        "softplus": softplus,
        "lengths": draw(lengths_of(batch, time)),
        "keep": draw(kept_of(time)),
        "dt_limit": draw(st.sampled_from([(0.0, math.inf), (0.0, 0.1), (0.05, 0.2), (0.1, 0.1)])),
    }


@given(scan_cases(), DTYPES, st.sampled_from(LANES))
@GRID
def test_scan_equals_the_definition(case: Case, dtype: torch.dtype, lanes: int) -> None:
    make, options = case
    assert_equal_to_the_definition(scan, make(), dtype, lanes, **options)


@given(ssd_cases(), DTYPES, st.sampled_from(LANES))
@GRID
def test_scan_of_mamba2_equals_the_definition(case: Case, dtype: torch.dtype, lanes: int) -> None:
    make, options = case
    assert_equal_to_the_definition(ssd, make(), dtype, lanes, **options)


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
    options = {"activation": activation, "lengths": data.draw(lengths_of(batch, time))}
    lanes = data.draw(st.sampled_from(LANES))
    assert_equal_to_the_definition(conv, tensors, data.draw(DTYPES), lanes, **options)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_every_width_and_block_of_states(lanes: int, dtype: torch.dtype) -> None:
    """Blocks of 16, 8 and 4 states in one call, and one vector more than whole ones."""
    keep, tolerance = [0, 31, 32, 66], (TOLERANCE[dtype][1],) * 2
    wide = scan_tensors(2, 67, 33, 27)
    assert_equal_to_the_definition(scan, wide, dtype, lanes, tolerance, keep=keep)
    # Eleven heads of three channels in a group: 33 of them too.
    heads = ssd_tensors(2, 67, 22, 3, 2, 27)
    assert_equal_to_the_definition(ssd, heads, dtype, lanes, tolerance, keep=keep)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("low_and_high", [(0.0, 0.1), (0.05, math.inf), (0.05, 0.2)])
def test_step_sizes_cut_to_a_range_take_no_gradient(
    dtype: torch.dtype, low_and_high: tuple[float, float]
) -> None:
    tensors, (low, high) = ssd_tensors(2, 40, 4, 3, 2, 5), low_and_high
    given_tensors = leaves(tensors, dtype)
    with_gradients(ssd, given_tensors, dt_limit=(low, high))
    step = torch.nn.functional.softplus(tensors["dt"] + tensors["dt_bias"])
    outside = (step < low) | (step > high)
    gradient = given_tensors["dt"].grad
    assert 20 < int(outside.sum()) < step.numel() - 20
    assert gradient is not None
    assert torch.equal(gradient == 0, outside)


@every_kernel
def test_gradients_agree_with_finite_differences(name: str) -> None:
    kernel, lengths = KERNELS[name], torch.tensor([35, 3])
    small = {
        "scan": scan_tensors(2, 35, 2, 3),
        "ssd": ssd_tensors(2, 35, 2, 2, 1, 2, by_channel=True),
        "conv": conv_tensors(2, 35, 3, 4),
    }
    tensors = leaves(small[name], torch.float64)
    options: dict[str, Any] = {"keep": [2, 31, 33]} if name in SCANS else {}
    if name == "ssd":
        options["dt_limit"] = (0.05, 0.3)

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(tensors, values, strict=True))
        return tuple(kernel.run(named, lengths=lengths, **options).values())

    assert torch.autograd.gradcheck(run, tuple(tensors.values()))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [(name, wanted) for name, kernel in SCANS.items() for wanted in kernel.make(1, 1)],
)
def test_a_gradient_of_one_input_only(name: str, wanted: str) -> None:
    kernel = SCANS[name]
    tensors = kernel.make(2, 40)
    alone = {key: v.clone().requires_grad_(key == wanted) for key, v in tensors.items()}
    _, found = with_gradients(kernel.run, alone)
    _, expected = with_gradients(kernel.run, leaves(tensors, torch.float64))
    assert torch.equal(found[f"grad of {wanted}"], expected[f"grad of {wanted}"])
    assert all(v.grad is None for key, v in alone.items() if key != wanted)


@every_scan
@pytest.mark.parametrize("output", ["last_state", "states"])
def test_a_gradient_through_the_states_alone(name: str, output: str) -> None:
    kernel = SCANS[name]
    tensors = kernel.make(3, 70)
    options = {"lengths": torch.tensor([70, 0, 33]), "keep": [0, 40, 69]}
    grads = []
    for backend in ("cpu", "reference"):
        given_tensors = leaves(tensors, torch.float64)
        state = kernel.run(given_tensors, backend, **options)[output]
        (state * torch.linspace(-1, 1, state.numel()).reshape(state.shape)).sum().backward()
        read = (kernel.x, kernel.step, "A", "B", kernel.bias, "initial_state")
        grads.append({key: given_tensors[key].grad for key in read})
    assert_near(grads[0], grads[1], 1e-12)


@every_scan
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_activations_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    kernel = SCANS[name]
    low = {
        key: v.to(dtype if key in MOVING else torch.float32)
        for key, v in kernel.make(2, 40).items()
    }
    found = with_gradients(kernel.run, {key: v.requires_grad_() for key, v in low.items()})
    exact = leaves(low, torch.float64)
    expected = with_gradients(kernel.run, exact, backend="reference")
    rounding = torch.finfo(dtype).eps
    assert found[0]["y"].dtype == dtype
    assert found[0]["last_state"].dtype == torch.float32
    assert all(g.dtype == low[key.removeprefix("grad of ")].dtype for key, g in found[1].items())
    assert_near(found[0], expected[0], rounding)
    assert_near(found[1], expected[1], 2 * rounding)


@pytest.mark.parametrize(
    ("door", "name", "softplus"),
    [(selective_scan, "scan", "delta_softplus"), (ssd_scan, "ssd", "dt_softplus")],
)
def test_autocast_does_not_reach_into_a_scan(door: Any, name: str, softplus: str) -> None:
    tensors = {key: v.float() for key, v in SCANS[name].make(2, 40).items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = door(**tensors, **{softplus: True}, backend="cpu")
    outside = door(**tensors, **{softplus: True}, backend="cpu")
    assert torch.equal(inside.y, outside.y)
    assert inside.y.dtype == torch.float32
