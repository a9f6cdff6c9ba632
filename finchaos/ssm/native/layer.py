"""A whole Mamba layer as one function: norm, projections, convolution, scan, gate, residual.

Between the parts of a layer everything stays in the processor's cache, a chunk of steps at a time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from finchaos.ssm.native.library import CHUNK_STEPS, address, lanes, padded, run, use_lanes

_SIZES = ("m", "d", "n", "r", "w")
WEIGHTS = (
    "norm", "in_proj", "conv_weight", "conv_bias", "x_proj", "dt_proj", "dt_bias", "A", "skip",
    "out_proj",
)  # fmt: skip
"""Weights in the kernel's order; norm and conv_bias may be absent. Without norm: no residual."""

_STATES = ("conv_before", "before")


class MambaParts(ctypes.Structure):
    """Sizes and weights of a layer as the kernels take them."""

    _fields_ = [
        *((name, c_int64) for name in _SIZES),
        ("epsilon", c_double),
        *((name, c_void_p) for name in WEIGHTS),
    ]


class _Call(ctypes.Structure):
    _fields_ = [
        ("parts", MambaParts),
        *((name, c_int64) for name in ("batch", "time", "threads")),
        *((name, c_void_p) for name in ("x", "lengths", *_STATES, "y", "conv_last", "last")),
        *((name, c_void_p) for name in ("saved", "checkpoints")),
        *((f"grad_{name}", c_void_p) for name in ("y", "conv_last", "last", "x", *_STATES)),
        *((f"grad_{name}", c_void_p) for name in WEIGHTS),
    ]


def parts_of(weights: Sequence[Tensor | None], epsilon: float) -> tuple[MambaParts, list[Any]]:
    """The kernel's view of the weights, and the tensors that must stay alive while it is used."""
    dense = [None if x is None else x.detach().contiguous() for x in weights]
    named = dict(zip(WEIGHTS, dense, strict=True))
    in_proj, A, dt_proj, conv = (named[k] for k in ("in_proj", "A", "dt_proj", "conv_weight"))
    assert in_proj is not None  # noqa: S101  (the operator requires these)
    assert A is not None  # noqa: S101
    assert dt_proj is not None  # noqa: S101
    assert conv is not None  # noqa: S101
    sizes = (in_proj.shape[1], *A.shape, dt_proj.shape[1], conv.shape[-1])
    return MambaParts(*sizes, epsilon, *map(address, dense)), dense


def _run(
    kernel: str,
    x: Tensor,
    weights: Sequence[Tensor | None],
    epsilon: float,
    tensors: dict[str, Tensor | None],
) -> None:
    parts, alive = parts_of(weights, epsilon)
    call = _Call(parts, *x.shape[:2], torch.get_num_threads())
    dense = {name: None if v is None else v.contiguous() for name, v in tensors.items()}
    dense["x"] = x.contiguous()
    for name, tensor in dense.items():
        setattr(call, name, address(tensor))
    run(kernel, x.dtype, call)
    del alive


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        conv_before: Tensor | None,
        before: Tensor | None,
        lengths: Tensor | None,
        epsilon: float,
        for_gradient: bool,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        named = dict(zip(WEIGHTS, weights, strict=True))
        A, kernel = named["A"], named["conv_weight"]
        assert A is not None  # noqa: S101
        assert kernel is not None  # noqa: S101
        (batch, time, _), (d, n) = x.shape, A.shape
        made = {
            "y": x.new_empty(x.shape),
            "conv_last": x.new_empty(batch, kernel.shape[-1] - 1, d),
            "last": x.new_empty(batch, d, n),
        }
        given: dict[str, Tensor | None] = {"conv_before": conv_before, "before": before}
        given |= {"lengths": lengths, **made}
        if for_gradient:
            width, chunks = padded(d, x.dtype), -(-time // CHUNK_STEPS)
            saved = x.new_empty(batch, time, 2 * width)
            states = x.new_empty(batch, chunks, -(-n // 4) * 4, width)
            given |= {"saved": saved, "checkpoints": states}
            ctx.save_for_backward(x, conv_before, before, lengths, saved, states, *weights)
            ctx.epsilon, ctx.lanes = epsilon, lanes()
        _run("mamba_forward", x, weights, epsilon, given)
        return made["y"], made["conv_last"], made["last"]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, conv_before, before, lengths, saved, checkpoints, *weights = ctx.saved_tensors
        given = {"conv_before": conv_before, "before": before, "lengths": lengths}
        given |= {"saved": saved, "checkpoints": checkpoints}
        given |= dict(zip(("grad_y", "grad_conv_last", "grad_last"), grads, strict=True))
        _, grad_conv, grad_last = grads
        # Not empty_like: that keeps strides, and the kernels write dense numbers.
        made = [x.new_empty(v.shape) for v in (x, grad_conv, grad_last)]
        of_weights = [None if w is None else w.new_empty(w.shape) for w in weights]
        names = ("x", *_STATES, *WEIGHTS)
        made_by_name = zip(names, [*made, *of_weights], strict=True)
        given |= {f"grad_{name}": grad for name, grad in made_by_name}
        with use_lanes(ctx.lanes):  # what was kept stands in vectors of that width
            _run("mamba_backward", x, weights, ctx.epsilon, given)
        states = (
            grad if s is not None else None
            for s, grad in zip((conv_before, before), made[1:], strict=True)
        )
        return made[0], *states, None, None, None, *of_weights


def mamba_layer(
    x: Tensor,
    weights: Sequence[Tensor | None],
    states: tuple[Tensor | None, Tensor | None],
    lengths: Tensor | None,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer over a sequence.

    Parameters
    ----------
    x : torch.Tensor, shape (b, t, m)
        Float32 or float64, like everything else.
    weights : sequence of torch.Tensor or None
        In the order of :data:`WEIGHTS`, shaped as the parameters of :class:`finchaos.ssm.Mamba`,
        the convolution's as (d, w), ``A`` itself and not its logarithm. With a norm the result is
        ``x + mixer(norm(x))``, without one ``mixer(x)``.
    states : (torch.Tensor or None, torch.Tensor or None), shapes (b, w - 1, d) and (b, d, n)
        Inputs of the convolution and state of the scan before the first step; zero by default.
    lengths : torch.Tensor, shape (b,), optional
    epsilon : float
        Of the norm.

    Returns
    -------
    y : torch.Tensor, shape (b, t, m)
    conv_last : torch.Tensor, shape (b, w - 1, d)
    last : torch.Tensor, shape (b, d, n)

    Notes
    -----
    Kept for the gradient, for each step: 2 d numbers, and n d / :data:`CHUNK_STEPS` of a state. The
    gradient can be taken once.
    """
    tensors = [x, *states, *weights]
    wanted = torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in tensors)
    lengths = None if lengths is None else lengths.to(torch.int64)
    apply: Any = _Layer.apply
    found: tuple[Tensor, Tensor, Tensor] = apply(x, *states, lengths, epsilon, wanted, *weights)
    return found
