"""Checks of what a layer is configured with and is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from finchaos.core.errors import InputError
from finchaos.ssm.inputs import check_finite, check_tensors, parameter_dtype


def check_sizes(layer: str, sizes: Mapping[str, object]) -> None:
    """Refuse sizes that are not whole numbers from 1.

    Parameters
    ----------
    layer : str
        What the sizes are of.
    sizes : mapping of str to object

    Raises
    ------
    InputError
        Naming the size.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(
                f"sizes of {layer} must be positive whole numbers",
                expected=f"{name} an integer from 1",
                got=repr(size),
            )


def as_stack(blocks: Iterable[nn.Module]) -> list[nn.Module]:
    """The layers of a stack in a list.

    Raises
    ------
    InputError
        If it is a single layer, or nothing that holds layers.
    """
    single = isinstance(blocks, nn.Module) and not isinstance(blocks, nn.ModuleList | nn.Sequential)
    if single or not isinstance(blocks, Iterable):
        raise InputError(
            "a stack is a sequence of layers",
            expected="a list of layers, or a ModuleList",
            got=type(blocks).__name__,
            remedy="pass [layer]" if single else "",
        )
    return list(blocks)


def check_layer_input(x: Tensor, legend: str, weight: Tensor) -> None:
    """Check what goes into a layer against its first weight, shape (outputs, m).

    Raises
    ------
    InputError
        If ``x`` is no tensor, has another shape or type, or holds NaN or infinity.
    """
    check_input_of_width(x, legend, weight.shape[1], weight.dtype)


def check_input_of_width(x: Tensor, legend: str, width: int, dtype: torch.dtype) -> None:
    """Check what goes into a layer of a width, the size of the last letter of ``legend``.

    Raises
    ------
    InputError
        As :func:`check_layer_input`.
    """
    check_tensors({"x": x})
    letters = legend.split()
    if x.dim() != len(letters) or x.shape[-1] != width or not x.numel():
        raise InputError(
            "x has a shape that does not fit the layer",
            expected=f"({', '.join(letters)}) with {letters[-1]} = {width}, no size zero",
            got=str(tuple(x.shape)),
            remedy="add the axis of the batch: x[None]" if x.dim() == len(letters) - 1 else "",
        )
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(
            "x has another type than the weights",
            expected=str(dtype),
            got=str(x.dtype),
            remedy=f"convert x, or the layer by .to({x.dtype})" if x.is_floating_point() else "",
        )
    check_finite({"x": x})


def check_layer_state(
    state: object, kind: type, sizes: Mapping[str, tuple[int, ...]], x: Tensor, weight: Tensor
) -> None:
    """Check the state that a layer goes on from.

    Parameters
    ----------
    state : object
    kind : type
        The class of this layer's states.
    sizes : mapping of str to tuple of int
        Shape of each part, without the batch.
    x : torch.Tensor, shape (b, ..)
        The input; a state is of the same batch.
    weight : torch.Tensor
        A weight; a state is of the type in which such a layer computes, complex where ``sizes``
        has one part only.

    Raises
    ------
    InputError
        If it is none of this layer's, of another configuration, batch or type.
    """
    if not isinstance(state, kind):
        raise InputError(
            "this is no state of the layer",
            expected=kind.__name__,
            got=type(state).__name__,
            remedy="pass what the layer gave before, or initial_state(batch)",
        )
    exact = parameter_dtype(weight.dtype)
    wanted = exact if len(sizes) > 1 else exact.to_complex()
    for name, size in sizes.items():
        part, shape = getattr(state, name), (len(x), *size)
        if tuple(part.shape) != shape or part.dtype != wanted:
            raise InputError(
                f"state.{name} is a state of another configuration, batch or type",
                expected=f"shape {shape}, {wanted}",
                got=f"shape {tuple(part.shape)}, {part.dtype}",
                remedy="begin again from initial_state(batch) of this layer",
            )
