"""Three functions of mamba-ssm and causal-conv1d in plain PyTorch, as their sources define them.

Signatures, layouts, checks and omissions are those of mamba-ssm 2.3.2 and causal-conv1d 1.7.0: what
their kernels refuse is refused here, and what they leave without a gradient has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import conv1d, silu, softplus

from finchaos.ssm.cuda.packages import Kernels

HALVES = (torch.float32, torch.float16, torch.bfloat16)


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    batch, channels, time = u.shape
    states = A.shape[1]
    assert u.dtype in HALVES
    assert states <= 256
    assert A.shape == (channels, states)
    for moving, shape in ((delta, u.shape), (z, u.shape), (B, (batch, states, time)), (C, B.shape)):
        assert moving is None or (moving.dtype == u.dtype and moving.shape == shape)
    for fixed in (A, D, delta_bias):
        assert fixed is None or (fixed.dtype == torch.float32 and fixed.stride(-1) in (0, 1))
    assert delta_bias is None or delta_bias.stride(-1) == 1 or delta_bias.numel() == 1
    for moving in (u, delta, z, B, C):
        assert moving is None or moving.stride(-1) == 1 or time == 1
        _check_vectors(moving)
    step = delta.float() if delta_bias is None else delta.float() + delta_bias[:, None]
    step = softplus(step) if delta_softplus else step
    h = A.new_zeros(batch, channels, states)
    outputs = []
    for t in range(time):
        driven = (step * u.float())[:, :, t, None] * B.float()[:, None, :, t]
        h = torch.exp(step[:, :, t, None] * A) * h + driven
        outputs.append((h * C.float()[:, None, :, t]).sum(-1))
    y = torch.stack(outputs, 2)
    y = y if D is None else y + D[:, None] * u.float()
    y = (y if z is None else y * silu(z.float())).to(u.dtype)
    if y.requires_grad:
        y.register_hook(lambda grad: _check_vectors(grad) if grad.stride(-1) == 1 else None)
        y = y.view_as(y)  # Its hooks, of the caller, come before.
    # The last state has a place in the graph and no gradient.
    return (y, h.detach() + 0.0 * y.float().sum()) if return_last_state else y


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    return_varlen_states: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    batch, time, heads, width = x.shape
    assert B.shape == C.shape == (batch, time, B.shape[2], B.shape[3])
    assert heads % B.shape[2] == 0
    # Their gradients are made like them, and the kernel looks at those.
    assert all(v.stride(-1) == 1 or v.stride(1) == 1 for v in (B, C))
    assert dt.shape == (batch, time, heads)
    assert A.shape == (heads,)
    assert D is None or D.shape in ((heads, width), (heads,))
    assert chunk_size & (chunk_size - 1) == 0
    assert x.dtype in HALVES
    step = dt.float() if dt_bias is None else dt.float() + dt_bias
    # The kernels' own softplus is log(1 + exp(dt)), coarse for small steps.
    step = torch.log(1.0 + torch.exp(step)) if dt_softplus else step
    step = step.clamp(*dt_limit)
    H = x.new_zeros(batch, heads, width, B.shape[3], dtype=torch.float32)
    H = H if initial_states is None else initial_states.float()
    per_group = heads // B.shape[2]
    B, C = (v.float().repeat_interleave(per_group, 2) for v in (B, C))
    outputs = []
    for t in range(time):
        driven = (step[:, t, :, None] * x.float()[:, t])[..., None] * B[:, t, :, None]
        H = torch.exp(step[:, t] * A)[..., None, None] * H + driven
        outputs.append((H * C[:, t, :, None]).sum(-1))
    y = torch.stack(outputs, 1)
    if D is not None:
        y = y + (D if D.dim() == 2 else D[:, None]) * x.float()
    y = (y if z is None else y * silu(z.float())).to(x.dtype)
    return (y, H) if return_final_states else y


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    batch, channels, _ = x.shape
    width = weight.shape[1]
    assert activation in (None, "silu", "swish")
    assert 2 <= width <= 4
    assert x.dtype in HALVES
    assert x.stride(2) == 1 or x.stride(1) == 1
    channels_last = x.stride(1) == 1 and x.stride(2) > 1
    if channels_last:
        assert channels % 8 == 0
        _check_strides(x)
        assert x.storage_offset() * x.element_size() % 16 == 0
    if bias is not None:
        assert bias.dtype == weight.dtype
        assert bias.stride(-1) == 1
    before = x.new_zeros(batch, channels, width - 1)
    if initial_states is not None:
        assert channels_last
        assert initial_states.dtype == x.dtype
        assert initial_states.shape == before.shape
        assert initial_states.stride(1) == 1
        before = initial_states
    padded = torch.cat([before, x], 2).to(weight.dtype)
    y = conv1d(padded, weight[:, None], bias, groups=channels)
    y = (silu(y) if activation else y).to(x.dtype)
    if channels_last and y.requires_grad:
        # The layout of the output is that of the input, and the backward pass checks its gradient.
        y = y.transpose(1, 2).contiguous().transpose(1, 2)
        y.register_hook(lambda grad: _check_strides(grad) if grad.stride(1) == 1 else None)
    return y


def _check_strides(x: Tensor) -> None:
    assert x.stride(2) % 8 == 0, "strides must be multiples of 8"
    assert x.stride(0) % 8 == 0, "strides must be multiples of 8"


def _check_vectors(x: Tensor | None) -> None:
    """Their kernels do not look, and would fail on the GPU for good."""
    if x is None or x.shape[-1] % 128:
        return
    places = (x.storage_offset(), *x.stride()[:-1])
    assert all(place * x.element_size() % 16 == 0 for place in places), "misaligned address"


class Products:
    """Counts where the kernels run within the setting of their precision."""

    def __init__(self) -> None:
        self.entered = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.entered += 1
        yield


def stand_ins(products: Products | None = None) -> Kernels:
    return Kernels(
        selective_scan_fn, mamba_chunk_scan_combined, causal_conv1d_fn, products or Products()
    )
