"""Whether one compiled kernel does a whole layer, and with what it is fed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from finchaos.ssm import native
from finchaos.ssm.backends import choose_backend
from finchaos.ssm.inputs import (
    check_finite,
    check_lengths,
    refuse_tangents,
    values_are_known,
)


def is_compiled(backend: str, x: Tensor, like: Tensor) -> bool:
    """Whether a layer with weights like ``like`` is one kernel for the input ``x``.

    Mixed precision and graphs that are being traced go by parts.
    """
    apart = torch.is_autocast_enabled(x.device.type) or not values_are_known()
    whole = x.dtype == like.dtype and x.dtype in (torch.float32, torch.float64)
    return whole and not apart and choose_backend(backend, x.device).name == "cpu"


def run_compiled(
    layer: native.Layer,
    weights: Sequence[Tensor | None],
    x: Tensor,
    state: tuple[Tensor, Tensor] | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer by its kernel, from the states of convolution and scan, or from nothing.

    Raises
    ------
    InputError
        If a weight or a state holds NaN or infinity, or the lengths do not fit.
    """
    refuse_tangents({"x": x})
    named = zip(layer.kernel.weights, weights, strict=True)
    check_finite({f"the layer's weight {name}": weight for name, weight in named})
    check_lengths(lengths, *x.shape[:2])
    if state is not None:
        check_finite(dict(zip(("state.conv", "state.ssm"), state, strict=True)))
    return native.run_layer(layer, x, weights, state or (None, None), lengths)
