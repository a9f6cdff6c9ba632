"""The norm of Mamba-2 behind its gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from finchaos.ssm.inputs import parameter_dtype
from finchaos.ssm.mamba import NORM_EPSILON


class GatedRMSNorm(nn.Module):
    """Gate and division by the root mean square of each group, with a learnt scale.

    Parameters
    ----------
    width : int
        Channels d.
    groups : int
        Groups of neighbouring channels that are normalised each by itself.
    norm_before_gate : bool
        ``norm(y) silu(z)`` instead of ``norm(y silu(z))``.
    """

    def __init__(self, width: int, groups: int = 1, norm_before_gate: bool = False) -> None:
        super().__init__()
        self.groups, self.norm_before_gate = groups, norm_before_gate
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        """Values y under gates z, shape (..., d), computed in float32 or float64."""
        exact = parameter_dtype(y.dtype)
        gate, normed = silu(z.to(exact)), y.to(exact)
        if not self.norm_before_gate:
            normed = normed * gate
        grouped = normed.reshape(*normed.shape[:-1], self.groups, -1)
        power = grouped.square().mean(-1, keepdim=True)
        normed = (grouped * torch.rsqrt(power + NORM_EPSILON)).flatten(-2) * self.weight.to(exact)
        return (normed * gate if self.norm_before_gate else normed).to(y.dtype)
