"""The recurrence of the selective scan as it is written: the definition of truth.

Run it in float64. ``unbind`` instead of indexing keeps the backward pass linear in time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def reference_recurrence(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    keep: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Outputs, the last state and the states after the steps to keep, one step after the other.

    Shapes as in :func:`finchaos.ssm.scan.selective_scan`; ``delta`` is the step size itself.
    """
    outputs, kept, wanted = [], [], set(keep or ())
    rows = zip(u.unbind(1), delta.unbind(1), B.unbind(1), C.unbind(1), strict=True)
    for t, (u_t, delta_t, B_t, C_t) in enumerate(rows):
        decay = torch.exp(delta_t.unsqueeze(-1) * A)
        state = decay * state + (delta_t * u_t).unsqueeze(-1) * B_t.unsqueeze(1)
        outputs.append((state * C_t.unsqueeze(1)).sum(-1))
        if t in wanted:
            kept.append(state)
    return torch.stack(outputs, 1), state, None if keep is None else stack_states(kept, state)


def stack_states(kept: list[Tensor], like: Tensor) -> Tensor:
    """States side by side on a second axis, which may be empty."""
    return torch.stack(kept, 1) if kept else like.new_empty(len(like), 0, *like.shape[1:])
