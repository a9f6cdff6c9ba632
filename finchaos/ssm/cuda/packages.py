"""Where the kernels for a GPU come from: two packages, looked for, tried and loaded once.

Nothing is imported before the packages are found and PyTorch sees a GPU: their import brings in
a compiler for kernels and a library of language models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from torch import Tensor

from finchaos.core.errors import MissingDependencyError
from finchaos.core.extras import installing
from finchaos.ssm.inputs import values_are_known

OLDEST = {"mamba-ssm": (2, 3), "causal-conv1d": (1, 6)}
"""First versions with the functions as they are called here; those of the extra ``cuda``."""
GUIDE = "docs/ssm/gpu.md"
_INSTALL = installing("cuda", options="--no-build-isolation ")
_FAILURES = (ImportError, OSError, RuntimeError, AttributeError, TypeError)
"""What importing or calling a package built for another torch, CUDA or GPU raises."""


class Kernels(NamedTuple):
    """The functions of the two packages that the doors call.

    Attributes
    ----------
    selective_scan : callable
        ``selective_scan_fn`` of mamba-ssm.
    chunk_scan : callable
        ``mamba_chunk_scan_combined`` of mamba-ssm.
    causal_conv : callable
        ``causal_conv1d_fn`` of causal-conv1d.
    full_products : callable
        Within this context Triton compiles products of float32 matrices to nearly full precision.
    """

    selective_scan: Callable[..., Any]
    chunk_scan: Callable[..., Any]
    causal_conv: Callable[..., Any]
    full_products: Callable[[], AbstractContextManager[None]]


def absence() -> str | None:
    """Why the packages cannot be used here, and what to do; None if they can."""
    found = load()
    return found if isinstance(found, str) else None


def kernels() -> Kernels:
    """The functions.

    Raises
    ------
    MissingDependencyError
        If :func:`absence` is not None.
    """
    found = load()
    if isinstance(found, str):
        raise MissingDependencyError("the kernels for a GPU cannot be used here", got=found)
    return found


def given(state: Tensor | None) -> Tensor | None:
    """A state before the first step, None if it is one of zeros that wants no gradient.

    Looking costs less than the detours by which the packages start from a state.
    """
    if state is None or state.requires_grad or not values_are_known():
        return state
    return state if bool(state.any()) else None


@cache
def load() -> Kernels | str:
    """The functions, or why there are none; looked for once."""
    for package, oldest in OLDEST.items():
        unfit = _unfit(package, oldest)
        if unfit is not None:
            return f"{unfit}; after torch, run {_INSTALL} (see {GUIDE})"
    if not torch.cuda.is_available():
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
        return f"PyTorch {torch.__version__}, {build}, sees no CUDA device (see {GUIDE})"
    try:
        found = _import()
        if isinstance(found, Kernels):
            _try(found)
    except _FAILURES as failure:
        reason = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        return f"the packages are installed but do not work: {reason} (see {GUIDE})"
    return found


def _unfit(package: str, oldest: tuple[int, ...]) -> str | None:
    try:
        found = version(package)
    except PackageNotFoundError:
        return f"{package} is not installed"
    if tuple(map(int, re.findall(r"\d+", found)[: len(oldest)])) < oldest:
        return f"{package} {found} is older than {'.'.join(map(str, oldest))}"
    return None


def _import() -> Kernels | str:
    scan = import_module("mamba_ssm.ops.selective_scan_interface")
    chunks = import_module("mamba_ssm.ops.triton.ssd_combined")
    conv = import_module("causal_conv1d")
    if getattr(scan, "selective_scan_cuda", None) is None:
        return (
            "mamba-ssm was built without its compiled kernels: build it again with "
            f"MAMBA_KEEP_CUDA_BUILD=TRUE and MAMBA_FORCE_BUILD=TRUE (see {GUIDE})"
        )
    return Kernels(
        scan.selective_scan_fn,
        chunks.mamba_chunk_scan_combined,
        conv.causal_conv1d_fn,
        _full_products,
    )


def _try(found: Kernels) -> None:
    """Raise what a kernel that was compiled for other GPUs raises."""
    one = torch.ones(1, 1, 1, device="cuda")
    found.selective_scan(one, one, -one[0], one, one)
    rows = torch.ones(1, 2, 8, device="cuda")
    found.causal_conv(rows.transpose(1, 2), rows[0].T.contiguous())
    torch.cuda.synchronize()


@contextmanager
def _full_products() -> Iterator[None]:
    # Triton's default for float32 keeps 10 bits of each factor, an error of 1e-3; in three such
    # products hardly anything is lost. The setting is read when a kernel is compiled.
    language: Any = import_module("triton").knobs.language
    with language.scope():
        if language.fp32_default is None:
            language.fp32_default = "tf32x3"
        yield
