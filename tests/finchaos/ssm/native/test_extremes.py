"""Extreme steps, rates, gates and lengths, odd memory, and what is left as it was."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import Any

import pytest
import torch

from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.tensors import (
    KERNELS,
    LANES,
    SCANS,
    TOLERANCE,
    Kernel,
    Run,
    Tensors,
    assert_finite,
    assert_near,
    assert_same_bits,
    conv,
    conv_tensors,
    leaves,
    loss_of,
    threads,
    with_gradients,
)

both_types = pytest.mark.parametrize("dtype", list(TOLERANCE))
every_width = pytest.mark.parametrize("lanes", LANES)
every_scan = pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def filled(tensor: torch.Tensor, value: float) -> torch.Tensor:
    return torch.full_like(tensor, value).float().double()


def assert_near_the_definition(
    run: Run, tensors: Tensors, dtype: torch.dtype, times: int = 10, **options: Any
) -> None:
    """Finite, and within so many times the usual tolerance."""
    found = with_gradients(run, leaves(tensors, dtype), **options)
    exact = leaves(tensors, torch.float64)
    expected = with_gradients(run, exact, backend="reference", **options)
    for kind in (0, 1):
        assert_finite(found[kind])
        assert_near(found[kind], expected[kind], times * TOLERANCE[dtype][kind])


@every_scan
@every_width
@both_types
@pytest.mark.parametrize("step", [0.0, 1e-8, 1.0, 1e3])
@pytest.mark.parametrize("rate", [0.0, 1e-6, 1.0, 1e4])
def test_extreme_steps_and_rates(
    scan: Kernel, lanes: int, dtype: torch.dtype, step: float, rate: float
) -> None:
    tensors = scan.make(2, 70, without=(scan.bias,))
    tensors[scan.step] = filled(tensors[scan.step], step)
    tensors["A"] = filled(tensors["A"], -rate)
    with use_lanes(lanes):
        assert_near_the_definition(scan.run, tensors, dtype, softplus=False)


@every_scan
@every_width
@both_types
@pytest.mark.parametrize("before_softplus", [-1e30, -800.0, -90.0, -20.0, 20.0, 90.0, 1e4])
def test_softplus_far_out(
    scan: Kernel, lanes: int, dtype: torch.dtype, before_softplus: float
) -> None:
    tensors = scan.make(1, 40, without=(scan.bias,))
    tensors[scan.step] = filled(tensors[scan.step], before_softplus)
    with use_lanes(lanes):
        assert_near_the_definition(scan.run, tensors, dtype)


@every_scan
@every_width
@both_types
@pytest.mark.parametrize(
    "gate", [-3e38, -1e38, -1e30, -1e4, -800.0, -100.0, -88.0, -87.0, 0.0, 88.0, 100.0, 1e4, 1e30]
)
def test_gates_far_out(scan: Kernel, lanes: int, dtype: torch.dtype, gate: float) -> None:
    tensors = scan.make(1, 40)
    tensors["z"] = filled(tensors["z"], gate)
    with use_lanes(lanes):
        assert_near_the_definition(scan.run, tensors, dtype)


@every_width
@both_types
@pytest.mark.parametrize("value", [-3e38, -1e30, -1e4, -88.0, -87.0, 0.0, 88.0, 100.0, 1e4])
def test_the_silu_of_a_convolution_far_out(lanes: int, dtype: torch.dtype, value: float) -> None:
    tensors = conv_tensors(1, 40, 5, 1, without=("bias", "initial_state"))
    tensors["weight"] = filled(tensors["weight"], value)
    tensors["x"] = torch.ones_like(tensors["x"])
    with use_lanes(lanes):
        assert_near_the_definition(conv, tensors, dtype)


@every_scan
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_a_long_sequence_stays_exact(scan: Kernel, spread: float) -> None:
    tensors = scan.make(1, 5000)
    A = tensors["A"]
    tensors["A"] = -torch.logspace(-6, 2, A.numel()).reshape(A.shape).double().float().double()
    tensors[scan.step] *= spread
    for dtype in TOLERANCE:
        assert_near_the_definition(scan.run, tensors, dtype, times=100)


@every_scan
@every_width
def test_states_that_decay_below_the_normal_numbers(scan: Kernel, lanes: int) -> None:
    tensors = scan.make(1, 600, without=(scan.bias,))
    for name in (scan.x, "B"):
        tensors[name][:, 1:] = 0.0
    tensors[scan.step] = torch.ones_like(tensors[scan.step])
    with use_lanes(lanes):
        found = with_gradients(scan.run, leaves(tensors, torch.float32))
    assert not found[0]["last_state"].any()
    assert_finite(found[0] | found[1])


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the mode has no such name here"
)
@every_scan
@pytest.mark.parametrize("flush", [True, False])
def test_the_mode_for_small_numbers_is_the_callers(scan: Kernel, flush: bool) -> None:
    """Numbers below the normal ones are flushed inside the kernels only, on every thread."""
    tiny = torch.full((20_000,), 1e-39)

    def kept() -> bool:
        return bool((tiny * 1.0).any())

    tensors = scan.make(17, 40)
    assert torch.set_flush_denormal(flush)
    try:
        for count in (1, 2):
            with threads(count):
                assert kept() == (not flush)
                with_gradients(scan.run, leaves(tensors, torch.float32))
                assert kept() == (not flush)
    finally:
        torch.set_flush_denormal(False)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": lambda v: v.transpose(0, -1).contiguous().transpose(0, -1),
    "a slice": lambda v: torch.stack([v, v + 1], -1)[..., 0],
    "every second row": lambda v: v.repeat_interleave(2, 0)[::2],
    "channels of a wider tensor": lambda v: torch.cat([v, v, v], -1)[
        ..., v.shape[-1] : -v.shape[-1]
    ],
    "off any boundary": lambda v: torch.cat([v.new_zeros(1), v.flatten()])[1:].reshape(v.shape),
}


@every_kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_do_not_matter(kernel: Kernel, layout: str) -> None:
    tensors = kernel.make(3, 40)
    expected = with_gradients(kernel.run, leaves(tensors, torch.float32))
    leaf = leaves(tensors, torch.float32)
    outputs = kernel.run({name: LAYOUTS[layout](v) for name, v in leaf.items()})
    loss_of(outputs).backward()
    gradients = {f"grad of {name}": v.grad for name, v in leaf.items()}
    assert_same_bits(outputs | gradients, expected[0] | expected[1])


@every_kernel
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expanded_inputs_and_gradients(kernel: Kernel, axis: int) -> None:
    """Strides of zero, among them in the gradient of a plain sum."""
    tensors = {name: v.float() for name, v in kernel.make(3, 40).items()}
    moving = [name for name, v in tensors.items() if v.dim() > 2]
    results = []
    for copy in (False, True):
        leaf = {name: tensors[name].narrow(axis, 0, 1).clone().requires_grad_() for name in moving}
        wide = {name: v.expand(tensors[name].shape) for name, v in leaf.items()}
        if copy:
            wide = {name: v.clone() for name, v in wide.items()}
        outputs = kernel.run(tensors | wide)
        (outputs["y"].sum() + outputs["last_state"].mean()).backward()
        gradients = {f"grad of {name}": v.grad for name, v in leaf.items()}
        results.append({name: v.detach() for name, v in outputs.items()} | gradients)
    assert_same_bits(*results)


@every_kernel
def test_inputs_are_left_alone(kernel: Kernel) -> None:
    tensors = kernel.make(3, 40)
    given = leaves(tensors, torch.float64)
    outputs = kernel.run(given)
    kept = {name: v.detach().clone() for name, v in outputs.items()}
    incoming = {name: torch.randn_like(v) for name, v in outputs.items()}
    before = {name: v.clone() for name, v in incoming.items()}
    torch.autograd.backward(list(outputs.values()), list(incoming.values()))
    assert_same_bits(given, tensors)
    assert_same_bits(outputs, kept)
    assert_same_bits(incoming, before)


@every_scan
def test_results_share_no_memory(scan: Kernel) -> None:
    """A continued scan must not overwrite the state that it began from."""
    tensors = scan.make(2, 40)
    out = scan.run(tensors, keep=[39])
    again = scan.run({**tensors, "initial_state": out["last_state"]}, keep=[39])
    places = [v.data_ptr() for v in (*tensors.values(), *out.values(), *again.values())]
    assert len(set(places)) == len(places)
    assert math.isfinite(float(again["y"].sum()))
