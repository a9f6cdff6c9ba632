"""The causal convolution by ``causal_conv1d_fn`` of causal-conv1d.

Its kernel for channels-last rows wants channels and strides in multiples of 8 and aligned memory;
given other strides it computes something else or refuses. Rows that do not fit are copied, and
channels filled up.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from finchaos.ssm.cuda.packages import given, kernels
from finchaos.ssm.inputs import padding, parameter_dtype

WIDTHS = range(2, 5)
"""Widths there are kernels for."""
_LANES, _ALIGNED_BYTES = 8, 16


def conv_limit(dtype: torch.dtype, width: int) -> str | None:
    """What in a call the kernel cannot do; None if it can."""
    if dtype == torch.float64:
        return "causal-conv1d has no kernels for float64"
    if width not in WIDTHS:
        return f"causal-conv1d has kernels for widths from {WIDTHS[0]} to {WIDTHS[-1]}, not {width}"
    return None


def causal_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The door's arguments to the kernel; see :func:`finchaos.ssm.conv.causal_conv`.

    The kernel takes a state of the dtype of ``x`` only. Where that is less than float32 and a state
    is given, all is computed in float32.
    """
    channels = x.shape[2]
    state = given(initial_state)
    rows = x if state is None else x.to(parameter_dtype(x.dtype))
    missing = -channels % _LANES
    if missing:
        rows, weight = pad(rows, (0, missing)), pad(weight, (0, 0, 0, missing))
        bias = None if bias is None else pad(bias, (0, missing))
    y = kernels().causal_conv(
        _fit(rows).transpose(1, 2),
        weight.contiguous(),
        None if bias is None else bias.contiguous(),
        initial_states=None if state is None else _fit(pad(state, (0, missing))).transpose(1, 2),
        activation=activation,
    )
    y = y.transpose(1, 2)
    if y.requires_grad:
        y.register_hook(_fit)
    y = y[..., :channels].to(x.dtype)
    after = padding(lengths, x.shape[1])
    if after is not None:
        y = y.masked_fill(after.unsqueeze(-1), 0.0)
    return y, _last_inputs(x, weight.shape[1] - 1, initial_state, lengths)


def _fit(rows: Tensor) -> Tensor:
    """Rows (b t d) as the kernel wants them: themselves, or a copy."""
    batch, row, number = rows.stride()
    fits = (
        number == 1
        and row >= rows.shape[2]
        and batch >= row * rows.shape[1]
        and row % _LANES == batch % _LANES == 0
        and rows.storage_offset() * rows.element_size() % _ALIGNED_BYTES == 0
    )
    return rows if fits else rows.clone(memory_format=torch.contiguous_format)


def _last_inputs(x: Tensor, count: int, before: Tensor | None, lengths: Tensor | None) -> Tensor:
    """The last ``count`` inputs of each row, in the dtype of a state."""
    batch, time, channels = x.shape
    exact = parameter_dtype(x.dtype)
    if before is None:
        before = x.new_zeros(batch, count, channels, dtype=exact)
    if lengths is None:
        return torch.cat([before, x[:, max(0, time - count) :].to(exact)], 1)[:, -count:]
    places = lengths.unsqueeze(1) + torch.arange(count, device=x.device)
    every = torch.cat([before, x.to(exact)], 1)
    return every.gather(1, places.unsqueeze(-1).expand(-1, -1, channels))
