"""The layer of Mamba-2 for the kernels."""

from __future__ import annotations

from ctypes import c_double, c_int64
from typing import NamedTuple

from finchaos.ssm.native.layer import Layer, LayerKernel


class Mamba2Numbers(NamedTuple):
    """Sizes and settings of a layer in the kernels' order.

    Attributes
    ----------
    m, h, p, g, n, w : int
        Width of the model, heads, channels of a head, groups, states, width of the convolution.
    gate_groups : int
        Groups of channels that the gate's norm is taken over; 0 for no norm.
    norm_first : bool
        Whether that norm comes before the gate.
    skip_by_channel : bool
        Whether the skip weight has one number a channel, not one a head.
    epsilon : float
        Of both norms.
    low, high : float
        Range of the step sizes.
    """

    m: int
    h: int
    p: int
    g: int
    n: int
    w: int
    gate_groups: int
    norm_first: bool
    skip_by_channel: bool
    epsilon: float
    low: float
    high: float


_REAL = ("epsilon", "low", "high")
MAMBA2 = LayerKernel(
    "mamba2",
    tuple((name, c_double if name in _REAL else c_int64) for name in Mamba2Numbers._fields),
    (
        "norm", "in_proj", "conv_weight", "conv_bias", "dt_bias", "A", "skip", "gate_norm",
        "out_proj",
    ),
)  # fmt: skip
"""Weights as the parameters of :class:`finchaos.ssm.Mamba2`; that of the convolution (c, w), and
``A`` itself instead of its logarithm. Kept for the gradient, for each step: c + 2 d + h numbers
with c = d + 2 g n, and n d / 32 of states."""


def mamba2_layer(numbers: Mamba2Numbers) -> Layer:
    """The layer of these sizes."""
    channels = numbers.h * numbers.p + 2 * numbers.g * numbers.n
    state = (numbers.h, numbers.p, numbers.n)
    return Layer(MAMBA2, tuple(numbers), (numbers.w - 1, channels), state)
