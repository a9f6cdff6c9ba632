"""S4D against its published form: one exponential for each mode and lag, and a convolution by FFT.

Under the environment of :mod:`benchmarks.machine`. Without its allocator settings every large
temporary of the peer is given back to the system and asked for again, which costs it another half
of its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.compare import Comparison, compare
from finchaos.ssm.s4d import S4D, S4DConfig
from finchaos.ssm.s4d_kernel import kernel_of

CHANNELS, STATES, BATCH = 64, 64, 32
LENGTHS = (128, 512, 2048)
Gradients = Callable[[], tuple[Tensor, ...]]


def s4d_kernel(rounds: int) -> list[Comparison]:
    """The kernel alone, forward and backward, at three lengths."""
    return [_kernel(steps, rounds) for steps in LENGTHS]


def s4d_filters(rounds: int) -> list[Comparison]:
    """Filters of a training batch, forward and backward, in both forms; ours with last states."""
    return [_filters(steps, form, rounds) for steps in LENGTHS for form in ("chunked", "fft")]


def _kernel(steps: int, rounds: int) -> Comparison:
    layer = _layer("chunked")
    parameters = list(layer.kernel.parameters())
    weights = _normal(CHANNELS, steps, seed=1)

    def ours() -> tuple[Tensor, ...]:
        kernel = kernel_of(layer.kernel.modes("zoh"), steps, torch.float32)
        return kernel.detach(), *torch.autograd.grad(kernel, parameters, weights)

    def theirs() -> tuple[Tensor, ...]:
        kernel = _direct(layer, steps)
        return kernel.detach(), *torch.autograd.grad(kernel, parameters, weights)

    _require_equal(ours, theirs)
    work = f"S4D kernel, {CHANNELS} channels, {STATES} states, {steps} lags, forward and backward"
    return compare(work, "direct Vandermonde in PyTorch", ours, theirs, rounds)


def _filters(steps: int, form: str, rounds: int) -> Comparison:
    layer = _layer(form)
    leaves = [_normal(BATCH, steps, CHANNELS, seed=2).requires_grad_(), layer.D]
    leaves += list(layer.kernel.parameters())
    weights = _normal(BATCH, steps, CHANNELS, seed=3)

    def ours() -> tuple[Tensor, ...]:
        y = layer.scan(leaves[0]).y
        return y.detach(), *torch.autograd.grad(y, leaves, weights)

    def theirs() -> tuple[Tensor, ...]:
        u = leaves[0].transpose(1, 2)
        spectra = (torch.fft.rfft(v, n=2 * steps) for v in (u, _direct(layer, steps)))
        y = torch.fft.irfft(math.prod(spectra), n=2 * steps)[..., :steps]
        y = (y + u * layer.D.unsqueeze(-1)).transpose(1, 2)
        return y.detach(), *torch.autograd.grad(y, leaves, weights)

    _require_equal(ours, theirs)
    sizes = f"{BATCH} x {steps} x {CHANNELS}, {STATES} states"
    work = f"S4D filters ({form}), {sizes}, forward and backward"
    return compare(work, "direct Vandermonde and FFT in PyTorch", ours, theirs, rounds)


def _direct(layer: S4D, steps: int) -> Tensor:
    """The kernel as published, in the working precision."""
    kernel = layer.kernel
    rates = torch.complex(-torch.exp(kernel.log_A_real), kernel.A_imag)
    z = rates * torch.exp(kernel.log_dt).unsqueeze(-1)
    weights = torch.view_as_complex(kernel.C) * (torch.exp(z) - 1) / rates
    powers = torch.exp(z.unsqueeze(-1) * torch.arange(steps))
    return 2 * torch.einsum("hn,hnl->hl", weights, powers).real


def _layer(form: str) -> S4D:
    return S4D(S4DConfig(CHANNELS, STATES, form=form), torch.Generator().manual_seed(0))


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _require_equal(ours: Gradients, theirs: Gradients) -> None:
    """Refuse to time answers that disagree; the peer's own error is about 1e-5."""
    for a, b in zip(ours(), theirs(), strict=True):
        worst = float((a - b).abs().max() / b.abs().max())
        if not worst < 1e-4:
            raise RuntimeError(f"ours and the peer's differ by {worst} of the largest value")
