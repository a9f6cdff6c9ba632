"""The built kernels as functions: found, checked against the sources, the widest vectors chosen."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import torch

from finchaos.core.errors import InputError
from finchaos.ssm.native import build

CHUNK_STEPS = 32
"""Steps between kept states, as in the kernels."""

_forced_lanes: ContextVar[int | None] = ContextVar("forced_lanes", default=None)


@cache
def _load() -> ctypes.CDLL | str:
    """The library, or why there is none."""
    try:
        return _find_or_build()
    except build.BuildFailure as failure:
        return str(failure)
    except OSError as error:
        return f"the kernels could not be built: {error}"


def _find_or_build() -> ctypes.CDLL | str:
    wanted = build.source_digest()
    shipped = _open(build.SHIPPED, wanted)
    if shipped is not None:
        return shipped
    cached = build.cached()
    found = _open(cached, wanted)
    if found is None:
        found = _open(build.build(cached), wanted)
        build.tidy(cached.parent)
    return found if found is not None else "the kernels that were just built cannot be loaded"


def _open(path: Path, wanted: str) -> ctypes.CDLL | None:
    """The library at ``path`` if it was built from these sources and loads here."""
    # Looked for in the file first: a library that was loaded once stands for its path for good,
    # even after a better one was built there.
    if not path.is_file() or wanted.encode() not in path.read_bytes():
        return None
    try:
        library = ctypes.CDLL(str(path))
        library.fc_sources.restype = ctypes.c_char_p
        same = library.fc_sources() == wanted.encode()
    except (OSError, AttributeError):  # another system's, or not ours: it is built anew
        return None
    return library if same else None


def absence() -> str | None:
    """Why the compiled kernels cannot be used here; None if they can. Builds them if need be."""
    found = _load()
    return found if isinstance(found, str) else None


def lanes() -> int:
    """Floats in a vector of the kernels in use: 4, 8 or 16."""
    return _forced_lanes.get() or widest()


def widest() -> int:
    """Floats in the widest vector that this processor and this build have."""
    library = _load()
    assert isinstance(library, ctypes.CDLL)  # noqa: S101  (doors ask absence() first)
    return int(library.fc_widest())


@contextmanager
def use_lanes(count: int) -> Iterator[None]:
    """Compute with narrower vectors than this processor has, to compare.

    Raises
    ------
    InputError
        If the processor does not run them.
    """
    possible = [width for width in build.WIDTHS if width <= widest()]
    if count not in possible:
        raise InputError("no kernels of that width here", expected=str(possible), got=str(count))
    token = _forced_lanes.set(count)
    try:
        yield
    finally:
        _forced_lanes.reset(token)


def run(name: str, dtype: torch.dtype, call: ctypes.Structure) -> None:
    """Run the kernel ``name`` on a call's tensors.

    Raises
    ------
    MemoryError
        If its working memory could not be had.
    """
    if kernel(name, dtype, lanes())(ctypes.byref(call)):
        raise MemoryError(f"no working memory for the kernel {name}")


def kernel(name: str, dtype: torch.dtype, width: int, *, brief: bool = False) -> Any:
    """The kernel ``name`` for numbers of a type and vectors of ``width`` floats.

    A brief one keeps the interpreter while it runs: it is done before another thread could begin.
    """
    library = _load()
    assert isinstance(library, ctypes.CDLL)  # noqa: S101  (doors ask absence() first)
    kind = {torch.float32: "float", torch.float64: "double"}[dtype]
    home = ctypes.PyDLL(library._name, handle=library._handle) if brief else library
    return getattr(home, f"fc_{name}_{kind}_{width}")


def address(tensor: torch.Tensor | None) -> int | None:
    """Where a tensor's numbers stand; None for none."""
    return None if tensor is None else tensor.data_ptr()


def with_dense_rows(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor (b t n) whose n numbers stand side by side: itself, or a copy."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def padded(channels: int, dtype: torch.dtype) -> int:
    """Channels of a row in the kernels' memory: whole vectors."""
    width = lanes() // (2 if dtype == torch.float64 else 1)
    return -(-channels // width) * width
