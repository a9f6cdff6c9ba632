"""The selective scan by ``selective_scan_fn`` of mamba-ssm, and what that function lacks.

It takes time last, starts from nothing, gives no states but the last, and that one without its
gradient. States enter and leave it by additional steps instead, which are exact in floating point:

- a step so short that nothing decays, exp(2^-48 A) = 1, with the input 2^48 h[:, j] and B the unit
  vector j adds h[:, j] to state j and nothing to the others: n such steps write a state;
- a step of size zero with C the unit vector j leaves every state as it is and puts out state j: n
  such steps read a state, and carry its gradient back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from finchaos.core.errors import InputError
from finchaos.ssm.cuda.packages import given, kernels
from finchaos.ssm.inputs import ScanOutput, padding, values_are_known
from finchaos.ssm.once import differentiable_once
from finchaos.ssm.reference import stack_states

MOST_STATES = 256
"""States of a channel that the kernels have room for."""
_SHORT = 2.0**-48
"""Powers of two scale exactly. exp2f of it times A is 1 for rates up to 4e6."""
_ALIGNED_BYTES = 16


def scan_limit(dtype: torch.dtype, states: int) -> str | None:
    """What in a call the kernels cannot do; None if they can."""
    if dtype == torch.float64:
        return "mamba-ssm has no kernels for float64"
    if states > MOST_STATES:
        return f"mamba-ssm has kernels for at most {MOST_STATES} states, not {states}"
    return None


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    lengths: Tensor | None,
    keep: Sequence[int] | None,
) -> ScanOutput:
    """The door's arguments to the kernel and back; see :func:`finchaos.ssm.scan.selective_scan`.

    A state before the first step costs n steps, and every kept state n. The gradient of the last
    state is computed by a second scan, and only where it is asked for.
    """
    if not delta_softplus:
        _refuse_negative(delta, delta_bias)
    raw = _Raw(delta, delta_bias, delta_softplus)
    state = given(initial_state)
    if state is None and lengths is None and keep is None:
        return _plain(u, raw, A, B, C, D, z)
    step = raw.step()
    after = padding(lengths, u.shape[1])
    if after is not None:
        # A step of size zero neither decays nor drives: the state stays, bit for bit.
        step = step.masked_fill(after.unsqueeze(-1), 0.0)
    drive = u.float()
    y, last, states = _recurrence(drive, step, A, B.float(), C.float(), state, keep)
    if D is not None:
        y = y + D * drive
    if z is not None:
        y = y * silu(z.float())
    if after is not None:
        y = y.masked_fill(after.unsqueeze(-1), 0.0)
    return ScanOutput(y.to(u.dtype), last, states)


class _Raw(NamedTuple):
    """What the step sizes (b t d) are computed from."""

    delta: Tensor
    bias: Tensor | None
    positive: bool

    def step(self) -> Tensor:
        step = self.delta.float()
        step = step if self.bias is None else step + self.bias
        # A high threshold: the default would cut to the identity at 20, an error of 2e-9.
        return softplus(step, threshold=50.0) if self.positive else step


def _plain(
    u: Tensor, raw: _Raw, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None
) -> ScanOutput:
    """One call of the kernel, everything fused."""
    y, last = kernels().selective_scan(
        _time_last(u),
        _time_last(raw.delta),
        A.contiguous(),
        _time_last(B),
        _time_last(C),
        None if D is None else D.contiguous(),
        None if z is None else _time_last(z),
        None if raw.bias is None else raw.bias.contiguous(),
        raw.positive,
        return_last_state=True,
    )
    if y.requires_grad:
        y.register_hook(_fit)
    # The kernel's own last state would pass for differentiable and give no gradient.
    last = last.detach().contiguous()
    if torch.is_grad_enabled():
        apply: Any = _LastState.apply
        last = apply(last, u, raw.delta, A, B, raw.bias, raw.positive)
    return ScanOutput(y.transpose(1, 2), last, None)


class _LastState(torch.autograd.Function):
    """The last state, known, with its gradient by a scan of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        last: Tensor,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        bias: Tensor | None,
        positive: bool,
    ) -> Tensor:
        ctx.save_for_backward(u, delta, A, B, bias)
        ctx.positive = positive
        return last.view_as(last)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[1:6]
        inputs = [
            None if x is None else x.detach().requires_grad_(want)
            for x, want in zip(ctx.saved_tensors, wanted, strict=True)
        ]
        u, delta, A, B, bias = inputs
        assert u is not None and delta is not None and A is not None and B is not None  # noqa: S101, PT018
        with torch.enable_grad(), torch.autocast(u.device.type, enabled=False):
            step = _Raw(delta, bias, ctx.positive).step()
            _, last, _ = _recurrence(u.float(), step, A, B.float(), torch.zeros_like(B).float())
            leaves = [x for x, want in zip(inputs, wanted, strict=True) if want]
            found = iter(torch.autograd.grad(last, leaves, grad))  # type: ignore[arg-type]
        return None, *(next(found) if want else None for want in wanted), None


def _recurrence(
    u: Tensor,
    step: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor | None = None,
    keep: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Outputs, the last state and those after the steps to keep, all differentiable, in float32.

    Shapes as in :func:`finchaos.ssm.scan.selective_scan`; ``step`` is the step size itself.
    """
    time, tape = u.shape[1], _Tape(A.shape[1])
    if state is not None:
        tape.write(state, step)
    ends = [t + 1 for t in keep or ()]
    for start, end in pairwise([0, *ends, *([time] if time not in ends else [])]):
        rows = slice(start, end)
        tape.add(*(x[:, rows].transpose(1, 2) for x in (u, step, B, C)))
        tape.read(step)
    pieces = tape.run(A)
    if state is not None:
        pieces = pieces[1:]
    outputs, states = pieces[::2], pieces[1::2]
    y = torch.cat(outputs, 2).transpose(1, 2)
    kept = None if keep is None else stack_states(states[: len(ends)], states[-1])
    return y, states[-1].contiguous(), kept


class _Tape:
    """Pieces of time that follow one another in one call: u and steps b d t, B and C b n t."""

    def __init__(self, states: int) -> None:
        self._states = states
        self._pieces: list[tuple[Tensor, ...]] = []

    def add(self, u: Tensor, step: Tensor, B: Tensor, C: Tensor) -> None:
        """Steps of the sequence itself."""
        self._pieces.append((u, step, B, C))

    def write(self, state: Tensor, like: Tensor) -> None:
        """Steps that set the state (b d n)."""
        units = self._units(like)
        self.add(state / _SHORT, torch.full_like(state, _SHORT), units, torch.zeros_like(units))

    def read(self, like: Tensor) -> None:
        """Steps whose outputs are the state (b d n)."""
        units = self._units(like)
        nothing = like.new_zeros(len(like), like.shape[2], self._states)
        self.add(nothing, nothing, torch.zeros_like(units), units)

    def run(self, A: Tensor) -> list[Tensor]:
        """The outputs of each piece, (b d t)."""
        sequences = [torch.cat(parts, 2) for parts in zip(*self._pieces, strict=True)]
        u, step, B, C = sequences
        y: Tensor = kernels().selective_scan(u, step, A.contiguous(), B, C)
        return list(torch.split(y, [piece[0].shape[2] for piece in self._pieces], 2))

    def _units(self, like: Tensor) -> Tensor:
        units = torch.eye(self._states, dtype=like.dtype, device=like.device)
        return units.expand(len(like), -1, -1)


def _time_last(x: Tensor) -> Tensor:
    """(b t d) as (b d t), as the kernels want it."""
    return _fit(x.transpose(1, 2))


def _fit(rows: Tensor) -> Tensor:
    """Rows (b d t) without gaps, from an address at which the kernels can read 16 bytes at once.

    They do so where the time is a multiple of 128, and look neither at strides nor at addresses.
    """
    rows = rows.contiguous()
    aligned = rows.storage_offset() * rows.element_size() % _ALIGNED_BYTES == 0
    return rows if aligned else rows.clone()


def _refuse_negative(delta: Tensor, bias: Tensor | None) -> None:
    if not values_are_known():
        return
    lowest = float((delta if bias is None else delta + bias).detach().min())
    if lowest < 0:
        raise InputError(
            "delta holds negative step sizes: the state would grow instead of decaying",
            expected="delta + delta_bias >= 0",
            got=f"a minimum of {lowest}",
            remedy="pass delta_softplus=True or apply softplus first",
        )
