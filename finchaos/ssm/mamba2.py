"""Mamba-2: mixer with one decay a head, and the residual block around it.

Parameters have the names and shapes of the package mamba-ssm, so that a state dict of either loads
into the other. Tensors are ``b t m``: batch, time, model width. The inner width d is h heads of p
channels; B and C come in g groups of n states; the convolution runs over c = d + 2 g n channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from finchaos.core.errors import InputError
from finchaos.ssm.backends import AUTO, check_backend
from finchaos.ssm.conv import causal_conv, causal_conv_step
from finchaos.ssm.gated_norm import GatedRMSNorm
from finchaos.ssm.inputs import check_layer_input, parameter_dtype
from finchaos.ssm.mamba import RMSNorm
from finchaos.ssm.ssd import NO_LIMIT, ssd_scan, ssd_step
from finchaos.ssm.tracing import Trace, trace_mamba2


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
        sizes = (self.d_model, self.d_state, self.d_conv, self.expand, self.headdim, self.ngroups)
        if min(*sizes, self.chunk_size) < 1:
            raise InputError("sizes of a Mamba-2 layer must be positive", got=repr(self))
        if self.d_inner % self.headdim or self.nheads % self.ngroups:
            raise InputError(
                "sizes of a Mamba-2 layer do not divide",
                expected="headdim to divide expand * d_model, ngroups the number of heads",
                got=f"{self.d_inner} channels, headdim {self.headdim}, ngroups {self.ngroups}",
            )
        ranges = (self.A_init_range, (self.dt_min, self.dt_max), (self.dt_init_floor, math.inf))
        if not all(0.0 < low <= high for low, high in ranges):
            raise InputError("ranges of a Mamba-2 layer must be positive", got=repr(self))
        if not 0.0 <= self.dt_limit[0] <= self.dt_limit[1]:
            raise InputError("dt_limit must be a range of step sizes", got=str(self.dt_limit))
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


@dataclass(frozen=True, eq=False)
class Mamba2State:
    """What a layer remembers between calls.

    Attributes
    ----------
    conv : torch.Tensor, shape (b, w - 1, c)
        The last inputs of the convolution, oldest first.
    ssm : torch.Tensor, shape (b, h, p, n)
    """

    conv: Tensor
    ssm: Tensor


class Mamba2(nn.Module):
    """The mixer: causal convolution, scan with scalar decay, gated norm.

    Parameters
    ----------
    config : Mamba2Config
    generator : torch.Generator, optional
        Source of the initial weights; the process-wide generator otherwise.

    Notes
    -----
    The recurrence and its states stay in float32 where weights or activations have less, under
    ``torch.autocast`` too. ``A_log``, ``D`` and ``dt_bias`` carry ``_no_weight_decay``.

    References
    ----------
    Dao and Gu (2024), arXiv:2405.21060, section 7 and figure 6.
    """

    def __init__(self, config: Mamba2Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        m, d, c, h = config.d_model, config.d_inner, config.conv_dim, config.nheads
        self.in_proj = nn.Linear(m, d + c + h, bias=config.bias)
        self.conv1d = nn.Conv1d(c, c, config.d_conv, groups=c, bias=config.conv_bias)
        self.dt_bias = nn.Parameter(torch.empty(h))
        self.A_log = nn.Parameter(torch.empty(h))
        self.D = nn.Parameter(torch.empty(d if config.D_has_hdim else h))
        for parameter in (self.dt_bias, self.A_log, self.D):
            cast(Any, parameter)._no_weight_decay = True
        groups = config.ngroups if config.norm_per_group else 1
        self.norm = GatedRMSNorm(d, groups, config.norm_before_gate) if config.rmsnorm else None
        self.out_proj = nn.Linear(d, m, bias=config.bias)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights: A uniform in its range, D = 1, step sizes log-uniform in theirs."""
        config = self.config
        for layer in (self.in_proj, self.conv1d, self.out_proj):
            bound = layer.weight[0].numel() ** -0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        uniform = torch.rand(2, config.nheads, dtype=torch.float64, generator=generator)
        low, high = config.A_init_range
        self.A_log.copy_(torch.log(low + (high - low) * uniform[0]))
        span = math.log(config.dt_max / config.dt_min)
        dt = (config.dt_min * torch.exp(span * uniform[1])).clamp(min=config.dt_init_floor)
        # The inverse of softplus at the wanted step: dt + log(1 - exp(-dt)).
        self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        self.D.fill_(1.0)
        if self.norm is not None:
            self.norm.weight.fill_(1.0)

    def initial_state(self, batch: int) -> Mamba2State:
        """The state before anything was seen."""
        config, like = self.config, self.A_log
        exact = parameter_dtype(like.dtype)
        heads = (config.nheads, config.headdim, config.d_state)
        return Mamba2State(
            like.new_zeros(batch, config.d_conv - 1, config.conv_dim, dtype=exact),
            like.new_zeros(batch, *heads, dtype=exact),
        )

    def forward(
        self, x: Tensor, state: Mamba2State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Mamba2State]:
        """Mix a sequence, from ``state`` or from nothing.

        Parameters
        ----------
        x : torch.Tensor, shape (b, t, m)
            t >= 1.
        state : Mamba2State, optional
        lengths : torch.Tensor, shape (b,), optional
            Integers; steps from there on are padding. Their outputs are zero, and the state is
            that after ``lengths`` steps.

        Returns
        -------
        (torch.Tensor, shape (b, t, m), Mamba2State)

        Raises
        ------
        InputError
            If a tensor has another shape or type, or holds NaN or infinity.
        """
        check_layer_input(x, "b t m", self.in_proj.weight)
        state = self.initial_state(len(x)) if state is None else state
        z, mixed, dt = self._project(x)
        mixed, conv = causal_conv(
            mixed,
            *self._kernel(mixed),
            activation="silu",
            initial_state=state.conv,
            lengths=lengths,
            backend=self.config.backend,
        )
        out = ssd_scan(
            **self._scan_inputs(mixed, dt, z),
            initial_state=state.ssm,
            lengths=lengths,
            backend=self.config.backend,
        )
        y = self._finish(out.y, z)
        if lengths is not None and self.config.bias:
            padding = torch.arange(x.shape[1], device=x.device) >= lengths.unsqueeze(-1)
            y = y.masked_fill(padding.unsqueeze(-1), 0.0)
        return y, Mamba2State(conv, out.last_state)

    def step(self, x: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        """Mix one time step; the same numbers as ``forward`` up to rounding.

        Parameters
        ----------
        x : torch.Tensor, shape (b, m)
        state : Mamba2State
            Left unchanged.

        Raises
        ------
        InputError
            As ``forward``.
        """
        check_layer_input(x, "b m", self.in_proj.weight)
        z, mixed, dt = self._project(x)
        mixed, conv = causal_conv_step(
            mixed, *self._kernel(mixed), activation="silu", state=state.conv
        )
        y, ssm = ssd_step(**self._scan_inputs(mixed, dt, z), state=state.ssm)
        return self._finish(y, z), Mamba2State(conv, ssm)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gate (.. d), input of the convolution (.. c), step size before its bias (.. h)."""
        config = self.config
        sizes = [config.d_inner, config.conv_dim, config.nheads]
        z, mixed, dt = self.in_proj(x).split(sizes, dim=-1)
        return z, mixed, dt

    def _kernel(self, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight (c w) and bias (c) of the convolution."""
        exact, bias = parameter_dtype(like.dtype), self.conv1d.bias
        return self.conv1d.weight.squeeze(1).to(exact), None if bias is None else bias.to(exact)

    def _scan_inputs(self, mixed: Tensor, dt: Tensor, z: Tensor) -> dict[str, Any]:
        """Arguments of the scan by name; the gate is the norm's where there is one."""
        config, exact = self.config, parameter_dtype(mixed.dtype)
        maps = config.ngroups * config.d_state
        x, B, C = torch.split(mixed, [config.d_inner, maps, maps], dim=-1)
        D = self.D.to(exact)
        return {
            "x": _parted(x, config.nheads),
            "dt": dt,
            "A": -torch.exp(self.A_log.to(exact)),
            "B": _parted(B, config.ngroups),
            "C": _parted(C, config.ngroups),
            "D": _parted(D, config.nheads) if config.D_has_hdim else D,
            "z": None if config.rmsnorm else _parted(z, config.nheads),
            "dt_bias": self.dt_bias.to(exact),
            "dt_softplus": True,
            "dt_limit": config.dt_limit,
        }

    def _finish(self, y: Tensor, z: Tensor) -> Tensor:
        y = y.flatten(-2)
        projected: Tensor = self.out_proj(y if self.norm is None else self.norm(y, z))
        return projected

    def trace(
        self,
        x: Tensor,
        *,
        keep: Sequence[int] | Tensor | None = None,
        state: Mamba2State | None = None,
        lengths: Tensor | None = None,
    ) -> Trace[Mamba2State]:
        """As :meth:`Mamba2Block.trace`, without norm and residual."""
        return trace_mamba2(self, x, keep, state, lengths)


def _parted(channels: Tensor, parts: int) -> Tensor:
    """The last axis as ``parts`` neighbouring parts, an axis before it."""
    return channels.view(*channels.shape[:-1], parts, -1)


class Mamba2Block(nn.Module):
    """Pre-norm residual block: ``x + mixer(norm(x))``.

    Parameters
    ----------
    config : Mamba2Config
    generator : torch.Generator, optional

    Examples
    --------
    >>> config = Mamba2Config(d_model=4, d_state=3, headdim=4, backend="torch")
    >>> block = Mamba2Block(config, torch.Generator().manual_seed(7)).double()
    >>> x = torch.ones(1, 3, 4, dtype=torch.float64)
    >>> whole, _ = block(x)
    >>> first, state = block(x[:, :2])
    >>> second, _ = block.step(x[:, 2], state)
    >>> bool(torch.allclose(whole[:, 2], second, atol=1e-12))
    True
    """

    def __init__(self, config: Mamba2Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.norm = RMSNorm(config.d_model)
        self.mixer = Mamba2(config, generator)

    def initial_state(self, batch: int) -> Mamba2State:
        """The state before anything was seen."""
        return self.mixer.initial_state(batch)

    def forward(
        self, x: Tensor, state: Mamba2State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Mamba2State]:
        """Transform a sequence, shape (b, t, m); as :meth:`Mamba2.forward`."""
        mixed, state = self.mixer(self.norm(x), state, lengths)
        return x + mixed, state

    def step(self, x: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        """Transform one time step, shape (b, m)."""
        mixed, state = self.mixer.step(self.norm(x), state)
        return x + mixed, state

    def trace(
        self,
        x: Tensor,
        *,
        keep: Sequence[int] | Tensor | None = None,
        state: Mamba2State | None = None,
        lengths: Tensor | None = None,
    ) -> Trace[Mamba2State]:
        """What ``forward`` gives, with hidden states (b h p n) after the steps of ``keep``.

        Arguments as in :meth:`finchaos.ssm.mamba.MambaBlock.trace`; step sizes are (b t h).
        """
        check_layer_input(x, "b t m", self.mixer.in_proj.weight)
        mixed = self.mixer.trace(self.norm(x), keep=keep, state=state, lengths=lengths)
        return mixed.within_block(x)
