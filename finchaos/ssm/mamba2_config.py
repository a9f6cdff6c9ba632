"""Sizes and variants of a Mamba-2 layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from finchaos.core.errors import InputError
from finchaos.ssm.backends import AUTO, check_backend
from finchaos.ssm.inputs import check_limit
from finchaos.ssm.layer_inputs import check_sizes
from finchaos.ssm.ssd import NO_LIMIT


@dataclass(frozen=True)
class Mamba2Config:
    """Sizes and variants of a Mamba-2 layer, named as in mamba-ssm.

    Attributes
    ----------
    d_model : int
        Width m of the residual stream.
    d_state : int
        States n of each channel.
    d_conv : int
        Width w of the causal convolution.
    expand : int
        Inner width d in units of ``d_model``.
    headdim : int
        Channels p of a head; divides d.
    ngroups : int
        Groups g of heads with B and C in common; divides the number of heads.
    A_init_range : (float, float)
        Range of the initial decay rates.
    D_has_hdim : bool
        Whether the skip weight D differs by channel, not only by head.
    rmsnorm : bool
        Whether the gated output is normalised; else it is only gated.
    norm_before_gate : bool
        Whether the norm is taken before the gate is applied.
    norm_per_group : bool
        Whether the norm is taken over the d / g channels of each group, as in mamba-ssm and
        transformers 5, or over the whole width as in transformers 4 and mambapy.
    dt_min, dt_max, dt_init_floor : float
        Range of the initial step sizes, log-uniform, and their floor.
    dt_limit : (float, float)
        Range to which step sizes are cut.
    bias, conv_bias : bool
        Whether the projections and the convolution have a bias.
    chunk_size : int
        Kept for exchange with other packages; no number here depends on it.
    backend : str
        See :mod:`finchaos.ssm.backends`.

    Raises
    ------
    InputError
        If a size is not positive, does not divide, or a range is empty.
    UnknownNameError, MissingDependencyError
        If the backend does not exist, or not here.
    """

    d_model: int
    d_state: int = 128
    d_conv: int = 4
    expand: int = 2
    headdim: int = 64
    ngroups: int = 1
    A_init_range: tuple[float, float] = (1.0, 16.0)
    D_has_hdim: bool = False
    rmsnorm: bool = True
    norm_before_gate: bool = False
    norm_per_group: bool = True
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    dt_init_floor: float = 1e-4
    dt_limit: tuple[float, float] = NO_LIMIT
    bias: bool = False
    conv_bias: bool = True
    chunk_size: int = 256
    backend: str = AUTO

    def __post_init__(self) -> None:
        sizes = ("d_model", "d_state", "d_conv", "expand", "headdim", "ngroups", "chunk_size")
        check_sizes("a Mamba-2 layer", {name: getattr(self, name) for name in sizes})
        if self.d_inner % self.headdim or self.nheads % self.ngroups:
            raise InputError(
                "sizes of a Mamba-2 layer do not divide",
                expected="headdim to divide expand * d_model, ngroups the number of heads",
                got=f"{self.d_inner} channels, headdim {self.headdim}, ngroups {self.ngroups}",
            )
        ranges = (self.A_init_range, (self.dt_min, self.dt_max), (self.dt_init_floor, math.inf))
        if not all(0.0 < low <= high for low, high in ranges):
            raise InputError("ranges of a Mamba-2 layer must be positive", got=repr(self))
        check_limit(self.dt_limit)
        check_backend(self.backend)

    @property
    def d_inner(self) -> int:
        """Inner width d."""
        return self.expand * self.d_model

    @property
    def nheads(self) -> int:
        """Number of heads h."""
        return self.d_inner // self.headdim

    @property
    def conv_dim(self) -> int:
        """Channels c of the convolution."""
        return self.d_inner + 2 * self.ngroups * self.d_state

    @property
    def state_sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part of a state, without the batch."""
        heads = (self.nheads, self.headdim, self.d_state)
        return {"conv": (self.d_conv - 1, self.conv_dim), "ssm": heads}
