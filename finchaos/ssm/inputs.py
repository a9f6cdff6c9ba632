"""What goes into a scan and comes out: checks of names, types, shapes and values.

A shape is given as a legend, ``"b t h p"``: a letter stands for one size, the same for all tensors
of a call. Values are not looked at while a program is traced or exported.
"""

from __future__ import annotations

import operator
from cmath import isfinite
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from finchaos.core.errors import InputError

_ACTIVATIONS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
_INTEGERS = (torch.int32, torch.int64)

_IN_FLOAT32 = "; parameters and states stay in float32 beside activations of lower precision"

Named = Mapping[str, Tensor | None]
"""Tensors by name; None where an optional one was not given."""


class ScanOutput(NamedTuple):
    """What a scan gives back.

    Attributes
    ----------
    y : torch.Tensor
        Outputs, of the shape and type of the input; zero where a row is padding.
    last_state : torch.Tensor
        State after the last step of each row; differentiable, so that a sequence may be cut and
        continued.
    states : torch.Tensor or None
        States after the steps of ``keep``, second axis; differentiable too.
    """

    y: Tensor
    last_state: Tensor
    states: Tensor | None


def padding(lengths: Tensor | None, steps: int) -> Tensor | None:
    """True at and after the end of each row, shape (b, t); None where no row is padded."""
    if lengths is None:
        return None
    return torch.arange(steps, device=lengths.device) >= lengths.unsqueeze(-1)


def without_padding(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Values of shape (b, t, d), zero at and after the end of each row."""
    after = padding(lengths, values.shape[1])
    return values if after is None else values.masked_fill(after.unsqueeze(-1), 0.0)


def parameter_dtype(activation: torch.dtype) -> torch.dtype:
    """Type of parameters and states beside activations of a type, and of all accumulation."""
    return torch.float64 if activation == torch.float64 else torch.float32


def check_tensors(named: Mapping[str, object]) -> None:
    """Refuse what is no tensor; None stands for one that was not given.

    Raises
    ------
    InputError
    """
    for name, value in named.items():
        if value is not None and not isinstance(value, Tensor):
            kind = type(value)
            raise InputError(
                f"{name} is no tensor",
                expected="torch.Tensor",
                got=f"{kind.__module__}.{kind.__name__}".removeprefix("builtins."),
                remedy=f"pass torch.as_tensor({name})",
            )


def check_types(activations: Named, parameters: Named) -> None:
    """Refuse mixed types and devices.

    Raises
    ------
    InputError
        Naming the tensor, unless all are tensors, the activations of the type of the first, the
        parameters of that of :func:`parameter_dtype`, and all on one device.
    """
    check_tensors({**activations, **parameters})
    first_name, first = next((name, v) for name, v in activations.items() if v is not None)
    if first.dtype not in _ACTIVATIONS:
        raise InputError(
            f"{first_name} has a type that no scan takes",
            expected=" or ".join(map(_short, _ACTIVATIONS)),
            got=_short(first.dtype),
        )
    wanted = dict.fromkeys(activations, first.dtype)
    wanted |= dict.fromkeys(parameters, parameter_dtype(first.dtype))
    for name, tensor in (*activations.items(), *parameters.items()):
        if tensor is None:
            continue
        if tensor.dtype != wanted[name]:
            raise InputError(
                f"{name} does not fit the type of {first_name}, {_short(first.dtype)}",
                expected=_short(wanted[name]),
                got=_short(tensor.dtype),
                remedy=f"convert {name}{_IN_FLOAT32 if wanted[name] != first.dtype else ''}",
            )
        if tensor.device != first.device:
            raise InputError(
                f"{name} is on another device than {first_name}",
                expected=str(first.device),
                got=str(tensor.device),
            )


def check_shapes(tensors: Mapping[str, tuple[Tensor | None, str]]) -> dict[str, int]:
    """Sizes by letter.

    Parameters
    ----------
    tensors : mapping of str to (torch.Tensor or None, str)
        Tensor and legend by name; the first to use a letter sets its size.

    Raises
    ------
    InputError
        Naming the tensor that does not fit the ones before it, or has a size of zero.

    Examples
    --------
    >>> check_shapes({"x": (torch.ones(2, 5, 3), "b t d"), "A": (torch.ones(3, 4), "d n")})
    {'b': 2, 't': 5, 'd': 3, 'n': 4}
    """
    check_tensors({name: tensor for name, (tensor, _) in tensors.items()})
    sizes: dict[str, int] = {}
    owner: dict[str, str] = {}
    for name, (tensor, legend) in tensors.items():
        if tensor is None:
            continue
        letters, shape = legend.split(), tuple(tensor.shape)
        fits = len(shape) == len(letters) and all(
            size == sizes.get(letter, size) and size > 0
            for size, letter in zip(shape, letters, strict=True)
        )
        if not fits:
            raise _misfit(name, shape, letters, sizes, owner)
        for letter, size in zip(letters, shape, strict=True):
            sizes.setdefault(letter, size)
            owner.setdefault(letter, name)
    return sizes


def _misfit(
    name: str,
    shape: tuple[int, ...],
    letters: Sequence[str],
    sizes: Mapping[str, int],
    owner: Mapping[str, str],
) -> InputError:
    """Which sizes were known, and from which tensor; and whether axes look exchanged."""
    known = [letter for letter in letters if letter in sizes]
    others = list(dict.fromkeys(owner[letter] for letter in known))
    where = ", ".join(
        ", ".join(f"{letter} = {sizes[letter]}" for letter in known if owner[letter] == other)
        + f" as in {other}"
        for other in others
    )
    expected = f"({', '.join(letters)})" + (f" with {where}" if known else "")
    remedy = ""
    if len(shape) != len(letters):
        expected += ", one axis" if len(letters) == 1 else f", {len(letters)} axes"
    elif 0 in shape:
        expected += ", no size zero"
    elif len(known) == len(letters) and sorted(shape) == sorted(sizes[k] for k in letters):
        remedy = f"the axes of {name} look exchanged"
    else:
        remedy = _exchanged(shape, letters, sizes, owner)
    return InputError(
        f"{name} has a shape that does not fit" + (f" {' and '.join(others)}" if known else ""),
        expected=expected,
        got=str(shape),
        remedy=remedy,
    )


def _exchanged(
    shape: tuple[int, ...],
    letters: Sequence[str],
    sizes: Mapping[str, int],
    owner: Mapping[str, str],
) -> str:
    """Whether another axis of the tensor that set a size has the size that came."""
    for size, letter in zip(shape, letters, strict=True):
        if sizes.get(letter, size) == size:
            continue
        for other, of in owner.items():
            if other != letter and of == owner[letter] and sizes[other] == size:
                return f"perhaps the axes of {of} are exchanged: its {other} is {size}"
    return ""


def check_finite(tensors: Named) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    InputError
        Naming the tensor and the first place.
    """
    if not values_are_known():
        return
    for name, tensor in tensors.items():
        # A finite sum has finite terms only, and costs one reading. Else look at each.
        if tensor is None or isfinite(tensor.detach().sum().item()):
            continue
        bad = ~torch.isfinite(tensor.detach())
        if bool(bad.any()):
            place = tuple(bad.nonzero()[0].tolist())
            raise InputError(
                f"{name} holds {int(bad.sum())} values that are not finite",
                got=f"{float(tensor.detach()[place])} at {place}",
                remedy="clean the input, or look where it was computed",
            )


def refuse_tangents(tensors: Named) -> None:
    """Refuse forward-mode differentiation, which a compiled kernel would answer with zeros.

    Raises
    ------
    InputError
        Naming the tensor that carries a tangent.
    """
    if not values_are_known():
        return
    for name, tensor in tensors.items():
        if tensor is not None and unpack_dual(tensor).tangent is not None:  # type: ignore[no-untyped-call]
            raise InputError(
                f"{name} carries a tangent, and compiled kernels have no forward mode",
                expected="gradients by backward()",
                got="torch.func.jvp, jacfwd or forward_ad",
                remedy='differentiate backwards, or choose backend="reference"',
            )


def refuse_growth(A: Tensor | None) -> None:
    """Refuse decay rates above zero.

    Raises
    ------
    InputError
    """
    if A is not None and values_are_known() and bool((A > 0).any()):
        raise InputError(
            "A holds positive rates: the state would grow instead of decaying",
            expected="A <= 0",
            got=f"a maximum of {float(A.detach().max())}",
            remedy="pass A = -exp(A_log)",
        )


def check_limit(limit: tuple[float, float]) -> tuple[float, float]:
    """The range that step sizes are cut to.

    Raises
    ------
    InputError
        If it is no range.
    """
    try:
        low, high = map(float, limit)
        sound = 0.0 <= low <= high
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise InputError(
            "dt_limit must be a range of step sizes",
            expected="a pair of numbers, 0 <= low <= high; (0.0, inf) for no limit",
            got=repr(limit),
        )
    return low, high


def check_lengths(lengths: Tensor | None, batch: int, steps: int) -> None:
    """Refuse lengths that are not one integer from 0 to ``steps`` for each sequence.

    Raises
    ------
    InputError
    """
    if lengths is None:
        return
    check_tensors({"lengths": lengths})
    if lengths.dtype not in _INTEGERS or tuple(lengths.shape) != (batch,):
        raise InputError(
            "lengths must hold one integer for each sequence",
            expected=f"int64 or int32 of shape ({batch},)",
            got=f"{_short(lengths.dtype)} of shape {tuple(lengths.shape)}",
        )
    if values_are_known() and bool(((lengths < 0) | (lengths > steps)).any()):
        raise InputError(
            "lengths must lie within the sequences",
            expected=f"from 0 to {steps}",
            got=str(lengths.tolist()),
        )


def check_keep(keep: Sequence[int] | Tensor | None, steps: int) -> list[int] | None:
    """The steps whose states are kept, as integers.

    Raises
    ------
    InputError
        If they do not increase or lie outside the sequence.
    """
    if keep is None:
        return None
    steps_of = keep.tolist() if isinstance(keep, Tensor) else keep
    try:
        kept = [operator.index(t) for t in steps_of]
    except TypeError as error:
        raise InputError(
            "keep must hold increasing step indices within the sequence",
            expected=f"a sequence of integers from 0 to {steps - 1}",
            got=repr(keep),
        ) from error
    increasing = all(a < b for a, b in pairwise(kept))
    if not increasing or (kept and not 0 <= kept[0] <= kept[-1] < steps):
        raise InputError(
            "keep must hold increasing step indices within the sequence",
            expected=f"integers from 0 to {steps - 1}, each once",
            got=str(kept),
        )
    return kept


def values_are_known() -> bool:
    """Whether tensors have values to look at: not while a program is traced or exported."""
    return not torch.compiler.is_compiling()


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
