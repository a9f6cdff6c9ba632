"""Gradients that can be taken once, and say so when they are taken again.

PyTorch's own ``once_differentiable`` gives a gradient without a graph where what flows back needs
none, as behind a sum: a second derivative through it is then silently taken for zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

import torch
from torch import Tensor

from finchaos.core.errors import InputError

Backward = Callable[..., Any]


def refuse_second(ctx: Any, *grads: Any) -> NoReturn:
    """The backward of a backward.

    Raises
    ------
    InputError
        Always.
    """
    raise InputError(
        "a gradient through a state-space layer is differentiated a second time",
        expected="first derivatives",
        got="a second derivative, as of a gradient penalty",
        remedy='choose backend="reference", which PyTorch differentiates any number of times',
    )


class _Refusal(torch.autograd.Function):
    """Gradients as they are, which depend on their sources and are not differentiated in them."""

    @staticmethod
    def forward(
        ctx: Any, gradients: tuple[Tensor | None, ...], *sources: Tensor
    ) -> tuple[Tensor | None, ...]:
        return tuple(None if v is None else v.detach() for v in gradients)

    backward = staticmethod(refuse_second)


class _Context:
    """A function's context that unpacks saved tensors one time, as recomputation wants it."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self.saved_tensors: tuple[Tensor | None, ...] = ctx.saved_tensors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


def differentiable_once(backward: Backward) -> Backward:
    """Make the gradients that a function's ``backward`` returns refuse to be differentiated."""

    @wraps(backward)
    def once(ctx: Any, *grads: Tensor) -> Any:
        again, known = torch.is_grad_enabled(), _Context(ctx)
        with torch.no_grad():
            made = backward(known, *grads)
        if not again:
            return made
        sources = [v for v in (*grads, *known.saved_tensors) if v is not None and v.requires_grad]
        several = made if isinstance(made, tuple) else (made,)
        refusing = _Refusal.apply(several, *sources)  # type: ignore[no-untyped-call]
        return refusing if isinstance(made, tuple) else refusing[0]

    return once
