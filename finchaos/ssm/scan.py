"""The selective scan: one recurrence behind one door, computed by a named backend.

For every channel d and state n the state-space model of Mamba reads

    h[t] = exp(delta[t] A) h[t-1] + delta[t] B[t] u[t]
    y[t] = C[t] . h[t] + D u[t],        then y[t] silu(z[t]) where a gate is given.

Tensors are channels-last, ``b t d n``: batch, time, channel, state. Upstream's
``selective_scan_fn`` takes the same tensors as ``b d t``.

References
----------
Gu and Dao (2023), "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
arXiv:2312.00752, eq. 2a-2b with the simplified Euler B of its reference code.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm.sequential import sequential_recurrence

Recurrence = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

DEFAULT_BACKEND = "torch"


def reference_recurrence(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence as it is written, differentiated by autograd: the definition of truth.

    Run it in float64. ``unbind`` instead of indexing keeps the backward pass linear in time.
    """
    outputs = []
    rows = zip(u.unbind(1), delta.unbind(1), B.unbind(1), C.unbind(1), strict=True)
    for u_t, delta_t, B_t, C_t in rows:
        decay = torch.exp(delta_t.unsqueeze(-1) * A)
        state = decay * state + (delta_t * u_t).unsqueeze(-1) * B_t.unsqueeze(1)
        outputs.append((state * C_t.unsqueeze(1)).sum(-1))
    return torch.stack(outputs, 1), state


_BACKENDS: dict[str, Recurrence] = {
    "reference": reference_recurrence,
    "torch": sequential_recurrence,
}


def available_backends() -> tuple[str, ...]:
    """Names that ``backend`` takes in this installation."""
    return tuple(sorted(_BACKENDS))


def check_backend(name: str) -> str:
    """The name itself if that backend exists here.

    Raises
    ------
    UnknownNameError
        Nothing stands in for a backend that is absent.
    """
    if name not in _BACKENDS:
        raise UnknownNameError(
            f"no scan backend {name!r} here", expected=f"one of {', '.join(available_backends())}"
        )
    return name


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    *,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    backend: str = DEFAULT_BACKEND,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence over time.

    Parameters
    ----------
    u : torch.Tensor, shape (b, t, d)
        Input of each channel, t >= 1.
    delta : torch.Tensor, shape (b, t, d)
        Step size, not negative once bias and softplus have been applied.
    A : torch.Tensor, shape (d, n)
        Continuous-time decay rates, negative.
    B, C : torch.Tensor, shape (b, t, n)
        Input and output maps, shared by the channels.
    D : torch.Tensor, shape (d,), optional
        Weight of the input in the output.
    z : torch.Tensor, shape (b, t, d), optional
        Gate; the output is multiplied by silu(z).
    delta_bias : torch.Tensor, shape (d,), optional
    delta_softplus : bool
        Whether softplus is applied to ``delta + delta_bias``.
    initial_state : torch.Tensor, shape (b, d, n), optional
        State before the first step, zero by default.
    backend : str
        One of :func:`available_backends`.

    Returns
    -------
    y : torch.Tensor, shape (b, t, d)
    last_state : torch.Tensor, shape (b, d, n)
        Differentiable, so that a sequence may be cut and continued.

    Raises
    ------
    UnknownNameError
        If the backend is absent.
    InputError
        If shapes do not fit or a step size is negative.

    Examples
    --------
    >>> ones = torch.ones(1, 3, 1, dtype=torch.float64)
    >>> y, last = selective_scan(ones, ones, -ones[0, :1], ones, ones)
    >>> [round(float(v), 4) for v in y.flatten()]
    [1.0, 1.3679, 1.5032]
    """
    recurrence = _BACKENDS[check_backend(backend)]
    _check_shapes(u, delta, A, B, C, z)
    delta = step_size(delta, delta_bias, delta_softplus)
    state = u.new_zeros(u.shape[0], *A.shape) if initial_state is None else initial_state
    y, last = recurrence(u, delta, A, B, C, state)
    return skip_and_gate(y, u, D, z), last


def selective_step(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    *,
    state: Tensor,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step of :func:`selective_scan`; time is absent from the shapes.

    Parameters
    ----------
    u, delta, z : torch.Tensor, shape (b, d)
    A : torch.Tensor, shape (d, n)
    B, C : torch.Tensor, shape (b, n)
    D, delta_bias : torch.Tensor, shape (d,)
    delta_softplus : bool
    state : torch.Tensor, shape (b, d, n)
        Left unchanged.

    Returns
    -------
    y : torch.Tensor, shape (b, d)
    state : torch.Tensor, shape (b, d, n)
    """
    delta = step_size(delta, delta_bias, delta_softplus)
    decay = torch.exp(delta.unsqueeze(-1) * A)
    state = decay * state + (delta * u).unsqueeze(-1) * B.unsqueeze(1)
    return skip_and_gate((state * C.unsqueeze(1)).sum(-1), u, D, z), state


def step_size(delta: Tensor, bias: Tensor | None, positive: bool) -> Tensor:
    """Step sizes from what the projection gives, through softplus if ``positive``.

    Raises
    ------
    InputError
        If a step is negative without softplus: the state would grow instead of decaying.
    """
    if bias is not None:
        delta = delta + bias
    if positive:
        # A high threshold: the default would cut to the identity at 20, an error of 2e-9.
        return softplus(delta, threshold=50.0)
    if bool((delta < 0).any()):
        raise InputError(
            "step sizes of a selective scan must not be negative",
            got=f"a minimum of {float(delta.detach().min())}",
            remedy="pass delta_softplus=True or apply softplus first",
        )
    return delta


def skip_and_gate(y: Tensor, u: Tensor, D: Tensor | None, z: Tensor | None) -> Tensor:
    """Add the skip connection and apply the gate, where given."""
    if D is not None:
        y = y + D * u
    return y if z is None else y * silu(z)


def _check_shapes(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, z: Tensor | None
) -> None:
    fits = u.dim() == 3 and A.dim() == 2 and u.shape[1] >= 1
    if fits:
        batch, time, channels = u.shape
        fits = (
            A.shape[0] == channels
            and delta.shape == u.shape
            and B.shape == C.shape == (batch, time, A.shape[1])
            and (z is None or z.shape == u.shape)
        )
    if not fits:
        raise InputError(
            "tensors of a selective scan do not fit together",
            expected="u, delta, z (b, t, d), A (d, n), B, C (b, t, n) with t >= 1",
            got=", ".join(str(tuple(x.shape)) for x in (u, delta, A, B, C)),
        )
