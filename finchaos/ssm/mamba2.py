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

from finchaos.ssm import native
from finchaos.ssm.by_parts import mamba2_by_parts
from finchaos.ssm.compiled import is_compiled, run_compiled
from finchaos.ssm.conv import causal_conv_step
from finchaos.ssm.exportable import exportable
from finchaos.ssm.gated_norm import GatedRMSNorm
from finchaos.ssm.inputs import parameter_dtype, without_padding
from finchaos.ssm.layer_inputs import check_layer_input, check_layer_state, check_sizes
from finchaos.ssm.mamba import NORM_EPSILON, RMSNorm
from finchaos.ssm.mamba2_config import Mamba2Config
from finchaos.ssm.ssd import ssd_step
from finchaos.ssm.tracing import Trace, trace_mamba2


@exportable
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

    state_type = Mamba2State

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
        check_sizes("a state", {"batch": batch})
        like, exact = self.A_log, parameter_dtype(self.A_log.dtype)
        sizes = self.config.state_sizes
        return Mamba2State(
            **{name: like.new_zeros(batch, *size, dtype=exact) for name, size in sizes.items()}
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
        self._check(x, state)
        if self._is_compiled(x):
            return self._compiled(x, state, lengths, norm=None)
        y, state, *_ = mamba2_by_parts(self, x, state, lengths)
        return y, state

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
        self._check_state(x, state)
        z, mixed, dt = self._project(x)
        mixed, conv = causal_conv_step(
            mixed, *self._kernel(mixed), activation="silu", state=state.conv
        )
        y, ssm = ssd_step(**self._scan_inputs(mixed, dt, z), state=state.ssm)
        return self._finish(y, z), Mamba2State(conv, ssm)

    def _check(self, x: Tensor, state: Mamba2State | None) -> None:
        check_layer_input(x, "b t m", self.in_proj.weight)
        if state is not None:
            self._check_state(x, state)

    def _check_state(self, x: Tensor, state: Mamba2State) -> None:
        check_layer_state(state, Mamba2State, self.config.state_sizes, x, self.A_log)

    def _is_compiled(self, x: Tensor) -> bool:
        """Whether one kernel does the layer; projections with a bias go by parts."""
        return not self.config.bias and is_compiled(self.config.backend, x, self.A_log)

    def _compiled(
        self, x: Tensor, state: Mamba2State | None, lengths: Tensor | None, norm: Tensor | None
    ) -> tuple[Tensor, Mamba2State]:
        """``x + mixer(norm(x))`` for the weight of a norm, ``mixer(x)`` without."""
        before = None if state is None else (state.conv, state.ssm)
        y, conv, ssm = run_compiled(*self._for_kernel(norm), x, before, lengths)
        return y, Mamba2State(conv, ssm)

    def _for_kernel(self, norm: Tensor | None) -> tuple[native.Layer, list[Tensor | None]]:
        """The layer as the kernels know it, and its weights."""
        config, gate = self.config, self.norm
        sizes = (config.d_model, config.nheads, config.headdim, config.ngroups, config.d_state)
        numbers = native.Mamba2Numbers(
            *sizes,
            config.d_conv,
            gate_groups=0 if gate is None else gate.groups,
            norm_first=config.norm_before_gate,
            skip_by_channel=config.D_has_hdim,
            epsilon=NORM_EPSILON,
            low=config.dt_limit[0],
            high=config.dt_limit[1],
        )
        weights = [
            norm,
            self.in_proj.weight,
            self.conv1d.weight.squeeze(1),
            self.conv1d.bias,
            self.dt_bias,
            -torch.exp(self.A_log),
            self.D,
            None if gate is None else gate.weight,
            self.out_proj.weight,
        ]
        return native.mamba2_layer(numbers), weights

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
        self.mixer._check(x, state)
        if self.mixer._is_compiled(x):
            return self.mixer._compiled(x, state, lengths, self.norm.weight)
        mixed, state = self.mixer(self.norm(x), state, lengths)
        return without_padding(x + mixed, lengths), state

    def step(self, x: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        """Transform one time step, shape (b, m)."""
        check_layer_input(x, "b m", self.mixer.in_proj.weight)
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
        self.mixer._check(x, state)
        mixed = self.mixer.trace(self.norm(x), keep=keep, state=state, lengths=lengths)
        return mixed.within_block(x)
