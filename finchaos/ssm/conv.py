"""The short causal convolution before a scan, with the inputs it remembers as its state."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu

from finchaos.core.errors import InputError
from finchaos.ssm import cuda, native
from finchaos.ssm.backends import AUTO, choose_backend
from finchaos.ssm.inputs import (
    check_finite,
    check_lengths,
    check_shapes,
    check_types,
    padding,
    parameter_dtype,
)

_COMPILED = {"cpu": native.causal_conv, "cuda": cuda.causal_conv}


def causal_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = None,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    backend: str = AUTO,
) -> tuple[Tensor, Tensor]:
    """Convolve each channel with its own kernel over the present and the w - 1 last inputs.

    Parameters
    ----------
    x : torch.Tensor, shape (b, t, d)
    weight : torch.Tensor, shape (d, w)
        The last column weighs the present input.
    bias : torch.Tensor, shape (d,), optional
    activation : {None, "silu"}
    initial_state : torch.Tensor, shape (b, w - 1, d), optional
        The inputs before the first, oldest first; zero by default.
    lengths : torch.Tensor of integers, shape (b,), optional
        Steps of each row; what follows is padding.
    backend : str
        See :mod:`finchaos.ssm.backends`.

    Returns
    -------
    y : torch.Tensor, shape (b, t, d)
        In the dtype of ``x``; zero where a row is padding.
    last_state : torch.Tensor, shape (b, w - 1, d)
        The last inputs of each row, in the dtype of the state.

    Raises
    ------
    InputError
        If a tensor does not fit, mixes dtypes, or holds NaN or infinity.

    Examples
    --------
    >>> x = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> y, state = causal_conv(x, torch.tensor([[0.5, 1.0]]), backend="torch")
    >>> y.flatten().tolist(), state.flatten().tolist()
    ([1.0, 2.5, 4.0], [3.0])
    """
    fixed = {"weight": weight, "bias": bias, "initial_state": initial_state}
    _check("b t", x, fixed, activation)
    check_lengths(lengths, *x.shape[:2])
    name = choose_backend(backend, x.device, cuda.conv_limit(x.dtype, weight.shape[1])).name
    with torch.autocast(x.device.type, enabled=False):
        door = _COMPILED.get(name, _convolve)
        return door(x, weight, bias, activation, initial_state, lengths)


def causal_conv_step(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = None,
    state: Tensor,
) -> tuple[Tensor, Tensor]:
    """One step of :func:`causal_conv`: ``x`` is (b, d), ``state`` (b, w - 1, d) stays unchanged.

    Raises
    ------
    InputError
        As :func:`causal_conv`.
    """
    _check("b", x, {"weight": weight, "bias": bias, "state": state}, activation)
    window = torch.cat([state, x.to(state.dtype).unsqueeze(1)], dim=1)
    y = (window * weight.T).sum(1)
    y = y if bias is None else y + bias
    return (silu(y) if activation == "silu" else y).to(x.dtype), window[:, 1:]


def _check(along: str, x: Tensor, fixed: dict[str, Tensor | None], activation: str | None) -> None:
    check_types({"x": x}, fixed)
    shapes = {"x": (x, f"{along} d"), "weight": (fixed["weight"], "d w")}
    sizes = check_shapes(shapes | {"bias": (fixed["bias"], "d")})
    name, state = next((k, v) for k, v in fixed.items() if "state" in k)
    wanted = (sizes["b"], sizes["w"] - 1, sizes["d"])
    if state is not None and tuple(state.shape) != wanted:
        raise InputError(
            f"{name} of a convolution has a shape that does not fit",
            expected=f"(b, w - 1, d) = {wanted}",
            got=str(tuple(state.shape)),
        )
    check_finite({"x": x, **fixed})
    if activation not in (None, "silu"):
        raise InputError("no such activation", expected="None or 'silu'", got=repr(activation))


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    batch, time, channels = x.shape
    width = weight.shape[1]
    wide = x.to(parameter_dtype(x.dtype))
    after = padding(lengths, time)
    if after is not None:
        wide = wide.masked_fill(after.unsqueeze(-1), 0.0)
    before = wide.new_zeros(batch, width - 1, channels) if initial_state is None else initial_state
    padded = torch.cat([before, wide], dim=1)
    y = padded[:, :time] * weight[:, 0]
    for lag in range(1, width):
        y = torch.addcmul(y, padded[:, lag : lag + time], weight[:, lag])
    y = y if bias is None else y + bias
    y = silu(y) if activation == "silu" else y
    if lengths is None or after is None:
        return y.to(x.dtype), padded[:, time:]
    places = lengths.unsqueeze(1) + torch.arange(width - 1, device=x.device)
    last = padded.gather(1, places.unsqueeze(-1).expand(-1, -1, channels))
    return y.masked_fill(after.unsqueeze(-1), 0.0).to(x.dtype), last
