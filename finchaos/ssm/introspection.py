"""How long a layer remembers: what its step sizes say, and what its outputs really depend on.

A contribution to the state loses the factor ``exp(dt A)`` in a step: the layer's own clock, ``dt``,
runs fast where the input is to replace what was there and slowly where it is to be passed over. Its
time constant, ``-1 / (dt A)`` steps, is how long a state can remember; how long a layer does
remember is another matter, as its readout may not look at that state. Hence the second half: the
gradient of an output with respect to inputs further and further back.

References
----------
Gu and Dao (2023), arXiv:2312.00752, section 3.5.2, paragraph on the interpretation of the step
size: a large one replaces the state, a small one keeps it.
Luo, Li, Urtasun and Zemel (2016), arXiv:1701.04128: an effective receptive field as the gradient of
one output with respect to each input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm.inputs import check_tensors, padding
from finchaos.ssm.tracing import Trace

ONE_OVER_E = math.exp(-1.0)
HALF = 0.5


def typical_step_size(trace: Trace[Any]) -> Tensor:
    """Median step size of each channel or head over sequences and time, padding left out.

    Of an even number of steps the lower of the two in the middle.

    Returns
    -------
    torch.Tensor, shape (d,) or (h,)

    Raises
    ------
    InputError
        If this is no trace, or every row is padding.
    """
    _check_trace(trace)
    rows, after = trace.dt.detach().flatten(0, 1), padding(trace.lengths, trace.dt.shape[1])
    if after is not None:
        rows = rows[~after.flatten()]
    if not len(rows):
        raise InputError("a trace of padding alone has no step sizes")
    return rows.median(0).values


def decay(trace: Trace[Any]) -> Tensor:
    """The factor that each state keeps in each step, exp(dt A), one where a row is padding.

    Returns
    -------
    torch.Tensor, shape (b, t, d, n), of Mamba-2 (b, t, h)
        Differentiable.
    """
    _check_trace(trace)
    return torch.exp(_exponents(trace.dt, trace.A))


def memory_length(trace: Trace[Any], remaining: float = ONE_OVER_E) -> Tensor:
    """Steps until a contribution to a state has fallen to a fraction of itself.

    At the typical step size of its channel: ``log(remaining) / (dt A)``, which is the time constant
    for a fraction of 1/e and the half-life for one of 1/2.

    Parameters
    ----------
    trace : Trace
    remaining : float
        Between 0 and 1, exclusive.

    Returns
    -------
    torch.Tensor, shape (d, n), of Mamba-2 (h,)
        In steps, not rounded; infinite where the step size or the rate is zero.

    Raises
    ------
    InputError
        If this is no trace, or ``remaining`` not a fraction.

    Examples
    --------
    >>> from finchaos.ssm import Mamba, MambaConfig
    >>> trace = Mamba(MambaConfig(d_model=4, d_state=3)).trace(torch.ones(1, 5, 4))
    >>> length, half = memory_length(trace), memory_length(trace, HALF)
    >>> bool(torch.allclose(half, math.log(2.0) * length))
    True
    >>> bool(torch.allclose(length[:, 0], 3.0 * length[:, 2]))  # rates 1 and 3
    True
    """
    _check_trace(trace)
    _check_fraction("remaining", remaining)
    exponents = _exponents(typical_step_size(trace), trace.A.detach())
    # Negative both; abs() makes the infinity of a state that never decays a positive one.
    return math.log(1.0 / remaining) / exponents.abs()


@dataclass(frozen=True, eq=False)
class LagProfile:
    """How much an output depends on the input at each lag.

    Attributes
    ----------
    influence : torch.Tensor, shape (b, l)
        Frobenius norm of the Jacobian of all output channels at one step with respect to all input
        channels, 0, 1, .. l - 1 steps before it.
    """

    influence: Tensor

    def effective_memory(self, share: float = 0.9) -> Tensor:
        """The smallest lag up to which lies this share of the influence.

        Where it comes near the last lag, the sequence was too short to tell.

        Returns
        -------
        torch.Tensor of int64, shape (b,)

        Raises
        ------
        InputError
            If ``share`` is not between 0 and 1, exclusive, or an output depends on no input.

        Examples
        --------
        >>> LagProfile(torch.tensor([[4.0, 3.0, 2.0, 1.0]])).effective_memory(0.9).tolist()
        [2]
        """
        _check_fraction("share", share)
        reached = self.influence.double().cumsum(-1)
        total = reached[:, -1:]
        if bool((total <= 0).any()):
            raise InputError("the output depends on no input, so it has no effective memory")
        # What is short of the share by rounding alone counts.
        return (reached < share * (1.0 - 1e-12) * total).sum(-1)


def influence_by_lag(function: Callable[[Tensor], Tensor], x: Tensor, at: int = -1) -> LagProfile:
    """Measure what the output at one step depends on, by differentiating ``function``.

    Parameters
    ----------
    function : callable
        From (b, t, m) to (b, t, k), sequences not mixed, times not read ahead: for a block
        ``lambda x: block(x)[0]``.
    x : torch.Tensor, shape (b, t, m)
        Where to differentiate; float64 for exact figures.
    at : int
        The step of the output; the last by default.

    Returns
    -------
    LagProfile
        Lags from 0 to ``at``.

    Raises
    ------
    InputError
        If there is no such step, input or output are not of the shapes above, or the output does
        not depend on ``x``, or on inputs after ``at``.

    Notes
    -----
    One forward and one backward pass of b k sequences.

    Examples
    --------
    >>> lagged = lambda x: x + 0.5 * torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]
    >>> influence_by_lag(lagged, torch.ones(1, 4, 1)).influence.tolist()
    [[1.0, 0.5, 0.0, 0.0]]
    """
    _check_sequence(x)
    steps = x.shape[1]
    if not -steps <= at < steps:
        raise InputError("there is no such step", expected=f"{-steps} <= at < {steps}", got=str(at))
    with torch.no_grad():
        outputs = _outputs(function, x).shape[-1]
    # Copy i of each sequence gives row i of the Jacobian, so that one backward pass gives all.
    copies = x.detach().repeat_interleave(outputs, 0).requires_grad_()
    with torch.enable_grad():
        row = _outputs(function, copies)[:, at].reshape(len(x), outputs, outputs)
        total = row.diagonal(dim1=1, dim2=2).sum()
        grad = None
        if total.requires_grad:
            (grad,) = torch.autograd.grad(total, copies, allow_unused=True)
    if grad is None:
        raise InputError(
            "the output of the function does not depend on its input",
            expected="a differentiable function, its result not detached",
            got="an output without a gradient in x",
        )
    by_time = grad.view(len(x), outputs, *x.shape[1:]).square().sum((1, 3)).sqrt()
    last = at % steps
    if bool((by_time[:, last + 1 :] > 0).any()):
        raise InputError(
            f"the output at step {last} depends on inputs after it",
            expected="a function that does not read ahead",
        )
    return LagProfile(by_time[:, : last + 1].flip(-1))


def _outputs(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    y = function(x)
    if not isinstance(y, Tensor):
        raise InputError(
            "the function must give one tensor",
            expected="torch.Tensor",
            got=type(y).__name__,
            remedy="of a layer take the first of what it gives: lambda x: layer(x)[0]",
        )
    if y.dim() != 3 or y.shape[:2] != x.shape[:2]:
        raise InputError(
            "the function has an output of another shape",
            expected=f"(b, t, k) with b, t = {tuple(x.shape[:2])}",
            got=str(tuple(y.shape)),
        )
    return y


def _exponents(dt: Tensor, A: Tensor) -> Tensor:
    """``dt A``: one rate for each state of a channel, or one a head."""
    return dt * A if A.dim() == 1 else dt.unsqueeze(-1) * A


def _check_trace(trace: object) -> None:
    if not isinstance(trace, Trace):
        raise InputError(
            "memory is read from a trace",
            expected="what trace(x) of a Mamba or Mamba-2 layer or block gives",
            got=type(trace).__name__,
        )


def _check_sequence(x: object) -> None:
    check_tensors({"x": x})
    if isinstance(x, Tensor) and (x.dim() != 3 or not x.is_floating_point() or not x.numel()):
        raise InputError(
            "x must be sequences to differentiate in",
            expected="floating point of shape (b, t, m), no size zero",
            got=f"{x.dtype} of shape {tuple(x.shape)}",
        )


def _check_fraction(name: str, value: float) -> None:
    if not isinstance(value, int | float) or not 0.0 < value < 1.0:
        raise InputError(f"{name} must lie between 0 and 1, exclusive", got=str(value))
