"""The recurrence of Mamba-2 as it is written, differentiated by autograd: the definition of truth.

For every head h, channel p of that head and state n

    H[t] = exp(dt[t] A) H[t-1] + dt[t] x[t] B[t]
    y[t] = C[t] . H[t]

where dt and A are one number a head, and B and C are shared by the h / g heads of a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Recurrence = tuple[Tensor, Tensor, Tensor | None]
"""Outputs (b t h p), last state (b h p n), kept states (b k h p n) or None."""


def sequential_ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    keep: Sequence[int] | None = None,
) -> Recurrence:
    """Step by step. Shapes as in :func:`finchaos.ssm.ssd.ssd_scan`; run it in float64.

    ``unbind`` instead of indexing keeps the backward pass linear in time.
    """
    outputs, kept, wanted = [], [], set(keep or ())
    rows = zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1), strict=True)
    for t, (x_t, dt_t, B_t, C_t) in enumerate(rows):
        y, state = advance(x_t, dt_t, A, B_t, C_t, state)
        outputs.append(y)
        if t in wanted:
            kept.append(state)
    return torch.stack(outputs, 1), state, None if keep is None else stack_states(kept, state)


def advance(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """One step: x (b h p), dt (b h), B and C (b g n), state (b h p n)."""
    heads = x.shape[1] // B.shape[1]
    B, C = B.repeat_interleave(heads, 1), C.repeat_interleave(heads, 1)
    decay = torch.exp(dt * A)[..., None, None]
    state = decay * state + (dt.unsqueeze(-1) * x).unsqueeze(-1) * B.unsqueeze(2)
    return (state * C.unsqueeze(2)).sum(-1), state


def stack_states(kept: list[Tensor], like: Tensor) -> Tensor:
    """States of several steps as one tensor (b k h p n), also where none was asked for."""
    return torch.stack(kept, 1) if kept else like.unsqueeze(1)[:, :0]
