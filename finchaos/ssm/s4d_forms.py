"""Two fast forms of the S4D recurrence: by chunks of time, and as one convolution by FFT.

**By chunks** of q steps everything is a matrix product for each channel. With v the inputs of a
chunk and H the state before it,

    y = v . within + H . leaving        H' = decay^q H + v . entering

and only H goes from chunk to chunk. ``within`` is triangular with true zeros above its diagonal, so
what comes later cannot touch an output, not even in its last bit.

**As one convolution** y is the kernel of all lags times the input by FFT. Each output then carries
rounding errors of the whole sequence, those of later inputs included. States are found as above.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import scipy.fft
import torch
from torch import Tensor
from torch.nn.functional import pad

from finchaos.ssm.once import differentiable_once
from finchaos.ssm.s4d_kernel import Modes, as_complex, as_real, kernel_of, powers

FORMS = ("chunked", "fft")
_MOST_DOUBLINGS = 6
"""Of a chunk's steps: at most 64, longer ones are no faster on a CPU."""


class Tables(NamedTuple):
    """What a form computes from the modes alone; q steps a chunk.

    Attributes
    ----------
    since : torch.Tensor, shape (h, q + 1, n)
        Decays over 0 to q steps, complex.
    entering : torch.Tensor, shape (h, q, 2n)
        From the inputs of a chunk to the state after it.
    leaving : torch.Tensor, shape (h, q, 2n)
        From the state before a chunk to its outputs.
    within : torch.Tensor, shape (h, q, q), or None
        From inputs to outputs of a chunk; form ``chunked``.
    kernel : torch.Tensor, shape (h, t), or None
        Weights of all lags; form ``fft``.
    """

    since: Tensor
    entering: Tensor
    leaving: Tensor
    within: Tensor | None
    kernel: Tensor | None


def tables(modes: Modes, form: str, steps: int, dtype: torch.dtype) -> Tables:
    """Tables for sequences of ``steps``, in a real type and its complex one."""
    with torch.autocast(modes.decay.device.type, enabled=False):
        return _tables(modes, form, steps, dtype)


def _tables(modes: Modes, form: str, steps: int, dtype: torch.dtype) -> Tables:
    q = _chunk_steps(steps)
    since = powers(modes.decay, q + 1, dtype)
    drive, readout = modes.drive.to(since.dtype), modes.readout.to(since.dtype)
    entering = as_real(since[:, :q].flip(1) * drive.unsqueeze(1))
    leaving = as_real((since[:, 1:] * readout.unsqueeze(1)).conj().resolve_conj())
    if form == "fft":
        kernel = _with_skip(kernel_of(modes, steps, dtype), modes.skip)
        return Tables(since, entering, leaving, None, kernel)
    backwards = entering @ as_real(readout.conj().resolve_conj()).unsqueeze(-1)
    kernel = _with_skip(backwards.squeeze(-1).flip(1), modes.skip)
    return Tables(since, entering, leaving, _triangle(kernel), None)


def _with_skip(kernel: Tensor, skip: Tensor | None) -> Tensor:
    """Kernel (h t) of the whole filter: the skip is one more weight of lag zero."""
    if skip is None:
        return kernel
    return kernel + pad(skip.to(kernel.dtype).unsqueeze(-1), (0, kernel.shape[1] - 1))


def table_key(form: str, steps: int) -> int:
    """Sequences of the same key have the same tables."""
    return steps if form == "fft" else _chunk_steps(steps)


def run(
    u: Tensor, found: Tables, start: Tensor | None, counts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Outputs (b t h), and states after ``counts`` steps.

    Parameters
    ----------
    u : torch.Tensor, shape (b, t, h)
    found : Tables
    start : torch.Tensor, shape (b, h, n), or None
        State before the first step, zero if None.
    counts : torch.Tensor, shape (b, k), or None
        The states after this many steps are returned, (b, k, h, n); that after all if None, k = 1.
    """
    b, t, h = u.shape
    q, n = found.entering.shape[1], found.since.shape[-1]
    c = -(-t // q)
    v = pad(u, (0, 0, 0, c * q - t)) if c * q != t else u
    v = v.view(b, c, q, h).permute(3, 1, 0, 2).reshape(h, c * b, q)
    entered = as_complex(v @ found.entering).view(h, c, b, n)
    first = entered.new_zeros(h, b, n) if start is None else start.transpose(0, 1)
    before, last = _carry(entered, found.since[:, q], first)
    if found.kernel is not None:
        y = convolve(u.transpose(1, 2), found.kernel).transpose(1, 2)
        if start is not None:
            free, _ = _carry(torch.zeros_like(entered), found.since[:, q], first)
            y = y + _in_time(_leave(free, found), b, t)
    else:
        assert found.within is not None  # noqa: S101  (for the type checker)
        y = _in_time(torch.baddbmm(_leave(before, found), v, found.within), b, t)
    if counts is None and c * q == t:
        return y, last.transpose(0, 1).unsqueeze(1)
    counts = torch.full((b, 1), t, device=u.device) if counts is None else counts
    return y, _states_after(counts, u, before, found)


def _leave(before: Tensor, found: Tables) -> Tensor:
    """What the states before each chunk (h c b n) add to its outputs (h cb q)."""
    return as_real(before.flatten(1, 2)) @ found.leaving.transpose(1, 2)


def _in_time(chunks: Tensor, b: int, t: int) -> Tensor:
    """(h cb q) as (b t h), without what was added at the end."""
    h, _, q = chunks.shape
    return chunks.view(h, -1, b, q).permute(2, 1, 3, 0).reshape(b, -1, h)[:, :t]


def _states_after(counts: Tensor, u: Tensor, before: Tensor, found: Tables) -> Tensor:
    """States (b k h n) from those before each chunk (h c b n) and the rest of the inputs."""
    q = found.entering.shape[1]
    chunk = (counts // q).clamp(max=before.shape[1] - 1)
    rest = counts - chunk * q
    # The inputs of the rest, brought to the end of a chunk whose beginning is empty.
    row = torch.arange(q, device=u.device) - q + counts.unsqueeze(-1)
    missing = row < (chunk * q).unsqueeze(-1)
    sequence = torch.arange(len(u), device=u.device).unsqueeze(-1)
    inputs = u[sequence.unsqueeze(-1), row.clamp(min=0)].masked_fill(missing.unsqueeze(-1), 0.0)
    entered = as_complex(torch.einsum("bkqh,hqn->bkhn", inputs, found.entering).contiguous())
    decay = found.since.transpose(0, 1)[rest]
    return decay * before.permute(2, 1, 0, 3)[sequence, chunk] + entered


def convolve(u: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution along time of u (b h t) with a kernel (h t) for each channel, by FFT."""
    apply: Any = _Convolution.apply
    convolved: Tensor = apply(u, kernel)
    return convolved


class _Convolution(torch.autograd.Function):
    """By hand, since a gradient through ``rfft`` takes a complex transform of twice the work."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor) -> Tensor:
        steps = u.shape[-1]
        # Twice the length: the end must not come round to the beginning.
        length = scipy.fft.next_fast_len(2 * steps, real=True)
        spectra = torch.fft.rfft(u, length), torch.fft.rfft(kernel, length)
        ctx.save_for_backward(*spectra)
        ctx.length = length
        return torch.fft.irfft(spectra[0] * spectra[1], length)[..., :steps]

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        u, kernel = ctx.saved_tensors
        steps, length = grad.shape[-1], ctx.length
        spectrum = torch.fft.rfft(grad, length)
        grad_kernel = torch.fft.irfft((spectrum * u.conj()).sum(0), length)[..., :steps]
        return torch.fft.irfft(spectrum * kernel.conj(), length)[..., :steps], grad_kernel


def _carry(entered: Tensor, decay: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """States before each chunk (h c b n) and after the last (h b n) from what enters in each."""
    apply: Any = _Carry.apply
    before, last = apply(entered, decay, start, False)
    return before, last


class _Carry(torch.autograd.Function):
    """The recurrence over chunks; its gradient is the same recurrence from the other end."""

    @staticmethod
    def forward(
        ctx: Any, entered: Tensor, decay: Tensor, start: Tensor, backwards: bool
    ) -> tuple[Tensor, Tensor]:
        h, c, b, n = entered.shape
        order = range(c - 1, -1, -1) if backwards else range(c)
        wide = decay.unsqueeze(1).expand(h, b, n).contiguous()
        before = torch.empty_like(entered, memory_format=torch.contiguous_format)
        before[:, order[0]] = start
        for now, after in pairwise(order):
            torch.addcmul(entered[:, now], wide, before[:, now], out=before[:, after])
        last = torch.addcmul(entered[:, order[-1]], wide, before[:, order[-1]])
        ctx.save_for_backward(decay, before)
        ctx.backwards = backwards
        return before, last

    @staticmethod
    def backward(ctx: Any, grad_before: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        decay, before = ctx.saved_tensors
        apply: Any = _Carry.apply
        conjugate = decay.conj().resolve_conj()
        grad_entered, grad_start = apply(grad_before, conjugate, grad_last, not ctx.backwards)
        grad_decay = (grad_entered * before.conj()).sum((1, 2))
        return grad_entered, grad_decay, grad_start, None


def _chunk_steps(steps: int) -> int:
    """Near the root of the length, where tables and carried states cost about the same."""
    return 2 ** min(_MOST_DOUBLINGS, ((steps - 1).bit_length() + 1) // 2)


def _triangle(kernel: Tensor) -> Tensor:
    """Weights (h q q) of the inputs (rows) in the outputs (columns), zero for later inputs."""
    h, q = kernel.shape
    # Rows of 2 q written one after the other and read as rows of 2 q - 1: each is shifted by one.
    rows = pad(kernel, (0, q)).unsqueeze(1).expand(h, q, 2 * q).reshape(h, 2 * q * q)
    return rows[:, : q * (2 * q - 1)].view(h, q, 2 * q - 1)[..., :q].contiguous()
