"""The compiled scan of Mamba-2 as an operator of torch, with its gradient."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from finchaos.ssm.inputs import ScanOutput, parameter_dtype, refuse_tangents
from finchaos.ssm.native.library import lanes, padded, run, use_lanes
from finchaos.ssm.native.walk import Call, Walk, chunks
from finchaos.ssm.once import refuse_second

_MOVING = ("x", "dt", "z", "B", "C")
_GRADIENTS = (*_MOVING, "A", "skip", "bias", "before")
_AT_THE_DOOR = (*_MOVING, "A", "D", "dt_bias", "initial_state")


class _Ssd(ctypes.Structure):
    _fields_ = [
        ("walk", Walk),
        *((name, c_int64) for name in ("h", "p", "g", "n", "softplus", "skip_by_channel")),
        *((name, c_double) for name in ("low", "high")),
        *((name, c_void_p) for name in _MOVING),
        ("strides", c_int64 * 10),
        *((name, c_void_p) for name in ("A", "skip", "bias", "y", "grad_y")),
        *((f"grad_{name}", c_void_p) for name in _GRADIENTS[:-1]),
    ]


def _call(
    tensors: Sequence[Tensor | None],
    softplus: bool,
    low: float,
    high: float,
    keep: Sequence[int],
) -> Call:
    x, dt, z, B, C, A, skip, bias, before, lengths = tensors
    assert x is not None  # noqa: S101  (the operator requires both)
    assert B is not None  # noqa: S101
    by_channel = skip is not None and skip.dim() == 2
    call = Call(_Ssd(Walk(), *x.shape[2:], *B.shape[2:], softplus, by_channel, low, high))
    call.put_walk(x.shape[0], x.shape[1], keep)
    call.put_moving(x=x, dt=dt, z=z, B=B, C=C)
    call.put(A=A, skip=skip, bias=bias, before=before, lengths=lengths)
    return call


@torch.library.custom_op("finchaos::ssd_scan", mutates_args=())
def _scan(
    x: Tensor,
    dt: Tensor,
    z: Tensor | None,
    B: Tensor,
    C: Tensor,
    A: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    low: float,
    high: float,
    keep: Sequence[int],
    for_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tensors = (x, dt, z, B, C, A, skip, bias, before, lengths)
    call = _call(tensors, softplus, low, high, keep)
    y, last, states, checkpoints = _results(x, B, keep, for_gradient)
    call.put(y=y, last=last, states=states, checkpoints=checkpoints)
    run("ssd_forward", x.dtype, call.structure)
    return y, last, states, checkpoints


def _results(
    x: Tensor, B: Tensor, keep: Sequence[int], for_gradient: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, time, h, p = x.shape
    g, n = B.shape[2:]
    kept = chunks(time) if for_gradient else 0
    return (
        x.new_empty(x.shape),
        x.new_empty(batch, h, p, n),
        x.new_empty(batch, len(keep), h, p, n),
        x.new_empty(batch, kept, -(-n // 4) * 4, g * padded(h // g * p, x.dtype)),
    )


@_scan.register_fake
def _(
    x: Tensor,
    dt: Tensor,
    z: Tensor | None,
    B: Tensor,
    C: Tensor,
    A: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    softplus: bool,
    low: float,
    high: float,
    keep: Sequence[int],
    for_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _results(x, B, keep, for_gradient)


@torch.library.custom_op("finchaos::ssd_scan_backward", mutates_args=())
def _scan_backward(
    grad_y: Tensor,
    grad_last: Tensor,
    grad_states: Tensor,
    x: Tensor,
    dt: Tensor,
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
    low: float,
    high: float,
    keep: Sequence[int],
) -> list[Tensor]:
    tensors = (x, dt, z, B, C, A, skip, bias, before, lengths)
    call = _call(tensors, softplus, low, high, keep)
    call.put(grad_y=grad_y, grad_last=grad_last, grad_states=grad_states, checkpoints=checkpoints)
    grads = _gradients(x, dt, z, B, skip)
    call.put(**{f"grad_{name}": grad for name, grad in zip(_GRADIENTS, grads, strict=True)})
    run("ssd_backward", x.dtype, call.structure)
    return grads


def _gradients(
    x: Tensor, dt: Tensor, z: Tensor | None, B: Tensor, skip: Tensor | None
) -> list[Tensor]:
    def like(*shape: int) -> Tensor:
        return x.new_empty(shape)

    batch, _, h, p = x.shape
    gate = like(*x.shape) if z is not None else like(0)
    moving = [like(*x.shape), like(*dt.shape), gate, like(*B.shape), like(*B.shape)]
    of_skip = like(0) if skip is None else like(*skip.shape)
    return [*moving, like(h), of_skip, like(h), like(batch, h, p, B.shape[-1])]


@_scan_backward.register_fake
def _(
    grad_y: Tensor,
    grad_last: Tensor,
    grad_states: Tensor,
    x: Tensor,
    dt: Tensor,
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
    low: float,
    high: float,
    keep: Sequence[int],
) -> list[Tensor]:
    return _gradients(x, dt, z, B, skip)


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, softplus, low, high, keep, _ = inputs
    ctx.save_for_backward(*tensors, output[3])
    ctx.rest, ctx.lanes = (softplus, low, high, keep), lanes()
    ctx.mark_non_differentiable(output[3])


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor, grad_states: Tensor, _: Any) -> Any:
    *tensors, checkpoints = ctx.saved_tensors
    # The kept states stand in vectors of the width that wrote them.
    with use_lanes(ctx.lanes):
        grads = torch.ops.finchaos.ssd_scan_backward(
            grad_y, grad_last, grad_states, *tensors, checkpoints, *ctx.rest
        )
    given = [None if v is None else g for v, g in zip(tensors, grads, strict=False)]
    return *given, None, None, None, None, None, None


_scan.register_autograd(_backward, setup_context=_set_up)
_scan_backward.register_autograd(refuse_second)


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    step: tuple[Tensor | None, bool, float, float],
    initial_state: Tensor | None,
    lengths: Tensor | None,
    keep: Sequence[int] | None,
) -> ScanOutput:
    """The door's arguments to the kernel and back; see :func:`finchaos.ssm.ssd.ssd_scan`.

    ``step``: bias, whether softplus is applied, and the range of the step sizes. Memory for the
    gradient, beside the inputs: one state in 32 steps.
    """
    exact = parameter_dtype(x.dtype)
    moving = [None if v is None else v.to(exact) for v in (x, dt, z, B, C)]
    bias, *rest = step
    lengths = None if lengths is None else lengths.to(torch.int64)
    fixed = [A, D, bias, initial_state]
    refuse_tangents(dict(zip(_AT_THE_DOOR, moving + fixed, strict=True)))
    wanted = torch.is_grad_enabled() and any(
        v is not None and v.requires_grad for v in moving + fixed
    )
    y, last, states, _ = torch.ops.finchaos.ssd_scan(
        *moving, *fixed, lengths, *rest, list(keep or ()), wanted
    )
    return ScanOutput(y.to(x.dtype), last, None if keep is None else states)
