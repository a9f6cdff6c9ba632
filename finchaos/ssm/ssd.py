"""The scan of Mamba-2: one recurrence behind one door, computed by a named backend.

For every head h, channel p of that head and state n

    H[t] = exp(dt[t] A) H[t-1] + dt[t] x[t] B[t]
    y[t] = C[t] . H[t] + D x[t],        then y[t] silu(z[t]) where a gate is given.

The decay is one number a head and step, where that of Mamba-1 differs by channel and state. Tensors
are channels-last: ``b t h p`` batch, time, head, channel of a head; ``b t g n`` batch, time, group,
state. The h / g heads of a group share B and C; head i belongs to group i // (h / g).

======================= ================== =====================================================
activations             parameters, states accuracy of values and gradients
======================= ================== =====================================================
float64                 float64            1e-10
float32                 float32            3e-6, 3e-5; compiled: at most 6e-7, 1.1e-6 measured
bfloat16, float16       float32            that of rounding the inputs and outputs
======================= ================== =====================================================

Accuracy is the largest deviation from the backend ``reference`` in float64, relative to its
largest value.

References
----------
Dao and Gu (2024), "Transformers are SSMs", arXiv:2405.21060, eq. 2 and section 5.2 (heads).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from finchaos.core.errors import InputError
from finchaos.ssm import cuda, native
from finchaos.ssm.backends import AUTO, choose_backend
from finchaos.ssm.chunked import chunked_ssd
from finchaos.ssm.inputs import (
    ScanOutput,
    check_finite,
    check_keep,
    check_lengths,
    check_limit,
    check_shapes,
    check_types,
    padding,
    parameter_dtype,
    refuse_growth,
    values_are_known,
)
from finchaos.ssm.ssd_reference import advance, sequential_ssd

NO_LIMIT = (0.0, math.inf)
"""Bounds of the step sizes that bound nothing."""


_PLAIN = {"reference": sequential_ssd, "torch": chunked_ssd}
_COMPILED: dict[str, Callable[..., ScanOutput]] = {"cpu": native.ssd_scan, "cuda": cuda.ssd_scan}


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    *,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = NO_LIMIT,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    keep: Sequence[int] | Tensor | None = None,
    backend: str = AUTO,
) -> ScanOutput:
    """Run the recurrence over time.

    Parameters
    ----------
    x : torch.Tensor, shape (b, t, h, p)
        Input, t >= 1.
    dt : torch.Tensor, shape (b, t, h)
        Step size; not negative once bias and softplus have been applied.
    A : torch.Tensor, shape (h,)
        Continuous-time decay rates, not positive.
    B, C : torch.Tensor, shape (b, t, g, n)
        Input and output maps of each group.
    D : torch.Tensor, shape (h,) or (h, p), optional
        Weight of the input in the output.
    z : torch.Tensor, shape (b, t, h, p), optional
        Gate; the output is multiplied by silu(z).
    dt_bias : torch.Tensor, shape (h,), optional
    dt_softplus : bool
        Whether softplus is applied to ``dt + dt_bias``.
    dt_limit : (float, float)
        Step sizes are cut to this range after softplus.
    initial_state : torch.Tensor, shape (b, h, p, n), optional
        State before the first step, zero by default.
    lengths : torch.Tensor, shape (b,), optional
        Integers from 0 to t. Steps from there on are padding: their outputs are zero and the state
        stays as it was.
    keep : sequence of int or torch.Tensor, shape (k,), optional
        Increasing indices of the steps whose states are returned.
    backend : str
        See :mod:`finchaos.ssm.backends`.

    Returns
    -------
    y : torch.Tensor, shape (b, t, h, p)
        In the type of ``x``.
    last_state : torch.Tensor, shape (b, h, p, n)
        Differentiable, so that a sequence may be cut and continued.
    states : torch.Tensor, shape (b, k, h, p, n), or None
        States after the steps of ``keep``, differentiable too.

    Raises
    ------
    UnknownNameError, MissingDependencyError
        If the backend does not exist, or not here.
    InputError
        If types, shapes or values are not as above; it names the tensor.

    Examples
    --------
    >>> ones = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    >>> out = ssd_scan(ones, ones[..., 0], -ones[0, 0, 0], ones, ones, backend="torch")
    >>> [round(float(v), 4) for v in out.y.flatten()]
    [1.0, 1.3679, 1.5032]
    """
    name = choose_backend(backend, x.device, cuda.ssd_limit(x.dtype)).name
    moving = {"x": x, "dt": dt, "B": B, "C": C}
    sizes = _check("b t", moving, A, D, z, dt_bias, {"initial_state": initial_state})
    check_lengths(lengths, sizes["b"], sizes["t"])
    kept = check_keep(keep, sizes["t"])
    step = _StepSize(dt_bias, dt_softplus, *check_limit(dt_limit))
    step.check(dt)
    with torch.autocast(x.device.type, enabled=False):
        if name in _COMPILED:
            return _COMPILED[name](x, dt, A, B, C, D, z, step, initial_state, lengths, kept)
        exact = parameter_dtype(x.dtype)
        delta = step.of(dt)
        if initial_state is None:
            initial_state = x.new_zeros([sizes[k] for k in "bhpn"], dtype=exact)
        after = padding(lengths, sizes["t"])
        if after is not None:
            # A step of size zero neither decays nor drives: the state stays, bit for bit.
            delta = delta.masked_fill(after.unsqueeze(-1), 0.0)
        u, B, C = x.to(exact), B.to(exact), C.to(exact)
        y, last, states = _PLAIN[name](u, delta, A, B, C, initial_state, kept)
        y = _skip_and_gate(y, u, D, z)
        if after is not None:
            y = y.masked_fill(after[..., None, None], 0.0)
        return ScanOutput(y.to(x.dtype), last, states)


def ssd_step(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    *,
    state: Tensor,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = NO_LIMIT,
) -> tuple[Tensor, Tensor]:
    """One step of :func:`ssd_scan`; time is absent from the shapes.

    Parameters
    ----------
    x, z : torch.Tensor, shape (b, h, p)
    dt : torch.Tensor, shape (b, h)
    A, dt_bias : torch.Tensor, shape (h,)
    B, C : torch.Tensor, shape (b, g, n)
    D : torch.Tensor, shape (h,) or (h, p)
    state : torch.Tensor, shape (b, h, p, n)
        Left unchanged.
    dt_softplus, dt_limit
        As in :func:`ssd_scan`.

    Returns
    -------
    y : torch.Tensor, shape (b, h, p)
    state : torch.Tensor, shape (b, h, p, n)

    Raises
    ------
    InputError
        As :func:`ssd_scan`.
    """
    moving = {"x": x, "dt": dt, "B": B, "C": C}
    _check("b", moving, A, D, z, dt_bias, {"state": state})
    step = _StepSize(dt_bias, dt_softplus, *check_limit(dt_limit))
    step.check(dt)
    with torch.autocast(x.device.type, enabled=False):
        exact = parameter_dtype(x.dtype)
        u = x.to(exact)
        y, state = advance(u, step.of(dt), A, B.to(exact), C.to(exact), state)
        return _skip_and_gate(y, u, D, z).to(x.dtype), state


class _StepSize(NamedTuple):
    """How step sizes come from what the projection gives."""

    bias: Tensor | None
    positive: bool
    low: float
    high: float

    def check(self, dt: Tensor) -> None:
        if self.positive or not values_are_known():
            return
        lowest = float((dt if self.bias is None else dt + self.bias).detach().min())
        if lowest < 0:
            raise InputError(
                "dt holds negative step sizes: the state would grow instead of decaying",
                expected="dt + dt_bias >= 0",
                got=f"a minimum of {lowest}",
                remedy="pass dt_softplus=True or apply softplus first",
            )

    def of(self, dt: Tensor) -> Tensor:
        dt = dt.to(parameter_dtype(dt.dtype))
        if self.bias is not None:
            dt = dt + self.bias
        if self.positive:
            # A high threshold: the default would cut to the identity at 20, an error of 2e-9.
            dt = softplus(dt, threshold=50.0)
        return dt if (self.low, self.high) == NO_LIMIT else dt.clamp(self.low, self.high)


def _skip_and_gate(y: Tensor, x: Tensor, D: Tensor | None, z: Tensor | None) -> Tensor:
    if D is not None:
        y = y + (D if D.dim() == 2 else D.unsqueeze(-1)) * x
    return y if z is None else y * silu(z.to(y.dtype))


def _check(
    along: str,
    moving: dict[str, Tensor],
    A: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    state: dict[str, Tensor | None],
) -> dict[str, int]:
    """Check all but lengths and keep; the sizes by letter. ``along``: the axes before h and g."""
    legends = {"x": "h p", "dt": "h", "B": "g n", "C": "g n", "z": "h p"}
    activations = {**moving, "z": z}
    parameters = {"A": A, "D": D, "dt_bias": dt_bias, **state}
    check_types(activations, parameters)
    shapes = {name: (v, f"{along} {legends[name]}") for name, v in activations.items()}
    shapes |= {name: (v, "b h p n" if name in state else "h") for name, v in parameters.items()}
    if D is not None and D.dim() == 2:
        shapes["D"] = (D, "h p")
    sizes = check_shapes(shapes)
    if sizes["h"] % sizes["g"]:
        raise InputError(
            "B has a number of groups that does not divide the heads of x",
            expected=f"a divisor of {sizes['h']}",
            got=str(sizes["g"]),
        )
    check_finite(activations | parameters)
    refuse_growth(A)
    return sizes
