"""One step of a stack of layers as a program of its own: torch.export and ONNX.

Inputs and outputs are flat: a row of the sequence first, then the states of each layer, ``conv``
before ``ssm``, and back what follows them. For a stack of two Mamba layers

    x, conv_0, ssm_0, conv_1, ssm_1  ->  y, next_conv_0, next_ssm_0, next_conv_1, next_ssm_1

S4D has ``ssm`` alone, as pairs of real numbers (b h n 2), since runtimes lack complex ones. Start
from :func:`start_tensors`, then feed each output back as the next input. Types and sizes, the
batch too, are those of the export; values are not looked at, so check inputs before. Weights are
copied into an ONNX model, and shared with the layers by a program of torch.export, but for S4D,
whose filters are computed here. TorchScript is not offered, since PyTorch deprecates it in favour
of torch.export.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from finchaos.core.errors import InputError, MissingDependencyError
from finchaos.core.extras import installing
from finchaos.core.files import write_atomic
from finchaos.ssm.layer_inputs import as_stack, check_sizes
from finchaos.ssm.mamba import Mamba, MambaBlock
from finchaos.ssm.mamba2 import Mamba2, Mamba2Block
from finchaos.ssm.s4d import S4D
from finchaos.ssm.s4d_export import S4DRealStep
from finchaos.ssm.states import State, kind_of, parts_of, state_of

_ONNX_TYPES = (torch.float32, torch.float64)
_LAYERS = (MambaBlock, Mamba, Mamba2Block, Mamba2, S4D)


def tensor_names(blocks: Iterable[nn.Module]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the inputs and of the outputs, in order.

    Examples
    --------
    >>> from finchaos.ssm import MambaBlock, MambaConfig, S4D, S4DConfig
    >>> tensor_names([MambaBlock(MambaConfig(d_model=4)), S4D(S4DConfig(d_model=4))])
    (('x', 'conv_0', 'ssm_0', 'ssm_1'), ('y', 'next_conv_0', 'next_ssm_0', 'next_ssm_1'))
    """
    starts = [_initial(block, 1) for block in _checked(blocks)]
    names = tuple(f"{name}_{i}" for i, state in enumerate(starts) for name in parts_of(state))
    return ("x", *names), ("y", *(f"next_{name}" for name in names))


def flat_states(states: Iterable[State]) -> tuple[Tensor, ...]:
    """States of layers as the exported step takes them.

    Raises
    ------
    InputError
        If one is no state of a layer.
    """
    return tuple(part for state in states for part in parts_of(state).values())


def start_tensors(blocks: Iterable[nn.Module], batch: int = 1) -> tuple[Tensor, ...]:
    """The states before anything was seen, as the exported step takes them."""
    return flat_states(_initial(block, batch) for block in _checked(blocks))


def export_step(blocks: Iterable[nn.Module], batch: int = 1) -> ExportedProgram:
    """A step of all layers, one after the other, as a program of torch.export.

    Parameters
    ----------
    blocks : iterable of MambaBlock, Mamba, Mamba2Block, Mamba2 or S4D
        Of one width m and one type, float32 or float64.
    batch : int
        Sequences b that advance together.

    Returns
    -------
    torch.export.ExportedProgram
        ``program.module()(x, *states)`` gives ``(y, *states)``; see above.

    Raises
    ------
    InputError
        If there are no layers, one is of another kind, they differ in width or type, or the batch
        is not a whole number from 1.

    Examples
    --------
    >>> from finchaos.ssm import MambaBlock, MambaConfig
    >>> blocks = [MambaBlock(MambaConfig(d_model=4)) for _ in range(2)]
    >>> step = export_step(blocks).module()
    >>> y, *states = step(torch.ones(1, 4), *start_tensors(blocks))
    >>> y, *states = step(y, *states)
    >>> y.shape, len(states)
    (torch.Size([1, 4]), 4)
    """
    layers = _checked(blocks)
    with torch.no_grad():
        return torch.export.export(_StackStep(layers), _example(layers, batch))


def onnx_step(blocks: Iterable[nn.Module], batch: int = 1) -> bytes:
    """A step of all layers as a serialised ONNX model; names are those of :func:`tensor_names`.

    Parameters
    ----------
    blocks, batch
        As :func:`export_step` takes them; float32 for most runtimes.

    Raises
    ------
    InputError
        As :func:`export_step`, and for other types than float32 and float64.
    MissingDependencyError
        If the packages onnx and onnxscript are absent.
    """
    layers = _checked(blocks)
    if _row(layers[0])[1] not in _ONNX_TYPES:
        raise InputError(
            "runtimes have no such step in ONNX",
            expected=" or ".join(map(str, _ONNX_TYPES)),
            got=str(_row(layers[0])[1]),
            remedy="export the layers in float32: block.float()",
        )
    inputs, outputs = tensor_names(layers)
    with torch.no_grad(), warnings.catch_warnings(), _without_torchvision():
        # The exporter warns of its own insides, of which nobody can do anything here.
        warnings.simplefilter("ignore")
        try:
            program: Any = torch.onnx.export(
                _StackStep(layers),
                _example(layers, batch),
                input_names=inputs,
                output_names=outputs,
                dynamo=True,
                verbose=False,
            )
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "ONNX models cannot be written here",
                got=str(error),
                remedy=installing("onnx"),
            ) from error
    model: bytes = program.model_proto.SerializeToString()
    return model


def export_onnx(blocks: Iterable[nn.Module], path: Path, batch: int = 1) -> None:
    """Write :func:`onnx_step` to a file, which is replaced if it exists.

    Raises
    ------
    InputError, MissingDependencyError
        As :func:`onnx_step`; nothing is written then.
    """
    write_atomic(Path(path), onnx_step(blocks, batch))


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """The exporter logs, each time, which operators of images it has not."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")

    def unless_torchvision(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    log.addFilter(unless_torchvision)
    try:
        yield
    finally:
        log.removeFilter(unless_torchvision)


class _StackStep(nn.Module):
    """All layers advanced by one row; states as a flat sequence of tensors."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        starts = [_initial(layer, 1) for layer in layers]
        self.kinds = [kind_of(state) for state in starts]
        self.parts = [tuple(parts_of(state)) for state in starts]
        steps = (S4DRealStep(layer) if isinstance(layer, S4D) else layer for layer in layers)
        self.layers = nn.ModuleList(steps)

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        given, after = iter(states), list[Tensor]()
        for layer, kind, names in zip(self.layers, self.kinds, self.parts, strict=True):
            parts = {name: next(given) for name in names}
            if isinstance(layer, S4DRealStep):
                x, pairs = layer(x, parts["ssm"])
                after.append(pairs)
            else:
                x, state = cast(Any, layer).step(x, state_of(kind, parts))
                after += parts_of(state).values()
        return (x, *after)


def _example(layers: Sequence[nn.Module], batch: int) -> tuple[Tensor, ...]:
    """Inputs of the right types and sizes."""
    check_sizes("a stack's rows", {"batch": batch})
    width, dtype = _row(layers[0])
    like = next(layers[0].parameters())
    return like.new_zeros(batch, width, dtype=dtype), *start_tensors(layers, batch)


def _row(layer: nn.Module) -> tuple[int, torch.dtype]:
    """Width m and type of what a layer takes."""
    config = cast(Any, getattr(layer, "mixer", layer)).config
    return config.d_model, next(layer.parameters()).dtype


def _initial(block: nn.Module, batch: int) -> State:
    state: State = cast(Any, block).initial_state(batch)
    return state


def _checked(blocks: Iterable[nn.Module]) -> list[nn.Module]:
    layers = as_stack(blocks)
    for i, layer in enumerate(layers):
        if not isinstance(layer, _LAYERS):
            raise InputError(
                f"layer {i} has no step that can be exported",
                expected=" or ".join(kind.__name__ for kind in _LAYERS),
                got=type(layer).__name__,
            )
        if _row(layer) != _row(layers[0]):
            raise InputError(
                f"layer {i} takes other rows than the first",
                expected="width {} and {}".format(*_row(layers[0])),
                got="width {} and {}".format(*_row(layer)),
            )
    if not layers:
        raise InputError("there are no layers to export")
    return layers
