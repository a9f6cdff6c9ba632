"""The layer of Mamba-1 for the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_double, c_int64

from torch import Tensor

from finchaos.ssm.native.layer import Layer, LayerKernel

MAMBA = LayerKernel(
    "mamba",
    (*((name, c_int64) for name in ("m", "d", "n", "r", "w")), ("epsilon", c_double)),
    (
        "norm", "in_proj", "conv_weight", "conv_bias", "x_proj", "dt_proj", "dt_bias", "A", "skip",
        "out_proj",
    ),
)  # fmt: skip
"""Weights as the parameters of :class:`finchaos.ssm.Mamba`; that of the convolution (d, w), and
``A`` itself instead of its logarithm. Kept for the gradient, for each step: 2 d numbers, and
n d / 32 of states."""


def mamba_layer(weights: Sequence[Tensor | None], epsilon: float) -> Layer:
    """The layer of these weights; ``epsilon`` of its norm."""
    named = dict(zip(MAMBA.weights, weights, strict=True))
    in_proj, conv, dt_proj, A = (named[k] for k in ("in_proj", "conv_weight", "dt_proj", "A"))
    if in_proj is None or conv is None or dt_proj is None or A is None:
        raise TypeError("in_proj, conv_weight, dt_proj and A must be given")
    (d, n), w = A.shape, conv.shape[1]
    numbers = (in_proj.shape[1], d, n, dt_proj.shape[1], w, epsilon)
    return Layer(MAMBA, numbers, (w - 1, d), (d, n))
