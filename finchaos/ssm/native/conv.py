"""The compiled causal convolution as an operator of torch, with its gradient."""

from __future__ import annotations

import ctypes
from ctypes import c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from finchaos.ssm.inputs import parameter_dtype, refuse_tangents
from finchaos.ssm.native.library import address, run, with_dense_rows
from finchaos.ssm.once import refuse_second

_TENSORS = ("weight", "bias", "before", "lengths", "y", "last", "grad_y", "grad_last")
_GRADIENTS = ("x", "weight", "bias", "before")


class _Call(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("batch", "time", "d", "w", "threads", "silu")),
        ("x", c_void_p),
        ("strides", c_int64 * 2),
        *((name, c_void_p) for name in _TENSORS),
        *((f"grad_{name}", c_void_p) for name in _GRADIENTS),
    ]


def _run(kernel: str, x: Tensor, weight: Tensor, silu: bool, **tensors: Tensor | None) -> None:
    x = with_dense_rows(x)
    call = _Call(*x.shape, weight.shape[1], torch.get_num_threads(), silu, x.data_ptr())
    call.strides[:] = x.stride()[:2]
    alive = {"weight": weight.contiguous()} | {
        name: None if tensor is None else tensor.contiguous() for name, tensor in tensors.items()
    }
    for name, tensor in alive.items():
        setattr(call, name, address(tensor))
    run(kernel, x.dtype, call)


@torch.library.custom_op("finchaos::causal_conv", mutates_args=())
def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor]:
    y, last = _results(x, weight)
    _run("conv_forward", x, weight, silu, bias=bias, before=before, lengths=lengths, y=y, last=last)
    return y, last


def _results(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(len(x), weight.shape[1] - 1, x.shape[2])


@_conv.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
) -> tuple[Tensor, Tensor]:
    return _results(x, weight)


@torch.library.custom_op("finchaos::causal_conv_backward", mutates_args=())
def _conv_backward(
    grad_y: Tensor,
    grad_last: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
) -> list[Tensor]:
    grads = _gradients(x, weight)
    given = {"bias": bias, "before": before, "lengths": lengths}
    given |= {"grad_y": grad_y, "grad_last": grad_last}
    given |= {f"grad_{name}": grad for name, grad in zip(_GRADIENTS, grads, strict=True)}
    _run("conv_backward", x, weight, silu, **given)
    return grads


def _gradients(x: Tensor, weight: Tensor) -> list[Tensor]:
    shapes = (x.shape, weight.shape, weight.shape[:1], _results(x, weight)[1].shape)
    return [x.new_empty(shape) for shape in shapes]


@_conv_backward.register_fake
def _(
    grad_y: Tensor,
    grad_last: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    before: Tensor | None,
    lengths: Tensor | None,
    silu: bool,
) -> list[Tensor]:
    return _gradients(x, weight)


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.silu = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> Any:
    x, weight, bias, before, lengths = ctx.saved_tensors
    grads = torch.ops.finchaos.causal_conv_backward(
        grad_y, grad_last, x, weight, bias, before, lengths, ctx.silu
    )
    given = zip((x, weight, bias, before), grads, strict=True)
    return *(None if value is None else grad for value, grad in given), None, None


_conv.register_autograd(_backward, setup_context=_set_up)
_conv_backward.register_autograd(refuse_second)


def causal_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The door's arguments to the kernel; see :func:`finchaos.ssm.conv.causal_conv`."""
    wide = x.to(parameter_dtype(x.dtype))
    refuse_tangents({"x": wide, "weight": weight, "bias": bias, "initial_state": initial_state})
    lengths = None if lengths is None else lengths.to(torch.int64)
    y, last = torch.ops.finchaos.causal_conv(
        wide, weight, bias, initial_state, lengths, activation == "silu"
    )
    return y.to(x.dtype), last
