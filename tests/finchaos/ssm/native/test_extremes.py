"""Extreme steps, rates, gates and lengths, odd memory, and what is left as it was."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable

import pytest
import torch

from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.tensors import (
    LANES,
    TOLERANCE,
    Tensors,
    assert_near,
    conv,
    conv_tensors,
    leaves,
    loss_of,
    scan,
    scan_tensors,
    threads,
    with_gradients,
)

both_types = pytest.mark.parametrize("dtype", list(TOLERANCE))
every_width = pytest.mark.parametrize("lanes", LANES)


@every_width
@both_types
@pytest.mark.parametrize("step", [0.0, 1e-8, 1.0, 1e3])
@pytest.mark.parametrize("rate", [0.0, 1e-6, 1.0, 1e4])
def test_extreme_steps_and_rates(lanes: int, dtype: torch.dtype, step: float, rate: float) -> None:
    tensors = scan_tensors(2, 70, 5, 3, without=("delta_bias",))
    tensors["delta"] = torch.full_like(tensors["delta"], step).float().double()
    tensors["A"] = torch.full_like(tensors["A"], -rate).float().double()
    with use_lanes(lanes):
        found = with_gradients(scan, leaves(tensors, dtype), softplus=False)
    exact = leaves(tensors, torch.float64)
    expected = with_gradients(scan, exact, backend="reference", softplus=False)
    for kind in (0, 1):
        assert all(bool(torch.isfinite(v).all()) for v in found[kind].values())
        assert_near(found[kind], expected[kind], 10 * TOLERANCE[dtype][kind])


@every_width
@both_types
@pytest.mark.parametrize("before_softplus", [-1e30, -800.0, -90.0, -20.0, 20.0, 90.0, 1e4])
def test_softplus_far_out(lanes: int, dtype: torch.dtype, before_softplus: float) -> None:
    tensors = scan_tensors(1, 40, 5, 3, without=("delta_bias",))
    tensors["delta"] = torch.full_like(tensors["delta"], before_softplus).float().double()
    with use_lanes(lanes):
        found = with_gradients(scan, leaves(tensors, dtype))
    exact = leaves(tensors, torch.float64)
    expected = with_gradients(scan, exact, backend="reference")
    for kind in (0, 1):
        assert all(bool(torch.isfinite(v).all()) for v in found[kind].values())
        assert_near(found[kind], expected[kind], 10 * TOLERANCE[dtype][kind])


@every_width
@both_types
@pytest.mark.parametrize(
    "gate", [-3e38, -1e30, -1e4, -800.0, -100.0, -88.0, -87.0, 0.0, 88.0, 100.0, 1e4]
)
def test_gates_far_out(lanes: int, dtype: torch.dtype, gate: float) -> None:
    """Also the silu of a convolution."""
    tensors = scan_tensors(1, 40, 5, 3)
    tensors["z"] = torch.full_like(tensors["z"], gate).float().double()
    of_conv = conv_tensors(1, 40, 5, 1, without=("bias", "initial_state"))
    of_conv["weight"] = torch.full_like(of_conv["weight"], gate).float().double()
    of_conv["x"] = torch.ones_like(of_conv["x"])
    for run, given in ((scan, tensors), (conv, of_conv)):
        with use_lanes(lanes):
            found = with_gradients(run, leaves(given, dtype))
        exact = leaves(given, torch.float64)
        expected = with_gradients(run, exact, backend="reference")
        for kind in (0, 1):
            assert_near(found[kind], expected[kind], 10 * TOLERANCE[dtype][kind])


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_a_long_sequence_stays_exact(spread: float) -> None:
    tensors = scan_tensors(1, 5000, 3, 2)
    tensors["A"] = -torch.logspace(-6, 2, 6).reshape(3, 2).double().float().double()
    tensors["delta"] *= spread
    expected = with_gradients(scan, leaves(tensors, torch.float64), backend="reference")
    for dtype in TOLERANCE:
        found = with_gradients(scan, leaves(tensors, dtype))
        for kind in (0, 1):
            assert all(bool(torch.isfinite(v).all()) for v in found[kind].values())
            assert_near(found[kind], expected[kind], 100 * TOLERANCE[dtype][kind])


@every_width
def test_states_that_decay_below_the_normal_numbers(lanes: int) -> None:
    tensors = scan_tensors(1, 400, 5, 3, without=("delta_bias",))
    for name in ("u", "B"):
        tensors[name][:, 1:] = 0.0
    tensors["delta"] = torch.ones_like(tensors["delta"])
    with use_lanes(lanes):
        found = with_gradients(scan, leaves(tensors, torch.float32))[0]
    assert not found["last_state"].any()


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the mode has no such name here"
)
@pytest.mark.parametrize("flush", [True, False])
def test_the_mode_for_small_numbers_is_the_callers(flush: bool) -> None:
    """Numbers below the normal ones are flushed inside the kernels only, on every thread."""
    tiny = torch.full((20_000,), 1e-39)

    def kept() -> bool:
        return bool((tiny * 1.0).any())

    tensors = scan_tensors(17, 40, 5, 3)
    assert torch.set_flush_denormal(flush)
    try:
        for count in (1, 2):
            with threads(count):
                assert kept() == (not flush)
                with_gradients(scan, leaves(tensors, torch.float32))
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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_do_not_matter(layout: str) -> None:
    for run, tensors in ((scan, scan_tensors(3, 40, 6, 5)), (conv, conv_tensors(3, 40, 6, 4))):
        plain = leaves(tensors, torch.float32)
        expected = with_gradients(run, plain)
        leaf = leaves(tensors, torch.float32)
        views = {name: LAYOUTS[layout](v) for name, v in leaf.items()}
        outputs = run(views)
        loss_of(outputs).backward()
        gradients = {f"grad of {name}": v.grad for name, v in leaf.items()}
        for name, v in (outputs | gradients).items():
            assert torch.equal(v, (expected[0] | expected[1])[name]), name


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expanded_inputs_and_gradients(axis: int) -> None:
    """Strides of zero, among them in the gradient of a plain sum."""
    for run, tensors in ((scan, scan_tensors(3, 40, 6, 5)), (conv, conv_tensors(3, 40, 6, 4))):
        results = []
        for copy in (False, True):
            leaf = {
                name: v.float().narrow(axis, 0, 1).clone().requires_grad_()
                if v.dim() == 3
                else v.float()
                for name, v in tensors.items()
            }
            wide = {
                name: v.expand(tensors[name].shape) if v.dim() == 3 else v
                for name, v in leaf.items()
            }
            if copy:
                wide = {name: v.clone() for name, v in wide.items()}
            outputs = run(wide)
            (outputs["y"].sum() + outputs["last_state"].mean()).backward()
            results.append(
                [
                    *(v.detach() for v in outputs.values()),
                    *(v.grad for v in leaf.values() if v.dim() == 3),
                ]
            )
        for found, expected in zip(*results, strict=True):
            assert torch.equal(found, expected)


def test_inputs_are_left_alone() -> None:
    def unchanged(tensors: Tensors, before: Tensors) -> bool:
        return all(torch.equal(v, before[name]) for name, v in tensors.items())

    for run, tensors in ((scan, scan_tensors(3, 40, 6, 5)), (conv, conv_tensors(3, 40, 6, 4))):
        given = leaves(tensors, torch.float64)
        outputs = run(given)
        kept = {name: v.detach().clone() for name, v in outputs.items()}
        incoming = [torch.randn_like(v) for v in outputs.values()]
        before = [v.clone() for v in incoming]
        torch.autograd.backward(list(outputs.values()), incoming)
        assert unchanged(given, tensors)
        assert unchanged(outputs, kept)
        assert all(torch.equal(a, b) for a, b in zip(incoming, before, strict=True))


def test_results_share_no_memory() -> None:
    """A continued scan must not overwrite the state that it began from."""
    tensors = scan_tensors(2, 40, 6, 5)
    out = scan(tensors, keep=[39])
    again = scan({**tensors, "initial_state": out["last_state"]}, keep=[39])
    places = [v.data_ptr() for v in (*out.values(), *again.values())]
    assert len(set(places)) == len(places)
    assert math.isfinite(float(again["y"].sum()))
