"""S4D: a bank of diagonal state-space filters, one for each channel, and a gated mix of channels.

Parameters have the names and shapes of upstream's minimal module, so that a state dict of either
loads into the other. Tensors are ``b t h``: batch, time, channel; upstream's are ``b h t``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, glu, linear

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm.backends import AUTO
from finchaos.ssm.exportable import exportable
from finchaos.ssm.inputs import ScanOutput, check_finite, parameter_dtype
from finchaos.ssm.layer_inputs import check_input_of_width, check_layer_state, check_sizes
from finchaos.ssm.s4d_forms import table_key
from finchaos.ssm.s4d_kernel import (
    DISCRETISATIONS,
    Modes,
    check_discretisation,
    modes_of,
    s4d_kernel,
)
from finchaos.ssm.s4d_scan import (
    DEFAULT_FORM,
    check_backend_name,
    check_form,
    choose_s4d_backend,
    prepare,
    rounded,
    s4d_scan,
    s4d_step,
    scan_prepared,
    step_prepared,
)

__all__ = [
    "DISCRETISATIONS",
    "INITIALISATIONS",
    "S4D",
    "S4DConfig",
    "S4DState",
    "choose_s4d_backend",
    "s4d_kernel",
    "s4d_scan",
    "s4d_step",
]

INITIALISATIONS = ("lin", "inv", "real")
T = TypeVar("T")


@dataclass(frozen=True)
class S4DConfig:
    """Sizes and variants of an S4D layer.

    Attributes
    ----------
    d_model : int
        Channels h.
    d_state : int
        States N of each channel, even: n = N / 2 complex modes, their conjugates being implied.
    dt_min, dt_max : float
        Range of the initial step sizes, log-uniform.
    discretisation : str
        ``zoh`` or ``bilinear``.
    init : str
        Initial rates A of mode k = 0 .. N / 2 - 1: ``lin``, -1/2 + i pi k; ``inv``,
        -1/2 + i N / pi (N / (2 k + 1) - 1); ``real``, -(k + 1).
    form : str
        ``chunked`` or ``fft``, see :mod:`finchaos.ssm.s4d_scan`.
    backend : str
        See :mod:`finchaos.ssm.s4d_scan`.

    Raises
    ------
    InputError
        If a size is not positive, ``d_state`` is odd, or the range of step sizes is empty.
    UnknownNameError
        If there is no such discretisation, initialisation, form or backend.
    """

    d_model: int
    d_state: int = 64
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    discretisation: str = "zoh"
    init: str = "lin"
    form: str = DEFAULT_FORM
    backend: str = AUTO

    def __post_init__(self) -> None:
        check_sizes("an S4D layer", {"d_model": self.d_model, "d_state": self.d_state})
        if self.d_state % 2:
            raise InputError("d_state of an S4D layer must be even", got=str(self.d_state))
        if not 0.0 < self.dt_min <= self.dt_max < math.inf:
            raise InputError(
                "dt_min and dt_max must be a range of step sizes",
                expected="0 < dt_min <= dt_max",
                got=f"{self.dt_min} and {self.dt_max}",
            )
        check_discretisation(self.discretisation)
        check_form(self.form)
        check_backend_name(self.backend)
        if self.init not in INITIALISATIONS:
            raise UnknownNameError(
                f"no initialisation of S4D named {self.init!r}",
                expected=f"one of {', '.join(INITIALISATIONS)}",
            )

    @property
    def modes(self) -> int:
        """Complex modes n of each channel."""
        return self.d_state // 2


@exportable
@dataclass(frozen=True, eq=False)
class S4DState:
    """What a layer remembers between calls.

    Attributes
    ----------
    ssm : torch.Tensor, complex of shape (b, h, n)
    """

    ssm: Tensor


class S4DKernel(nn.Module):
    """The parameters of the filters: step sizes, rates and readouts.

    Attributes
    ----------
    log_dt : torch.nn.Parameter, shape (h,)
    log_A_real, A_imag : torch.nn.Parameter, shape (h, n)
        The rates are ``-exp(log_A_real) + i A_imag``: their real part cannot become positive.
    C : torch.nn.Parameter, shape (h, n, 2)
        Real and imaginary part of the readout.
    """

    def __init__(self, config: S4DConfig) -> None:
        super().__init__()
        h, n = config.d_model, config.modes
        self.C = nn.Parameter(torch.empty(h, n, 2))
        self.log_dt = nn.Parameter(torch.empty(h))
        self.log_A_real = nn.Parameter(torch.empty(h, n))
        self.A_imag = nn.Parameter(torch.empty(h, n))
        for parameter in (self.log_dt, self.log_A_real, self.A_imag):
            cast(Any, parameter)._no_weight_decay = True

    def modes(self, discretisation: str, skip: Tensor | None = None) -> Modes:
        """The filters as recurrences, in float64; ``skip`` (h) weighs the input in the output."""
        check_finite({**dict(self.named_parameters()), "D": skip})
        rates = torch.complex(-torch.exp(self.log_A_real.double()), self.A_imag.double())
        readout = torch.complex(self.C[..., 0].double(), self.C[..., 1].double())
        return modes_of(torch.exp(self.log_dt.double()), rates, readout, skip, discretisation)


class S4D(nn.Module):
    """Filters for each channel, GELU, and a gated linear map that mixes channels.

    Parameters
    ----------
    config : S4DConfig
    generator : torch.Generator, optional
        Source of the initial weights; the process-wide generator otherwise.

    Notes
    -----
    Filters and states stay in float32 where weights or activations have less, under
    ``torch.autocast`` too, and the filters are computed in float64 first. In evaluation mode, and
    where no gradient to them is wanted, they are computed once for as long as the weights stay the
    same, to which they are compared at every call. ``log_dt``, ``log_A_real`` and ``A_imag`` carry
    ``_no_weight_decay``.

    References
    ----------
    Gu, Gupta, Goel and Ré (2022), arXiv:2206.11893, sections 3 and 4.

    Examples
    --------
    >>> layer = S4D(S4DConfig(d_model=4, d_state=8), torch.Generator().manual_seed(7)).double()
    >>> x = torch.ones(1, 3, 4, dtype=torch.float64)
    >>> whole, _ = layer(x)
    >>> first, state = layer(x[:, :2])
    >>> second, _ = layer.step(x[:, 2], state)
    >>> bool(torch.allclose(whole[:, 2], second, atol=1e-12))
    True
    """

    def __init__(self, config: S4DConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        h = config.d_model
        self.D = nn.Parameter(torch.empty(h))
        self.kernel = S4DKernel(config)
        self.output_linear = nn.Sequential(nn.Conv1d(h, 2 * h, 1), nn.GLU(dim=-2))
        self._computed: dict[str, _Computed] = {}
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights: C complex normal, D normal, step sizes log-uniform, rates as named."""
        config, kernel = self.config, self.kernel
        for parameter in self.output_linear.parameters():
            bound = config.d_model**-0.5
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        uniform = torch.rand(config.d_model, dtype=torch.float64, generator=generator)
        span = math.log(config.dt_max / config.dt_min)
        kernel.log_dt.copy_(math.log(config.dt_min) + span * uniform)
        # Of unit variance as a complex number.
        nn.init.normal_(kernel.C, std=0.5**0.5, generator=generator)
        nn.init.normal_(self.D, generator=generator)
        real, imag = _initial_rates(config)
        kernel.log_A_real.copy_(torch.log(-real))
        kernel.A_imag.copy_(imag)

    def initial_state(self, batch: int) -> S4DState:
        """The state before anything was seen."""
        check_sizes("a state", {"batch": batch})
        exact = parameter_dtype(self.D.dtype)
        shape = batch, self.config.d_model, self.config.modes
        return S4DState(self.D.new_zeros(shape, dtype=exact.to_complex()))

    def forward(
        self, x: Tensor, state: S4DState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, S4DState]:
        """Filter and mix a sequence, from ``state`` or from nothing.

        Parameters
        ----------
        x : torch.Tensor, shape (b, t, h)
            t >= 1.
        state : S4DState, optional
        lengths : torch.Tensor, shape (b,), optional
            Integers; steps from there on are padding. Their outputs are zero, and the state is
            that after ``lengths`` steps.

        Returns
        -------
        (torch.Tensor, shape (b, t, h), S4DState)

        Raises
        ------
        InputError
            If a tensor has another shape or type, or holds NaN or infinity, or if the backend
            names another device than that of ``x``.
        """
        out = self.scan(x, state, lengths)
        y = self._mix(out.y)
        if lengths is not None:
            padding = torch.arange(x.shape[1], device=x.device) >= lengths.unsqueeze(-1)
            y = y.masked_fill(padding.unsqueeze(-1), 0.0)
        return y, S4DState(out.last_state)

    def scan(
        self,
        x: Tensor,
        state: S4DState | None = None,
        lengths: Tensor | None = None,
        keep: Sequence[int] | Tensor | None = None,
    ) -> ScanOutput:
        """The filters of ``forward`` alone, before channels are mixed, and states on the way.

        Parameters
        ----------
        x, state, lengths
            As in ``forward``.
        keep : sequence of int or torch.Tensor, shape (k,), optional
            Increasing indices of the steps whose states (b, k, h, n) are returned.

        Raises
        ------
        InputError
            As ``forward``.
        """
        self._check(x, "b t h")
        if state is not None:
            self._check_state(x, state)
        config, exact, t = self.config, parameter_dtype(x.dtype), x.shape[1]
        backend = choose_s4d_backend(config.backend, x.device).name
        prepared = self._filters(
            "scan",
            (table_key(config.form, t), exact),
            lambda modes: prepare(modes, backend, config.form, t, exact),
        )
        start = None if state is None else state.ssm
        return scan_prepared(x, prepared, start, lengths, keep)

    def step(self, x: Tensor, state: S4DState) -> tuple[Tensor, S4DState]:
        """Filter and mix one time step; the same numbers as ``forward`` up to rounding.

        Parameters
        ----------
        x : torch.Tensor, shape (b, h)
        state : S4DState
            Left unchanged.

        Raises
        ------
        InputError
            As ``forward``.
        """
        self._check(x, "b h")
        self._check_state(x, state)
        exact = parameter_dtype(x.dtype)
        modes = self._filters("step", (exact,), lambda modes: rounded(modes, exact))
        y, ssm = step_prepared(x, modes, state.ssm)
        return self._mix(y), S4DState(ssm)

    def _mix(self, y: Tensor) -> Tensor:
        mix = cast(nn.Conv1d, self.output_linear[0])
        return glu(linear(gelu(y), mix.weight.squeeze(-1), mix.bias), dim=-1)

    def _filters(self, kind: str, key: tuple[object, ...], compute: Callable[[Modes], T]) -> T:
        """What ``compute`` makes of the modes, or what it made of them when last asked the same."""
        parameters = [*self.kernel.parameters(), self.D]
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        if self.training or wanted or torch.compiler.is_compiling():
            return compute(self.kernel.modes(self.config.discretisation, self.D))
        known = self._computed.get(kind)
        if known is None or known.key != key or not known.holds_for(parameters):
            with torch.inference_mode(False), torch.no_grad():
                found = compute(self.kernel.modes(self.config.discretisation, self.D))
                known = _Computed(key, [p.detach().clone() for p in parameters], found)
            self._computed[kind] = known
        return cast(T, known.found)

    def _check(self, x: Tensor, legend: str) -> None:
        check_input_of_width(x, legend, self.config.d_model, self.D.dtype)

    def _check_state(self, x: Tensor, state: S4DState) -> None:
        sizes = {"ssm": (self.config.d_model, self.config.modes)}
        check_layer_state(state, S4DState, sizes, x, self.D)


@dataclass(frozen=True)
class _Computed:
    """Something computed from weights, and a copy of them.

    A count of changes would be cheaper to compare, but writing through ``.data`` does not raise it.
    """

    key: tuple[object, ...]
    weights: list[Tensor]
    found: object

    def holds_for(self, weights: Sequence[Tensor]) -> bool:
        return all(
            a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
            for a, b in zip(self.weights, weights, strict=True)
        )


def _initial_rates(config: S4DConfig) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, (h n) each."""
    size = config.d_state
    k = torch.arange(config.modes, dtype=torch.float64)
    real, imag = torch.full_like(k, -0.5), math.pi * k
    if config.init == "inv":
        imag = size / math.pi * (size / (2 * k + 1) - 1)
    elif config.init == "real":
        real, imag = -(k + 1), torch.zeros_like(k)
    shape = config.d_model, config.modes
    return real.expand(shape), imag.expand(shape)
