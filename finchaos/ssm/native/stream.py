"""A stack of layers as a stream: packed weights, kept states, all layers in one call.

All memory is numpy's: weights packed once, in common to all streams of a stack, and one block for
each stream. It goes when the objects go; a row costs no allocation but its result.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_int64, c_void_p
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm.native.layer import Layer
from finchaos.ssm.native.library import kernel, lanes
from finchaos.ssm.native.mamba import MAMBA
from finchaos.ssm.native.mamba2 import MAMBA2

Weights = Sequence[Tensor | None]
_KINDS = {MAMBA.name: 1, MAMBA2.name: 2}
_NOT_FINITE = 2
_BRIEF_BYTES = 4 << 20
"""Up to here a step takes so little time that it is not worth letting another thread run."""


class _Call(ctypes.Structure):
    _fields_ = [
        ("layers", c_int64),
        *((name, c_void_p) for name in ("kinds", "parts")),
        *((name, c_int64) for name in ("stack_room", "stream_room")),
        *((name, c_void_p) for name in ("stack", "stream")),
        ("count", c_int64),
        *((name, c_void_p) for name in ("x", "y")),
        ("layer", c_int64),
        *((name, c_void_p) for name in ("conv", "ssm")),
    ]


class PackedStack:
    """Weights of a stack of layers as the kernels of one width of vectors read them.

    Parameters
    ----------
    layers : sequence of (Layer, sequence of torch.Tensor or None)
        With weights in the order of the layer's kind, with a norm, of one type and width; copied.

    Attributes
    ----------
    width : int
        Numbers m of a row.
    dtype, numbers : torch.dtype, type
        Of the weights, for torch and for numpy.
    lanes : int
        Floats in a vector: the kernels in use where the stack was packed.
    states : list of (tuple of int, tuple of int)
        Shapes of the layers' states: of the convolution (w - 1, c), and of the scan.
    """

    def __init__(self, layers: Sequence[tuple[Layer, Weights]]) -> None:
        # What the pairs hold beside the parts must live until all is packed.
        packed = [layer.kernel.parts_of(layer.numbers, weights) for layer, weights in layers]
        norm = layers[0][1][0]
        assert norm is not None  # noqa: S101  (the kernels require it)
        self.width, self.dtype, self.lanes = len(norm), norm.dtype, lanes()
        self.numbers = np.float32 if self.dtype == torch.float32 else np.float64
        self.states = [(layer.conv, layer.state) for layer, _ in layers]
        kinds = (c_int64 * len(layers))(*(_KINDS[layer.kernel.name] for layer, _ in layers))
        parts = (c_void_p * len(layers))(*(ctypes.addressof(part) for part, _ in packed))
        call = _Call(layers=len(layers), kinds=_pointer(kinds), parts=_pointer(parts))
        self.run("sizes", call)
        self._memory = np.empty(call.stack_room, np.uint8)
        self.address, self.stream_room = self._memory.ctypes.data, int(call.stream_room)
        call.stack = self.address
        self.run("pack", call)

    def run(self, name: str, call: _Call) -> int:
        """One of the streams' kernels on a call."""
        return int(kernel(f"stream_{name}", self.dtype, self.lanes)(ctypes.byref(call)))

    def row_kernel(self) -> Callable[[int], int]:
        """The kernel that advances, as a function of a call's address with little around it."""
        brief = self._memory.nbytes <= _BRIEF_BYTES
        found: Any = kernel("stream_advance", self.dtype, self.lanes, brief=brief)
        found.argtypes = [c_void_p]
        return cast(Callable[[int], int], found)


class PackedStream:
    """The states of one stream over a packed stack, and the way to move them on.

    Raises InputError where a thread finds another one at work on the stream.
    """

    def __init__(self, stack: PackedStack) -> None:
        self._stack = stack
        self._memory = np.empty(stack.stream_room, np.uint8)
        row, self._result = np.empty((2, stack.width), stack.numbers)
        # A window takes only what has its shape and type, in one look.
        self._window = row.data
        self._call = self._new_call()
        self._call.count = 1
        self._call.x, self._call.y = row.ctypes.data, self._result.ctypes.data
        self._at = ctypes.addressof(self._call)
        self._advance_by_one = stack.row_kernel()
        # Whoever holds the one turn works; taking it and putting it back cost less than a lock.
        self._turns = [True]
        stack.run("open", self._call)

    def step(self, row: np.ndarray) -> np.ndarray | None:
        """The output of a row (m,), or None and nothing done if it does not fit, is not finite."""
        try:
            turn = self._turns.pop()
        except IndexError:
            raise _used_twice() from None
        try:
            self._window[:] = row  # type: ignore[call-overload]
            return None if self._advance_by_one(self._at) else self._result.copy()
        except (TypeError, ValueError):
            return None
        finally:
            self._turns.append(turn)

    def advance(self, rows: np.ndarray) -> np.ndarray | None:
        """The outputs of rows (t, m), or None and nothing done if one is not finite."""
        rows = np.ascontiguousarray(rows)
        results = np.empty_like(rows)
        call = self._new_call()
        call.count, call.x, call.y = len(rows), rows.ctypes.data, results.ctypes.data
        with self._turn():
            failed = self._stack.run("advance", call) == _NOT_FINITE
        return None if failed else results

    def read(self) -> list[tuple[Tensor, Tensor]]:
        """Copies of the layers' states, of the convolution and the scan, batch 1."""
        dtype = self._stack.dtype
        made = [
            (torch.empty(1, *conv, dtype=dtype), torch.empty(1, *ssm, dtype=dtype))
            for conv, ssm in self._stack.states
        ]
        self._exchange("read", made)
        return made

    def write(self, states: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Continue from these states, shaped as those that :meth:`read` gives."""
        self._exchange("write", [(conv.contiguous(), ssm.contiguous()) for conv, ssm in states])

    def fresh(self) -> PackedStream:
        """Another stream of the stack that has seen nothing."""
        return PackedStream(self._stack)

    def _exchange(self, name: str, states: Sequence[tuple[Tensor, Tensor]]) -> None:
        call = self._new_call()
        with self._turn():
            for call.layer, (conv, ssm) in enumerate(states):
                call.conv, call.ssm = conv.data_ptr(), ssm.data_ptr()
                self._stack.run(name, call)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        try:
            turn = self._turns.pop()
        except IndexError:
            raise _used_twice() from None
        try:
            yield
        finally:
            self._turns.append(turn)

    def _new_call(self) -> _Call:
        return _Call(stack=self._stack.address, stream=self._memory.ctypes.data)


def _pointer(array: Any) -> c_void_p:
    return ctypes.cast(array, c_void_p)


def _used_twice() -> InputError:
    return InputError(
        "a stream is used by two threads at once",
        expected="one thread at a time",
        remedy="give each its own, by fresh(), or let them take turns",
    )
