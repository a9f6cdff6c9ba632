"""The scan of Mamba-2 by ``mamba_chunk_scan_combined`` of mamba-ssm.

Step sizes are computed here: the kernels take the logarithm of 1 + exp(dt), which for a step of
1e-3 is wrong in the fifth digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm.cuda.packages import given, kernels
from finchaos.ssm.inputs import ScanOutput, padding
from finchaos.ssm.once import differentiable_once
from finchaos.ssm.ssd_reference import stack_states

CHUNK_STEPS = 64
"""Steps whose products are matrices. Longer chunks cost more work and sum decays over more."""
MOST_NUMBERS = 2**31
"""The kernels count in 32 bits; in a larger tensor they would read elsewhere."""


class StepSize(Protocol):
    """How step sizes come from what the projection gives."""

    def of(self, dt: Tensor) -> Tensor:
        """In float32, not negative."""


def ssd_limit(dtype: torch.dtype) -> str | None:
    """What in a call the kernels cannot do; None if they can."""
    return "mamba-ssm has no kernels for float64" if dtype == torch.float64 else None


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    step: StepSize,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    keep: Sequence[int] | None,
) -> ScanOutput:
    """The door's arguments to the kernels and back; see :func:`finchaos.ssm.ssd.ssd_scan`.

    A kept state costs one more call of the kernels: the sequence is cut there.
    """
    _refuse_large(x, B, z)
    time = x.shape[1]
    delta = step.of(dt)
    after = padding(lengths, time)
    if after is not None:
        # A step of size zero neither decays nor drives: the state stays, bit for bit.
        delta = delta.masked_fill(after.unsqueeze(-1), 0.0)
    state, outputs, kept = given(initial_state), [], []
    ends = [t + 1 for t in keep or ()]
    for start, end in pairwise([0, *ends, *([time] if time not in ends else [])]):
        rows = slice(start, end)
        gate = None if z is None else z[:, rows]
        y, state = _run(x[:, rows], delta[:, rows], A, B[:, rows], C[:, rows], D, gate, state)
        outputs.append(y)
        if end in ends:
            kept.append(state)
    assert state is not None  # noqa: S101  (time is at least one step)
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
    if after is not None:
        y = y.masked_fill(after[..., None, None], 0.0)
    return ScanOutput(y, state, None if keep is None else stack_states(kept, state))


def _run(*tensors: Tensor | None) -> tuple[Tensor, Tensor]:
    wanted = any(x is not None and x.requires_grad for x in tensors)
    if not (torch.is_grad_enabled() and wanted):
        return _call(tensors)
    apply: Any = _ChunkScan.apply
    y, last = apply(*tensors)
    return y, last


def _call(tensors: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    x, delta, A, B, C, D, z, state = tensors
    found = kernels()
    with found.full_products():
        y, last = found.chunk_scan(
            x,
            delta,
            A,
            _with_dense_states(B),
            _with_dense_states(C),
            chunk_size=CHUNK_STEPS,
            D=D,
            z=z,
            initial_states=state,
            return_final_states=True,
        )
    return y, last


def _with_dense_states(maps: Tensor | None) -> Tensor | None:
    """B or C with states side by side: the kernel of its gradient takes the layout from it."""
    if maps is None or maps.stride(-1) == 1:
        return maps
    return maps.clone(memory_format=torch.contiguous_format)


class _ChunkScan(torch.autograd.Function):
    """The kernels' own graph within a node of ours.

    So that the kernels of the backward pass are compiled to full precision too, whatever else the
    process compiles.
    """

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        ctx.inner = [
            None if x is None else x.detach().requires_grad_(x.requires_grad) for x in tensors
        ]
        with torch.enable_grad():
            ctx.outputs = _call(ctx.inner)
        y, last = ctx.outputs
        return y.detach(), last.detach()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        leaves = [x for x in ctx.inner if x is not None and x.requires_grad]
        with kernels().full_products(), torch.autocast(grads[0].device.type, enabled=False):
            found = iter(torch.autograd.grad(ctx.outputs, leaves, grads, retain_graph=True))
        return tuple(next(found) if x is not None and x.requires_grad else None for x in ctx.inner)


def _refuse_large(x: Tensor, B: Tensor, z: Tensor | None) -> None:
    for name, tensor in {"x": x, "B": B, "z": z}.items():
        if tensor is not None and tensor.numel() >= MOST_NUMBERS:
            raise InputError(
                f"{name} is larger than the kernels of mamba-ssm can count",
                expected=f"fewer than {MOST_NUMBERS} numbers",
                got=str(tensor.numel()),
                remedy="cut the batch, or the sequence and carry the state",
            )
