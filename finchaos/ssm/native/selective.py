"""The compiled selective scan as an operator of torch, with its gradient."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm.inputs import ScanOutput, parameter_dtype
from finchaos.ssm.native.library import (
    CHUNK_STEPS,
    address,
    lanes,
    padded,
    run,
    use_lanes,
    with_dense_rows,
)

_INTEGERS = ("batch", "time", "d", "n", "threads", "softplus")
_MOVING = ("u", "delta", "z", "B", "C")
_FIXED = ("A", "skip", "bias", "before", "lengths", "keep")
_RESULTS = ("y", "last", "states", "checkpoints", "grad_y", "grad_last", "grad_states")
_GRADIENTS = ("u", "delta", "z", "B", "C", "A", "skip", "bias", "before")


class _Call(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in _INTEGERS),
        *((name, c_void_p) for name in _MOVING),
        ("strides", c_int64 * 10),
        *((name, c_void_p) for name in _FIXED),
        ("kept", c_int64),
        *((name, c_void_p) for name in _RESULTS),
        *((f"grad_{name}", c_void_p) for name in _GRADIENTS),
    ]


def _call(
    moving: dict[str, Tensor | None],
    fixed: dict[str, Tensor | None],
    softplus: bool,
    keep: Sequence[int],
) -> tuple[_Call, list[Any]]:
    """The kernel's view of the tensors, and what must stay alive while it runs."""
    u, A = moving["u"], fixed["A"]
    assert u is not None  # noqa: S101  (the operator requires both)
    assert A is not None  # noqa: S101
    call = _Call(*u.shape[:2], *A.shape, torch.get_num_threads(), softplus)
    alive: list[Any] = []
    for i, name in enumerate(_MOVING):
        tensor = moving[name]
        if tensor is not None:
            tensor = with_dense_rows(tensor)
            alive.append(tensor)
            setattr(call, name, tensor.data_ptr())
            call.strides[2 * i], call.strides[2 * i + 1] = tensor.stride()[:2]
    for name, tensor in fixed.items():
        tensor = None if tensor is None else tensor.contiguous()
        alive.append(tensor)
        setattr(call, name, address(tensor))
    steps = (c_int64 * len(keep))(*keep)
    alive.append(steps)
    call.keep, call.kept = ctypes.cast(steps, c_void_p), len(keep)
    return call, alive


def _named(*tensors: Tensor | None) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
    u, delta, z, B, C, A, skip, bias, before, lengths = tensors
    moving = {"u": u, "delta": delta, "z": z, "B": B, "C": C}
    fixed = {"A": A, "skip": skip, "bias": bias, "before": before, "lengths": lengths}
    return moving, fixed


@torch.library.custom_op("finchaos::selective_scan", mutates_args=())
def _scan(
    u: Tensor,
    delta: Tensor,
    z: Tensor | None,
    B: Tensor,
    C: Tensor,
    A: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    keep: Sequence[int],
    for_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    moving, fixed = _named(u, delta, z, B, C, A, skip, bias, before, lengths)
    call, alive = _call(moving, fixed, softplus, keep)
    y, last, states, checkpoints = _results(u, A, keep, for_gradient)
    call.y, call.last, call.states = y.data_ptr(), last.data_ptr(), states.data_ptr()
    call.checkpoints = checkpoints.data_ptr() if for_gradient else None
    run("selective_forward", u.dtype, call)
    del alive
    return y, last, states, checkpoints


def _results(
    u: Tensor, A: Tensor, keep: Sequence[int], for_gradient: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, time, _ = u.shape
    chunks = -(-time // CHUNK_STEPS) if for_gradient else 0
    return (
        u.new_empty(u.shape),
        u.new_empty(batch, *A.shape),
        u.new_empty(batch, len(keep), *A.shape),
        u.new_empty(batch, chunks, -(-A.shape[1] // 4) * 4, padded(A.shape[0], A.dtype)),
    )


@_scan.register_fake
def _(
    u: Tensor,
    delta: Tensor,
    z: Tensor | None,
    B: Tensor,
    C: Tensor,
    A: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    keep: Sequence[int],
    for_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _results(u, A, keep, for_gradient)


@torch.library.custom_op("finchaos::selective_scan_backward", mutates_args=())
def _scan_backward(
    grad_y: Tensor,
    grad_last: Tensor,
    grad_states: Tensor,
    u: Tensor,
    delta: Tensor,
    z: Tensor | None,
    B: Tensor,
    C: Tensor,
    A: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    checkpoints: Tensor,
    softplus: bool,
    keep: Sequence[int],
) -> list[Tensor]:
    moving, fixed = _named(u, delta, z, B, C, A, skip, bias, before, lengths)
    call, alive = _call(moving, fixed, softplus, keep)
    given = [x.contiguous() for x in (grad_y, grad_last, grad_states)]
    call.grad_y, call.grad_last, call.grad_states = (x.data_ptr() for x in given)
    call.checkpoints = checkpoints.data_ptr()
    grads = _gradients(u, A, z, B)
    for name, tensor in zip(_GRADIENTS, grads, strict=True):
        setattr(call, f"grad_{name}", tensor.data_ptr() if tensor.numel() else None)
    run("selective_backward", u.dtype, call)
    del alive
    return grads


def _gradients(u: Tensor, A: Tensor, z: Tensor | None, B: Tensor) -> list[Tensor]:
    def like(*shape: int) -> Tensor:
        return u.new_empty(shape)

    d = A.shape[0]
    gate = like(*u.shape) if z is not None else like(0)
    moving = [like(*u.shape), like(*u.shape), gate, like(*B.shape), like(*B.shape)]
    return [*moving, like(*A.shape), like(d), like(d), like(len(u), *A.shape)]


@_scan_backward.register_fake
def _(
    grad_y: Tensor,
    grad_last: Tensor,
    grad_states: Tensor,
    u: Tensor,
    delta: Tensor,
    z: Tensor | None,
    B: Tensor,
    C: Tensor,
    A: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    checkpoints: Tensor,
    softplus: bool,
    keep: Sequence[int],
) -> list[Tensor]:
    return _gradients(u, A, z, B)


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, softplus, keep, _ = inputs
    ctx.save_for_backward(*tensors, output[3])
    ctx.softplus, ctx.keep, ctx.lanes = softplus, keep, lanes()
    ctx.mark_non_differentiable(output[3])


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor, grad_states: Tensor, _: Any) -> Any:
    *tensors, checkpoints = ctx.saved_tensors
    # The kept states stand in vectors of the width that wrote them.
    with use_lanes(ctx.lanes):
        grads = torch.ops.finchaos.selective_scan_backward(
            grad_y, grad_last, grad_states, *tensors, checkpoints, ctx.softplus, ctx.keep
        )
    given = [None if x is None else g for x, g in zip(tensors, grads, strict=False)]
    return *given, None, None, None, None


_scan.register_autograd(_backward, setup_context=_set_up)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    keep: Sequence[int] | None,
) -> ScanOutput:
    """The door's arguments to the kernel and back; see :func:`finchaos.ssm.scan.selective_scan`.

    Memory for the gradient, beside the inputs: one state in :data:`CHUNK_STEPS`.
    """
    exact = parameter_dtype(u.dtype)
    moving = [None if x is None else x.to(exact) for x in (u, delta, z, B, C)]
    if not delta_softplus:
        _refuse_negative(delta, delta_bias)
    lengths = None if lengths is None else lengths.to(torch.int64)
    fixed = [A, D, delta_bias, initial_state]
    wanted = torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in moving + fixed
    )
    y, last, states, _ = torch.ops.finchaos.selective_scan(
        *moving, *fixed, lengths, delta_softplus, list(keep or ()), wanted
    )
    return ScanOutput(y.to(u.dtype), last, None if keep is None else states)


def _refuse_negative(delta: Tensor, bias: Tensor | None) -> None:
    lowest = (delta if bias is None else delta + bias).detach().min()
    if bool(lowest < 0):
        raise InputError(
            "delta holds negative step sizes: the state would grow instead of decaying",
            expected="delta + delta_bias >= 0",
            got=f"a minimum of {float(lowest)}",
            remedy="pass delta_softplus=True or apply softplus first",
        )
