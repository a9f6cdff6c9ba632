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

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from finchaos.core.errors import InputError
from finchaos.ssm import cuda, native
from finchaos.ssm.backends import AUTO, choose_backend
from finchaos.ssm.inputs import (
    ScanOutput,
    check_finite,
    check_keep,
    check_lengths,
    check_shapes,
    check_types,
    padding,
    parameter_dtype,
    refuse_growth,
    values_are_known,
)
from finchaos.ssm.reference import reference_recurrence
from finchaos.ssm.sequential import sequential_recurrence

_PLAIN = {"reference": reference_recurrence, "torch": sequential_recurrence}
_COMPILED = {"cpu": native.selective_scan, "cuda": cuda.selective_scan}


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
    lengths: Tensor | None = None,
    keep: Sequence[int] | None = None,
    backend: str = AUTO,
) -> ScanOutput:
    """Run the recurrence over time.

    Parameters
    ----------
    u : torch.Tensor, shape (b, t, d)
        Input of each channel, t >= 1. With ``delta``, ``B``, ``C`` and ``z`` it shares a dtype:
        float64, float32, or bfloat16 and float16, which are computed in float32.
    delta : torch.Tensor, shape (b, t, d)
        Step size, not negative once bias and softplus have been applied.
    A : torch.Tensor, shape (d, n)
        Continuous-time decay rates, negative. Like ``D``, ``delta_bias`` and ``initial_state``
        float64 where ``u`` is, float32 otherwise.
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
    lengths : torch.Tensor of integers, shape (b,), optional
        Steps of each row, from 0 to t; what follows is padding and is not read.
    keep : sequence of int, optional
        Steps, increasing, whose states are wanted.
    backend : str
        See :mod:`finchaos.ssm.backends`.

    Returns
    -------
    ScanOutput

    Raises
    ------
    UnknownNameError, MissingDependencyError
        If there is no such backend, or not here.
    InputError
        If a tensor does not fit, mixes dtypes, holds NaN or infinity, or a step size is negative.

    Notes
    -----
    Memory for the gradient, beside the inputs: one state (d n numbers) in 32 steps.

    Examples
    --------
    >>> ones = torch.ones(1, 3, 1, dtype=torch.float64)
    >>> y, last, _ = selective_scan(ones, ones, -ones[0, :1], ones, ones)
    >>> [round(float(v), 4) for v in y.flatten()]
    [1.0, 1.3679, 1.5032]
    """
    moving = {"u": u, "delta": delta, "B": B, "C": C, "z": z}
    fixed = {"A": A, "D": D, "delta_bias": delta_bias, "initial_state": initial_state}
    sizes = _check("b t", moving, fixed)
    check_lengths(lengths, sizes["b"], sizes["t"])
    kept = check_keep(keep, sizes["t"])
    name = choose_backend(backend, u.device, cuda.scan_limit(u.dtype, sizes["n"])).name
    with torch.autocast(u.device.type, enabled=False):
        if name in _COMPILED:
            return _COMPILED[name](
                u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state, lengths, kept
            )
        exact = parameter_dtype(u.dtype)
        step = step_size(delta, delta_bias, delta_softplus)
        after = padding(lengths, sizes["t"])
        if after is not None:
            # A step of size zero neither decays nor drives: the state stays, bit for bit.
            step = step.masked_fill(after.unsqueeze(-1), 0.0)
        drive = u.to(exact)
        state = drive.new_zeros(len(u), *A.shape) if initial_state is None else initial_state
        y, last, states = _PLAIN[name](drive, step, A, B.to(exact), C.to(exact), state, kept)
        y = skip_and_gate(y, drive, D, z)
        if after is not None:
            y = y.masked_fill(after.unsqueeze(-1), 0.0)
        return ScanOutput(y.to(u.dtype), last, states)


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
    moving = {"u": u, "delta": delta, "B": B, "C": C, "z": z}
    _check("b", moving, {"A": A, "D": D, "delta_bias": delta_bias, "state": state})
    with torch.autocast(u.device.type, enabled=False):
        exact = parameter_dtype(u.dtype)
        step, drive = step_size(delta, delta_bias, delta_softplus), u.to(exact)
        decay = torch.exp(step.unsqueeze(-1) * A)
        state = decay * state + (step * drive).unsqueeze(-1) * B.to(exact).unsqueeze(1)
        y = (state * C.to(exact).unsqueeze(1)).sum(-1)
        return skip_and_gate(y, drive, D, z).to(u.dtype), state


def step_size(delta: Tensor, bias: Tensor | None, positive: bool) -> Tensor:
    """Step sizes from what the projection gives, through softplus if ``positive``.

    Raises
    ------
    InputError
        If a step is negative without softplus: the state would grow instead of decaying.
    """
    delta = delta.to(parameter_dtype(delta.dtype))
    if bias is not None:
        delta = delta + bias
    if positive:
        # A high threshold: the default would cut to the identity at 20, an error of 2e-9.
        return softplus(delta, threshold=50.0)
    if values_are_known() and bool((delta < 0).any()):
        raise InputError(
            "delta holds negative step sizes: the state would grow instead of decaying",
            expected="delta + delta_bias >= 0",
            got=f"a minimum of {float(delta.detach().min())}",
            remedy="pass delta_softplus=True or apply softplus first",
        )
    return delta


def skip_and_gate(y: Tensor, u: Tensor, D: Tensor | None, z: Tensor | None) -> Tensor:
    """Add the skip connection and apply the gate, where given."""
    if D is not None:
        y = y + D * u
    return y if z is None else y * silu(z.to(y.dtype))


def _check(
    along: str, moving: dict[str, Tensor | None], fixed: dict[str, Tensor | None]
) -> dict[str, int]:
    """Check all but lengths and keep; the sizes by letter. ``along``: the axes before d and n."""
    check_types(moving, fixed)
    legends = {"B": "n", "C": "n"}
    shapes = {name: (v, f"{along} {legends.get(name, 'd')}") for name, v in moving.items()} | {
        name: (v, {"A": "d n", "D": "d", "delta_bias": "d"}.get(name, "b d n"))
        for name, v in fixed.items()
    }
    # The legend of A introduces n before B and C use it.
    order = ["u", "A", *(name for name in shapes if name not in ("u", "A"))]
    sizes = check_shapes({name: shapes[name] for name in order})
    check_finite(moving | fixed)
    refuse_growth(fixed["A"])
    return sizes
