"""How the blocks of a network are run in training: in which precision, and what they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from finchaos.core.errors import InputError

Precision = Literal["float32", "bfloat16"]


@contextmanager
def run_blocks(
    network: nn.Module, *, precision: Precision = "float32", recompute: bool = False
) -> Iterator[None]:
    """Run each module of ``network.blocks`` in another way inside, and as before afterwards.

    Parameters
    ----------
    network : torch.nn.Module
        With a list of modules ``blocks``, unless nothing is asked for.
    precision : {"float32", "bfloat16"}
        Precision of the products in the blocks (autocast). Weights, what enters and leaves a
        block, heads and losses keep theirs. On a processor it need not be faster.
    recompute : bool
        Whether a block keeps its input alone and runs again on the way back (gradient
        checkpointing): less memory, up to a third more time, the same gradients.

    Raises
    ------
    InputError
        If the network has no blocks, or its device no bfloat16.

    References
    ----------
    Chen et al. (2016), "Training deep nets with sublinear memory cost", arXiv:1604.06174.
    """
    if precision not in ("float32", "bfloat16"):
        raise InputError("unknown precision", expected="float32 or bfloat16", got=str(precision))
    if precision == "float32" and not recompute:
        yield
        return
    blocks = _blocks(network)
    device = next(network.parameters()).device.type
    if precision == "bfloat16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError("this device does not compute in bfloat16", remedy="train in float32")
    for block in blocks:
        block.__dict__["forward"] = _forward(block, device, precision, recompute)
    try:
        yield
    finally:
        for block in blocks:
            del block.__dict__["forward"]


def _forward(
    block: nn.Module, device: str, precision: Precision, recompute: bool
) -> Callable[..., Any]:
    before: Callable[..., Any] = block.forward

    def run(*inputs: Any, **named: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            return _in_float32(before(*inputs, **named))

    def forward(*inputs: Any, **named: Any) -> Any:
        if recompute and block.training and torch.is_grad_enabled():
            return checkpoint(run, *inputs, use_reentrant=False, **named)
        return run(*inputs, **named)

    return forward


def _in_float32(outputs: Any) -> Any:
    """What leaves a block, its first output if there are several, out of reduced precision."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype == torch.bfloat16 else outputs
    if type(outputs) is tuple and outputs:
        return (_in_float32(outputs[0]), *outputs[1:])
    return outputs


def _blocks(network: nn.Module) -> list[nn.Module]:
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, nn.ModuleList) or not len(blocks):
        raise InputError(
            "only networks with blocks compute in bfloat16 or run blocks again",
            expected="a torch.nn.ModuleList named blocks",
            got=type(network).__name__,
        )
    return list(blocks)
