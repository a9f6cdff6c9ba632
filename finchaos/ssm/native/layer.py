"""A whole layer as one function: norm, projections, convolution, scan, gate, residual.

Between the parts of a layer everything stays in the processor's cache, a chunk of steps at a time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from finchaos.ssm.native.library import address, lanes, run, use_lanes
from finchaos.ssm.native.walk import chunks
from finchaos.ssm.once import differentiable_once

_STATES = ("conv_before", "before")
_COMMON = [
    *((name, c_int64) for name in ("batch", "time", "threads")),
    *((name, c_void_p) for name in ("x", "lengths", *_STATES, "y", "conv_last", "last")),
    *((name, c_void_p) for name in ("saved", "checkpoints")),
    *((f"grad_{name}", c_void_p) for name in ("y", "conv_last", "last", "x", *_STATES)),
    *((name, c_int64) for name in ("kept", "state")),
]


@dataclass(frozen=True)
class LayerKernel:
    """A kind of layer that the kernels know.

    Attributes
    ----------
    name : str
        Of the kernels.
    numbers : tuple of (str, type)
        Sizes and settings in the kernels' order.
    weights : tuple of str
        Weights in the kernels' order. Any but ``norm``, the convolution's bias and a gate's norm
        must be given; without ``norm`` there is no residual either.
    """

    name: str
    numbers: tuple[tuple[str, Any], ...]
    weights: tuple[str, ...]

    @cached_property
    def parts(self) -> type[ctypes.Structure]:
        """The structure of settings and weights."""
        fields = [*self.numbers, *((name, c_void_p) for name in self.weights)]
        return type(f"{self.name}_parts", (ctypes.Structure,), {"_fields_": fields})

    @cached_property
    def call(self) -> type[ctypes.Structure]:
        """The structure of a call."""
        gradients = [(f"grad_{name}", c_void_p) for name in self.weights]
        fields = [("parts", self.parts), *_COMMON, *gradients]
        return type(f"{self.name}_call", (ctypes.Structure,), {"_fields_": fields})

    def parts_of(
        self, numbers: Sequence[float], weights: Sequence[Tensor | None]
    ) -> tuple[ctypes.Structure, list[Any]]:
        """The kernels' view of the weights, and the tensors that must outlive it."""
        dense = [None if x is None else x.detach().contiguous() for x in weights]
        return self.parts(*numbers, *map(address, dense)), dense


@dataclass(frozen=True)
class Layer:
    """A layer to run: its kind, its settings, the shapes of the states that it leaves.

    Attributes
    ----------
    kernel : LayerKernel
    numbers : tuple of int or float
    conv, state : tuple of int
        Of one sequence: (w - 1, c), and the scan's.
    """

    kernel: LayerKernel
    numbers: tuple[float, ...]
    conv: tuple[int, ...]
    state: tuple[int, ...]

    def run(
        self,
        what: str,
        x: Tensor,
        weights: Sequence[Tensor | None],
        tensors: dict[str, Tensor | None],
    ) -> Any:
        """Run one of the layer's kernels; the call's structure afterwards."""
        parts, alive = self.kernel.parts_of(self.numbers, weights)
        call: Any = self.kernel.call(parts, *x.shape[:2], torch.get_num_threads())
        dense = {name: None if v is None else v.contiguous() for name, v in tensors.items()}
        dense["x"] = x.contiguous()
        for name, tensor in dense.items():
            setattr(call, name, address(tensor))
        run(f"{self.kernel.name}_{what}", x.dtype, call)
        del alive
        return call


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        x: Tensor,
        conv_before: Tensor | None,
        before: Tensor | None,
        lengths: Tensor | None,
        for_gradient: bool,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, time, _ = x.shape
        made = {
            "y": x.new_empty(x.shape),
            "conv_last": x.new_empty(batch, *layer.conv),
            "last": x.new_empty(batch, *layer.state),
        }
        given: dict[str, Tensor | None] = {"conv_before": conv_before, "before": before}
        given |= {"lengths": lengths, **made}
        if for_gradient:
            sizes = layer.run("sizes", x, weights, {})
            saved = x.new_empty(batch, time, sizes.kept)
            states = x.new_empty(batch, chunks(time), sizes.state)
            given |= {"saved": saved, "checkpoints": states}
            ctx.save_for_backward(x, conv_before, before, lengths, saved, states, *weights)
            ctx.layer, ctx.lanes = layer, lanes()
        layer.run("forward", x, weights, given)
        return made["y"], made["conv_last"], made["last"]

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, conv_before, before, lengths, saved, checkpoints, *weights = ctx.saved_tensors
        given = {"conv_before": conv_before, "before": before, "lengths": lengths}
        given |= {"saved": saved, "checkpoints": checkpoints}
        given |= dict(zip(("grad_y", "grad_conv_last", "grad_last"), grads, strict=True))
        # Not empty_like: that keeps strides, and the kernels write dense numbers.
        made = [x.new_empty(v.shape) for v in (x, *grads[1:])]
        of_weights = [None if w is None else x.new_empty(w.shape) for w in weights]
        names = ("x", *_STATES, *ctx.layer.kernel.weights)
        made_by_name = zip(names, [*made, *of_weights], strict=True)
        given |= {f"grad_{name}": grad for name, grad in made_by_name}
        with use_lanes(ctx.lanes):  # what was kept stands in vectors of that width
            ctx.layer.run("backward", x, weights, given)
        of_states = (
            grad if state is not None else None
            for state, grad in zip((conv_before, before), made[1:], strict=True)
        )
        return None, made[0], *of_states, None, None, *of_weights


def run_layer(
    layer: Layer,
    x: Tensor,
    weights: Sequence[Tensor | None],
    states: tuple[Tensor | None, Tensor | None],
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer over a sequence.

    Parameters
    ----------
    layer : Layer
    x : torch.Tensor, shape (b, t, m)
        Float32 or float64, like everything else.
    weights : sequence of torch.Tensor or None
        As the kind of layer orders them.
    states : (torch.Tensor or None, torch.Tensor or None)
        Inputs of the convolution (b, w - 1, c) and state of the scan before the first step; zero
        by default.
    lengths : torch.Tensor, shape (b,), optional

    Returns
    -------
    y : torch.Tensor, shape (b, t, m)
    conv_last : torch.Tensor, shape (b, w - 1, c)
    last : torch.Tensor
        State of the scan.

    Notes
    -----
    The gradient can be taken once.
    """
    tensors = [x, *states, *weights]
    wanted = torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in tensors)
    lengths = None if lengths is None else lengths.to(torch.int64)
    apply: Any = _Function.apply
    found: tuple[Tensor, Tensor, Tensor] = apply(layer, x, *states, lengths, wanted, *weights)
    return found
