"""Mamba: selective state-space mixer and the residual block around it.

Parameters have the names and shapes of the package mamba-ssm, so that a state dict of either loads
into the other. Tensors are ``b t m``: batch, time, model width; ``d`` is the inner width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from finchaos.ssm import native
from finchaos.ssm.backends import AUTO, check_backend
from finchaos.ssm.by_parts import mamba_by_parts
from finchaos.ssm.compiled import is_compiled, run_compiled
from finchaos.ssm.conv import causal_conv_step
from finchaos.ssm.exportable import exportable
from finchaos.ssm.inputs import parameter_dtype, without_padding
from finchaos.ssm.layer_inputs import check_layer_input, check_layer_state, check_sizes
from finchaos.ssm.scan import selective_step
from finchaos.ssm.tracing import Trace, trace_mamba

DT_MIN, DT_MAX, DT_FLOOR = 1e-3, 1e-1, 1e-4
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class MambaConfig:
    """Sizes of a Mamba layer.

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
    backend : str
        Scan backend, see :func:`finchaos.ssm.scan.available_backends`.

    Raises
    ------
    InputError
        If a size is not positive.
    UnknownNameError
        If the backend is absent.
    """

    d_model: int
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    backend: str = AUTO

    def __post_init__(self) -> None:
        sizes = ("d_model", "d_state", "d_conv", "expand")
        check_sizes("a Mamba layer", {name: getattr(self, name) for name in sizes})
        check_backend(self.backend)

    @property
    def d_inner(self) -> int:
        """Inner width d."""
        return self.expand * self.d_model

    @property
    def dt_rank(self) -> int:
        """Rank r of the map to step sizes."""
        return math.ceil(self.d_model / 16)

    @property
    def state_sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part of a state, without the batch."""
        return {"conv": (self.d_conv - 1, self.d_inner), "ssm": (self.d_inner, self.d_state)}


@exportable
@dataclass(frozen=True, eq=False)
class MambaState:
    """What a layer remembers between calls.

    Attributes
    ----------
    conv : torch.Tensor, shape (b, w - 1, d)
        The last inputs of the convolution, oldest first.
    ssm : torch.Tensor, shape (b, d, n)
    """

    conv: Tensor
    ssm: Tensor


class Mamba(nn.Module):
    """The mixer: gated causal convolution and selective scan.

    Parameters
    ----------
    config : MambaConfig
    generator : torch.Generator, optional
        Source of the initial weights; the process-wide generator otherwise.

    References
    ----------
    Gu and Dao (2023), arXiv:2312.00752, section 3.4 and figure 3; initialisation section 3.6.
    """

    state_type = MambaState

    def __init__(self, config: MambaConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        m, d, n, r = config.d_model, config.d_inner, config.d_state, config.dt_rank
        self.in_proj = nn.Linear(m, 2 * d, bias=False)
        self.conv1d = nn.Conv1d(d, d, config.d_conv, groups=d)
        self.x_proj = nn.Linear(d, r + 2 * n, bias=False)
        self.dt_proj = nn.Linear(r, d)
        self.A_log = nn.Parameter(torch.empty(d, n))
        self.D = nn.Parameter(torch.empty(d))
        self.out_proj = nn.Linear(d, m, bias=False)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights: A = -1..-n (S4D-Real), D = 1, step sizes log-uniform in [1e-3, 0.1]."""
        for layer in (self.in_proj, self.conv1d, self.x_proj, self.out_proj):
            fan_in = layer.weight[0].numel()
            for parameter in layer.parameters():
                bound = fan_in**-0.5
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        bound = self.config.dt_rank**-0.5
        nn.init.uniform_(self.dt_proj.weight, -bound, bound, generator=generator)
        # The bias is the inverse of softplus at the wanted step, dt + log(1 - exp(-dt)).
        uniform = torch.rand(self.config.d_inner, dtype=torch.float64, generator=generator)
        dt = torch.exp(uniform * math.log(DT_MAX / DT_MIN) + math.log(DT_MIN)).clamp(min=DT_FLOOR)
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        rates = torch.arange(1, self.config.d_state + 1, dtype=torch.float64)
        self.A_log.copy_(torch.log(rates).expand_as(self.A_log))
        self.D.fill_(1.0)
        for kept_whole in (self.A_log, self.D):
            kept_whole._no_weight_decay = True  # type: ignore[attr-defined]

    def initial_state(self, batch: int) -> MambaState:
        """The state before anything was seen."""
        check_sizes("a state", {"batch": batch})
        like, exact = self.A_log, parameter_dtype(self.A_log.dtype)
        sizes = self.config.state_sizes
        return MambaState(
            **{name: like.new_zeros(batch, *size, dtype=exact) for name, size in sizes.items()}
        )

    def forward(
        self, x: Tensor, state: MambaState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, MambaState]:
        """Mix a sequence, from ``state`` or from nothing.

        Parameters
        ----------
        x : torch.Tensor, shape (b, t, m)
            t >= 1.
        state : MambaState, optional
        lengths : torch.Tensor of integers, shape (b,), optional
            Steps from there on are padding: their outputs are zero, and the state is that after
            ``lengths`` steps.

        Returns
        -------
        (torch.Tensor, shape (b, t, m), MambaState)

        Raises
        ------
        InputError
            If a tensor has another shape or type, or holds NaN or infinity.
        """
        self._check(x, state)
        if is_compiled(self.config.backend, x, self.A_log):
            return self._compiled(x, state, lengths, norm=None)
        y, state, *_ = mamba_by_parts(self, x, state, lengths)
        return y, state

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Mix one time step; the same numbers as ``forward`` up to rounding.

        Parameters
        ----------
        x : torch.Tensor, shape (b, m)
        state : MambaState
            Left unchanged.

        Raises
        ------
        InputError
            As ``forward``.
        """
        check_layer_input(x, "b m", self.in_proj.weight)
        self._check_state(x, state)
        u, z = self.in_proj(x).chunk(2, dim=-1)
        u, conv = causal_conv_step(u, *self._kernel(u), activation="silu", state=state.conv)
        y, ssm = selective_step(**self._scan_inputs(u, z), state=state.ssm)
        return self.out_proj(y), MambaState(conv, ssm)

    def _check(self, x: Tensor, state: MambaState | None) -> None:
        check_layer_input(x, "b t m", self.in_proj.weight)
        if state is not None:
            self._check_state(x, state)

    def _check_state(self, x: Tensor, state: MambaState) -> None:
        check_layer_state(state, MambaState, self.config.state_sizes, x, self.A_log)

    def _compiled(
        self, x: Tensor, state: MambaState | None, lengths: Tensor | None, norm: Tensor | None
    ) -> tuple[Tensor, MambaState]:
        """``x + mixer(norm(x))`` for the weight of a norm, ``mixer(x)`` without."""
        before = None if state is None else (state.conv, state.ssm)
        y, conv, ssm = run_compiled(*self._for_kernel(norm), x, before, lengths)
        return y, MambaState(conv, ssm)

    def _for_kernel(self, norm: Tensor | None) -> tuple[native.Layer, list[Tensor | None]]:
        """The layer as the kernels know it, and its weights."""
        weights = [
            norm,
            self.in_proj.weight,
            self.conv1d.weight.squeeze(1),
            self.conv1d.bias,
            self.x_proj.weight,
            self.dt_proj.weight,
            self.dt_proj.bias,
            -torch.exp(self.A_log),
            self.D,
            self.out_proj.weight,
        ]
        return native.mamba_layer(weights, NORM_EPSILON), weights

    def _kernel(self, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight (d w) and bias (d) of the convolution."""
        exact = parameter_dtype(like.dtype)
        bias = self.conv1d.bias
        return self.conv1d.weight.squeeze(1).to(exact), None if bias is None else bias.to(exact)

    def _scan_inputs(self, u: Tensor, z: Tensor) -> dict[str, Any]:
        """Arguments of the scan by name: the input chooses its step sizes, B and C."""
        config, exact = self.config, parameter_dtype(u.dtype)
        sizes = [config.dt_rank, config.d_state, config.d_state]
        low_rank, B, C = self.x_proj(u).split(sizes, dim=-1)
        return {
            "u": u,
            "delta": linear(low_rank, self.dt_proj.weight),
            "A": -torch.exp(self.A_log.to(exact)),
            "B": B,
            "C": C,
            "D": self.D.to(exact),
            "z": z,
            "delta_bias": self.dt_proj.bias.to(exact),
            "delta_softplus": True,
        }

    def trace(
        self,
        x: Tensor,
        *,
        keep: Sequence[int] | Tensor | None = None,
        state: MambaState | None = None,
        lengths: Tensor | None = None,
    ) -> Trace[MambaState]:
        """As :meth:`MambaBlock.trace`, without norm and residual."""
        return trace_mamba(self, x, keep, state, lengths)


class RMSNorm(nn.Module):
    """Division by the root mean square over the width, and a learnt scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised values, shape (..., m)."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPSILON) * self.weight


class MambaBlock(nn.Module):
    """Pre-norm residual block: ``x + mixer(norm(x))``.

    Parameters
    ----------
    config : MambaConfig
    generator : torch.Generator, optional

    Examples
    --------
    >>> block = MambaBlock(MambaConfig(d_model=4), torch.Generator().manual_seed(7)).double()
    >>> x = torch.ones(1, 3, 4, dtype=torch.float64)
    >>> whole, _ = block(x)
    >>> first, state = block(x[:, :2])
    >>> second, _ = block.step(x[:, 2], state)
    >>> bool(torch.allclose(whole[:, 2], second, atol=1e-12))
    True
    """

    def __init__(self, config: MambaConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.norm = RMSNorm(config.d_model)
        self.mixer = Mamba(config, generator)

    def initial_state(self, batch: int) -> MambaState:
        """The state before anything was seen."""
        return self.mixer.initial_state(batch)

    def forward(
        self, x: Tensor, state: MambaState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, MambaState]:
        """Transform a sequence, shape (b, t, m); parameters as those of the mixer."""
        self.mixer._check(x, state)
        if is_compiled(self.mixer.config.backend, x, self.mixer.A_log):
            return self.mixer._compiled(x, state, lengths, self.norm.weight)
        mixed, state = self.mixer(self.norm(x), state, lengths)
        return without_padding(x + mixed, lengths), state

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Transform one time step, shape (b, m)."""
        check_layer_input(x, "b m", self.mixer.in_proj.weight)
        mixed, state = self.mixer.step(self.norm(x), state)
        return x + mixed, state

    def trace(
        self,
        x: Tensor,
        *,
        keep: Sequence[int] | Tensor | None = None,
        state: MambaState | None = None,
        lengths: Tensor | None = None,
    ) -> Trace[MambaState]:
        """What ``forward`` gives, with hidden states on the way and step sizes, in one pass.

        Parameters
        ----------
        x : torch.Tensor, shape (b, t, m)
        keep : sequence of int, optional
            Increasing indices of the steps whose hidden states (b, d, n) are kept; all by default,
            which takes b t d n numbers.
        state, lengths
            As in ``forward``.

        Raises
        ------
        InputError
            As ``forward``, and if ``keep`` does not increase within the sequence.

        Examples
        --------
        >>> block = MambaBlock(MambaConfig(d_model=4, d_state=3))
        >>> trace = block.trace(torch.ones(1, 5, 4), keep=[1, 4])
        >>> tuple(trace.states.shape), tuple(trace.dt.shape)
        ((1, 2, 8, 3), (1, 5, 8))
        """
        self.mixer._check(x, state)
        mixed = self.mixer.trace(self.norm(x), keep=keep, state=state, lengths=lengths)
        return mixed.within_block(x)
