"""The recurrence of Mamba-2 by chunks of time, as matrix products: the backend ``torch``.

Within a chunk the state need not be formed. With S the running sum of dt A since the chunk began,

    y[t] = sum over s <= t of exp(S[t] - S[s]) (C[t] . B[s]) dt[s] x[s]  +  exp(S[t]) C[t] . H

where H is the state before the chunk. Only H goes from chunk to chunk.

Two things decide the accuracy. S is summed in float64: where a chunk holds a large step, the
difference of two large sums in float32 would lose the small steps beside it. And the gradient of
a step's decay is a sum of terms that all run across that step, never a difference of row and column
sums, which cancels where steps of very different size meet.

References
----------
Dao and Gu (2024), "Transformers are SSMs", arXiv:2405.21060, section 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from finchaos.ssm.once import differentiable_once
from finchaos.ssm.ssd_reference import Recurrence, sequential_ssd, stack_states

CHUNK_STEPS = 32
"""Steps of a chunk, and between kept states. Of 16 to 128 the fastest on a CPU, or near it."""


def chunked_ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    keep: Sequence[int] | None = None,
) -> Recurrence:
    """Outputs, last state and kept states. Shapes as in :func:`finchaos.ssm.ssd.ssd_scan`.

    The gradient can be taken once. Beside its inputs and outputs it holds one state for
    :data:`CHUNK_STEPS` steps where a gradient or kept states are wanted; the rest is recomputed.
    """
    differentiable = any(tensor.requires_grad for tensor in (x, dt, A, B, C, state))
    retain = keep is not None or (torch.is_grad_enabled() and differentiable)
    apply: Any = _ChunkedRecurrence.apply
    y, last, before = apply(x, dt, A, B, C, state, retain)
    if keep is None:
        return y, last, None
    kept: list[Tensor] = []
    for chunk, rows in enumerate(_chunks(x.shape[1])):
        inside = [t - rows.start for t in keep if rows.start <= t < rows.stop]
        if inside:
            now = slice(rows.start, rows.start + inside[-1] + 1)
            moving = x[:, now], dt[:, now], A, B[:, now], C[:, now]
            _, _, states = sequential_ssd(*moving, before[chunk], inside)
            assert states is not None  # noqa: S101  (for the type checker)
            kept.extend(states.unbind(1))
    return y, last, stack_states(kept, last)


class _ChunkedRecurrence(torch.autograd.Function):
    """Returns y, the last state and, where retained, the state before each chunk (c b h p n)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dt: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        state: Tensor,
        retain: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        rows_of = _chunks(x.shape[1])
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        before = state.new_empty(len(rows_of) if retain else 0, *state.shape)
        for chunk, rows in enumerate(rows_of):
            if retain:
                before[chunk] = state
            part = _Chunk.of(x[:, rows], dt[:, rows], A, B[:, rows], C[:, rows])
            y[:, rows], state = part.forward(state)
        ctx.save_for_backward(x, dt, A, B, C, before)
        return y, state.clone(), before

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        with torch.autocast(saved[0].device.type, enabled=False):
            return (*_gradients(*saved, *grads), None)


def _gradients(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    before: Tensor,
    grad_y: Tensor | None,
    carried: Tensor | None,
    grad_before: Tensor | None,
) -> _Gradients:
    """Gradients of the whole from those of the outputs, chunk by chunk from the last."""
    if carried is None:
        carried = torch.zeros_like(before[0])
    grad_x, grad_dt, grad_B, grad_C = (
        torch.empty_like(v, memory_format=torch.contiguous_format) for v in (x, dt, B, C)
    )
    grad_A = torch.zeros_like(A, dtype=torch.float64)
    for chunk, rows in reversed(list(enumerate(_chunks(x.shape[1])))):
        part = _Chunk.of(x[:, rows], dt[:, rows], A, B[:, rows], C[:, rows])
        out = torch.zeros_like(x[:, rows]) if grad_y is None else grad_y[:, rows]
        back = part.backward(before[chunk], out, carried)
        grad_x[:, rows], grad_dt[:, rows] = back.x, back.dt
        grad_B[:, rows], grad_C[:, rows] = back.B, back.C
        grad_A += back.A
        carried = back.state if grad_before is None else back.state + grad_before[chunk]
    return _Gradients(grad_x, grad_dt, grad_A.to(A.dtype), grad_B, grad_C, carried)


class _Gradients(NamedTuple):
    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    state: Tensor


class _Chunk(NamedTuple):
    """The terms of one chunk of q steps that both passes need.

    h is g e: groups of e heads. ``x`` and ``driven`` (x times dt) are b h q p; ``B`` and ``C``
    b g q n, and ``BC`` their products b g q q. Decays: ``pair`` from step s to step t (b h q q,
    zero for s > t), ``since`` the beginning and ``until`` the end (b h q 1).
    """

    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    driven: Tensor
    BC: Tensor
    pair: Tensor
    since: Tensor
    until: Tensor

    @classmethod
    def of(cls, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> _Chunk:
        x, dt = x.transpose(1, 2).contiguous(), dt.transpose(1, 2)
        B, C = B.transpose(1, 2).contiguous(), C.transpose(1, 2).contiguous()
        total = torch.cumsum(dt.double() * A.double().unsqueeze(-1), -1)
        exponent = x.new_empty(*total.shape, total.shape[-1])
        torch.sub(total.unsqueeze(-1), total.unsqueeze(-2), out=exponent)
        # Masked before exp, where the exponent above the diagonal may be huge; never above zero.
        pair = exponent.clamp_(max=0).masked_fill_(_above_diagonal(exponent), -math.inf).exp_()
        until = (total[..., -1:] - total).clamp_(max=0).exp().to(x.dtype).unsqueeze(-1)
        since = total.exp().to(x.dtype).unsqueeze(-1)
        driven = x * dt.unsqueeze(-1)
        return cls(x, dt, A, B, C, driven, C @ B.transpose(-1, -2), pair, since, until)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (b q h p) and state after the chunk from the state (b h p n) before it."""
        weights = self._grouped(self.pair).mul_(self.BC.unsqueeze(2)).flatten(1, 2)
        y = weights @ self.driven
        y.addcmul_(self._read(self.C, state), self.since)
        entered = self._by_group(self.driven * self.until).transpose(-1, -2) @ self.B
        state = self._whole() * state + entered.view_as(state)
        return y.transpose(1, 2), state

    def backward(self, state: Tensor, grad_y: Tensor, carried: Tensor) -> _Gradients:
        """Gradients from those of the outputs and, ``carried``, of the state after the chunk."""
        grad_y = grad_y.transpose(1, 2).contiguous()
        # The products of decay and C.B on the way forward, and their gradients.
        grad_weights = grad_y @ self.driven.transpose(-1, -2)
        grad_BC = self._grouped(grad_weights.mul_(self.pair))
        across = (grad_BC * self.BC.unsqueeze(2)).flatten(1, 2)
        grad_BC = grad_BC.sum(2)
        weights = self._grouped(self.pair).mul_(self.BC.unsqueeze(2)).flatten(1, 2)
        # What the state after the chunk asks of each step, and what each output asks of the state.
        entering = self._read(self.B, carried).mul_(self.until)
        leaving = grad_y * self.since
        grouped_leaving, heads = self._by_group(leaving), self._by_group(self.driven * self.until)
        grad_B = heads @ self._state_by_group(carried) + grad_BC.transpose(-1, -2) @ self.C
        grad_C = grouped_leaving @ self._state_by_group(state) + grad_BC @ self.B
        decayed = self._whole() * carried
        grad_decay = self._grad_decay(
            across,
            (leaving * self._read(self.C, state)).sum(-1),
            (entering * self.driven).sum(-1),
            (decayed * state).sum((-1, -2)).unsqueeze(-1),
        )
        grad_driven = (weights.transpose(-1, -2) @ grad_y).add_(entering)
        grad_dt = (grad_driven * self.x).sum(-1) + grad_decay * self.A.unsqueeze(-1)
        entered = (grouped_leaving.transpose(-1, -2) @ self.C).view_as(state)
        return _Gradients(
            x=(grad_driven * self.dt.unsqueeze(-1)).transpose(1, 2),
            dt=grad_dt.transpose(1, 2),
            A=(grad_decay * self.dt).sum((0, 2), dtype=torch.float64),
            B=grad_B.transpose(1, 2),
            C=grad_C.transpose(1, 2),
            state=decayed + entered,
        )

    def _grad_decay(
        self, across: Tensor, leaving: Tensor, entering: Tensor, whole: Tensor
    ) -> Tensor:
        """Gradient of dt A at each step r (b h q): what every path across r contributes.

        Paths from s < r to t >= r (``across``), from the state before the chunk to an output at
        t >= r, from an input at s < r to the state after the chunk, and from state to state.
        """
        ends_before = _above_diagonal(across).to(across.dtype)
        grad = (across @ ends_before).tril_().sum(-2).add_(whole)
        grad += leaving.flip(-1).cumsum(-1).flip(-1)
        grad[..., 1:] += entering.cumsum(-1)[..., :-1]
        return grad

    def _whole(self) -> Tensor:
        """Decay over the whole chunk, (b h 1 1)."""
        return self.since[:, :, -1:]

    def _read(self, maps: Tensor, state: Tensor) -> Tensor:
        """What maps (b g q n) read from a state: (b h q p)."""
        b, g, q, _ = maps.shape
        read = maps @ self._state_by_group(state).transpose(-1, -2)
        h, p = self.x.shape[1], self.x.shape[-1]
        return read.view(b, g, q, h // g, p).transpose(2, 3).reshape(b, h, q, p)

    def _grouped(self, heads: Tensor) -> Tensor:
        """(b h q s) as (b g e q s)."""
        b, _, q, last = heads.shape
        return heads.view(b, self.B.shape[1], -1, q, last)

    def _by_group(self, heads: Tensor) -> Tensor:
        """(b h q p) as (b g q e p), the last two merged."""
        return self._grouped(heads).transpose(2, 3).flatten(3)

    def _state_by_group(self, state: Tensor) -> Tensor:
        """(b h p n) as (b g ep n)."""
        return state.reshape(len(state), self.B.shape[1], -1, state.shape[-1])


def _chunks(steps: int) -> list[slice]:
    return [slice(s, min(s + CHUNK_STEPS, steps)) for s in range(0, steps, CHUNK_STEPS)]


def _above_diagonal(square: Tensor) -> Tensor:
    q = square.shape[-1]
    return torch.ones(q, q, dtype=torch.bool, device=square.device).triu_(1)
