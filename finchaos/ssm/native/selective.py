"""The compiled selective scan as an operator of torch, with its gradient."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm.inputs import ScanOutput, parameter_dtype, refuse_tangents
from finchaos.ssm.native.library import lanes, padded, run, use_lanes
from finchaos.ssm.native.walk import Call, Walk, chunks
from finchaos.ssm.once import refuse_second

_MOVING = ("u", "delta", "z", "B", "C")
_GRADIENTS = (*_MOVING, "A", "skip", "bias", "before")
_AT_THE_DOOR = (*_MOVING, "A", "D", "delta_bias", "initial_state")


class _Selective(ctypes.Structure):
    _fields_ = [
        ("walk", Walk),
        *((name, c_int64) for name in ("d", "n", "softplus")),
        *((name, c_void_p) for name in _MOVING),
        ("strides", c_int64 * 10),
        *((name, c_void_p) for name in ("A", "skip", "bias", "y", "grad_y")),
        *((f"grad_{name}", c_void_p) for name in _GRADIENTS[:-1]),
    ]


def _call(tensors: Sequence[Tensor | None], softplus: bool, keep: Sequence[int]) -> Call:
    u, delta, z, B, C, A, skip, bias, before, lengths = tensors
    assert u is not None  # noqa: S101  (the operator requires both)
    assert A is not None  # noqa: S101
    call = Call(_Selective(Walk(), *A.shape, softplus))
    call.put_walk(u.shape[0], u.shape[1], keep)
    call.put_moving(u=u, delta=delta, z=z, B=B, C=C)
    call.put(A=A, skip=skip, bias=bias, before=before, lengths=lengths)
    return call


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
    call = _call((u, delta, z, B, C, A, skip, bias, before, lengths), softplus, keep)
    y, last, states, checkpoints = _results(u, A, keep, for_gradient)
    call.put(y=y, last=last, states=states, checkpoints=checkpoints)
    run("selective_forward", u.dtype, call.structure)
    return y, last, states, checkpoints


def _results(
    u: Tensor, A: Tensor, keep: Sequence[int], for_gradient: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, time, _ = u.shape
    return (
        u.new_empty(u.shape),
        u.new_empty(batch, *A.shape),
        u.new_empty(batch, len(keep), *A.shape),
        u.new_empty(
            batch,
            chunks(time) if for_gradient else 0,
            -(-A.shape[1] // 4) * 4,
            padded(A.shape[0], A.dtype),
        ),
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
    call = _call((u, delta, z, B, C, A, skip, bias, before, lengths), softplus, keep)
    call.put(grad_y=grad_y, grad_last=grad_last, grad_states=grad_states, checkpoints=checkpoints)
    grads = _gradients(u, A, z, B)
    call.put(**{f"grad_{name}": grad for name, grad in zip(_GRADIENTS, grads, strict=True)})
    run("selective_backward", u.dtype, call.structure)
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
_scan_backward.register_autograd(refuse_second)


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

    Memory for the gradient, beside the inputs: one state in 32 steps.
    """
    exact = parameter_dtype(u.dtype)
    moving = [None if x is None else x.to(exact) for x in (u, delta, z, B, C)]
    if not delta_softplus:
        _refuse_negative(delta, delta_bias)
    lengths = None if lengths is None else lengths.to(torch.int64)
    fixed = [A, D, delta_bias, initial_state]
    refuse_tangents(dict(zip(_AT_THE_DOOR, moving + fixed, strict=True)))
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
