"""The recurrence in plain PyTorch with its gradient written out: the backend ``torch``.

Only the two recursions, forwards for the state and backwards for its adjoint, run step by step,
one fused multiply-add each; everything else is done for a chunk of times at once. Autograd through
the same loop would record half a dozen nodes a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from finchaos.ssm.once import differentiable_once
from finchaos.ssm.reference import stack_states

CHUNK_STEPS = 32
"""Steps between kept states. What a chunk needs then fits the cache, and is computed again."""


def sequential_recurrence(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    keep: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Outputs, the last state and the states after the steps to keep.

    Shapes as in :func:`finchaos.ssm.scan.selective_scan`; ``delta`` is the step size itself. The
    gradient can be taken once. Memory is one state in :data:`CHUNK_STEPS`.
    """
    apply: Any = _Recurrence.apply
    time = u.shape[1]
    outputs, kept = [], []
    # The state after a step is the last state of the piece that ends there, gradient included.
    ends = [step + 1 for step in keep or ()]
    for start, end in pairwise([0, *ends, *([time] if time not in ends else [])]):
        rows = slice(start, end)
        u_now, delta_now = (x[:, rows].transpose(0, 1) for x in (u, delta))
        y, state = apply(u_now, delta_now, A, B[:, rows], C[:, rows], state)
        outputs.append(y.transpose(0, 1))
        if end in ends:
            kept.append(state)
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
    return y, state, None if keep is None else stack_states(kept, state)


class _Recurrence(torch.autograd.Function):
    """u, delta and y are t b d; B and C stay b t n."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        u, delta, B, C = (x.contiguous() for x in (u, delta, B.transpose(0, 1), C.transpose(0, 1)))
        y = torch.empty_like(u)
        kept = []
        for rows in _chunks(len(u)):
            kept.append(state)
            _, states = _states(u[rows], delta[rows], A, B[rows], state)
            y[rows] = torch.matmul(states, C[rows].unsqueeze(-1)).squeeze(-1)
            state = states[-1].clone()
        ctx.save_for_backward(u, delta, A, B, C, torch.stack(kept))
        return y, state

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        grad_y, carried = grads
        u, delta, A, B, C, kept = ctx.saved_tensors
        grad_u, grad_delta = torch.empty_like(u), torch.empty_like(delta)
        grad_A, grad_B, grad_C = torch.zeros_like(A), torch.empty_like(B), torch.empty_like(C)
        for chunk, rows in reversed(list(enumerate(_chunks(len(u))))):
            decay, states = _states(u[rows], delta[rows], A, B[rows], kept[chunk])
            grad_C[rows] = torch.matmul(grad_y[rows].unsqueeze(2), states).squeeze(2)
            adjoint = _adjoint(decay, grad_y[rows], C[rows], carried)
            weight = delta[rows] * u[rows]
            grad_B[rows] = torch.matmul(weight.unsqueeze(2), adjoint).squeeze(2)
            from_drive = torch.matmul(adjoint, B[rows].unsqueeze(-1)).squeeze(-1)
            carried = adjoint[0] * decay[0]
            # The gradient of the exponent delta A, in place of the adjoint.
            adjoint[1:] *= states[:-1]
            adjoint[0] *= kept[chunk]
            adjoint *= decay
            grad_u[rows] = from_drive * delta[rows]
            grad_delta[rows] = torch.linalg.vecdot(adjoint, A) + from_drive * u[rows]
            grad_A += (adjoint * delta[rows].unsqueeze(-1)).sum((0, 1))
        return (
            grad_u,
            grad_delta,
            grad_A,
            grad_B.transpose(0, 1),
            grad_C.transpose(0, 1),
            carried,
        )


def _chunks(steps: int) -> list[slice]:
    return [slice(start, start + CHUNK_STEPS) for start in range(0, steps, CHUNK_STEPS)]


def _states(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Decay over each step and state after it, both of shape (t, b, d, n)."""
    decay = torch.exp_(delta.unsqueeze(-1) * A)
    states = (delta * u).unsqueeze(-1) * B.unsqueeze(2)
    for decay_t, state_t in zip(decay.unbind(0), states.unbind(0), strict=True):
        state = state_t.addcmul_(decay_t, state)
    return decay, states


def _adjoint(decay: Tensor, grad_y: Tensor, C: Tensor, carried: Tensor) -> Tensor:
    """Gradient with respect to the state after each step, shape (t, b, d, n).

    ``carried`` is what comes from the steps after the last one here.
    """
    adjoint = grad_y.unsqueeze(-1) * C.unsqueeze(2)
    rows, decays = adjoint.unbind(0), decay.unbind(0)
    rows[-1].add_(carried)
    for t in range(len(rows) - 2, -1, -1):
        rows[t].addcmul_(decays[t + 1], rows[t + 1])
    return adjoint
