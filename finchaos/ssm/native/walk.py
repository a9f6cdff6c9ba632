"""What the calls of all compiled scans have in common: batch, lengths, kept states, threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from finchaos.ssm.native.library import CHUNK_STEPS, with_dense_rows


class Walk(ctypes.Structure):
    """The kernels' structure of the same name."""

    _fields_ = [
        *((name, c_int64) for name in ("batch", "time", "threads")),
        *((name, c_void_p) for name in ("lengths", "keep")),
        ("kept", c_int64),
        *((name, c_void_p) for name in ("before", "last", "states", "checkpoints")),
        *((name, c_void_p) for name in ("grad_last", "grad_states", "grad_before")),
    ]


class Call:
    """A kernel's argument under construction; keeps alive what it points to.

    Parameters
    ----------
    structure : ctypes.Structure
        With a field ``walk`` and one for each tensor.
    """

    def __init__(self, structure: Any) -> None:
        self.structure = structure
        self._alive: list[Any] = []

    def put(self, **tensors: Tensor | None) -> None:
        """Name dense tensors; those of the walk by its fields. None or empty ones are absent."""
        for name, tensor in tensors.items():
            if tensor is not None and tensor.numel():
                tensor = tensor.contiguous()
                self._alive.append(tensor)
                walk = self.structure.walk
                place = walk if hasattr(walk, name) else self.structure
                setattr(place, name, tensor.data_ptr())

    def put_moving(self, **tensors: Tensor | None) -> None:
        """Name tensors (b t ..) with dense rows, and their strides in this order."""
        for i, (name, tensor) in enumerate(tensors.items()):
            if tensor is not None:
                tensor = with_dense_rows(tensor.flatten(2))
                self._alive.append(tensor)
                setattr(self.structure, name, tensor.data_ptr())
                strides = self.structure.strides
                strides[2 * i], strides[2 * i + 1] = tensor.stride()[:2]

    def put_walk(self, batch: int, time: int, keep: Sequence[int]) -> None:
        """Sizes, threads and the steps whose states are kept."""
        walk = self.structure.walk
        walk.batch, walk.time, walk.threads = batch, time, torch.get_num_threads()
        steps = (c_int64 * len(keep))(*keep)
        self._alive.append(steps)
        walk.keep, walk.kept = ctypes.cast(steps, c_void_p), len(keep)


def chunks(time: int) -> int:
    """Chunks of a sequence, each begun by a state that is kept for the gradient."""
    return -(-time // CHUNK_STEPS)
