"""Which implementation computes a recurrence: named, asked for, and never quietly replaced.

============= ==============================================================================
``reference`` the recurrence as it is written, differentiated by autograd; the definition
``torch``     plain PyTorch with its gradient written out; any device, no compiler
``cpu``       the compiled kernels of :mod:`finchaos.ssm.native`
``cuda``      the packages mamba-ssm and causal-conv1d
``auto``      ``cuda`` for tensors on a GPU and ``cpu`` for others where they exist, else ``torch``
============= ==============================================================================

Only ``auto`` chooses; what it chose, and why, is what :func:`choose_backend` returns. Where it has
to do without the compiled kernels it says so once, as a :class:`BackendNotice`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import torch

from finchaos.core.errors import MissingDependencyError, UnknownNameError
from finchaos.ssm import cuda, native

AUTO = "auto"
BACKENDS = ("reference", "torch", "cpu", "cuda")
_GPU = "cuda"


class BackendNotice(UserWarning):
    """``auto`` does without a faster backend, and why."""


@dataclass(frozen=True)
class BackendChoice:
    """What computes, and why.

    Attributes
    ----------
    name : str
        One of :data:`BACKENDS`.
    reason : str
        One clause.
    """

    name: str
    reason: str


def _absence(name: str) -> str | None:
    """Why a backend cannot be used here; None if it can."""
    if name == "cpu":
        return native.absence()
    if name == "cuda":
        return cuda.absence()
    return None


def available_backends() -> tuple[str, ...]:
    """Names that ``backend`` takes in this installation, ``auto`` not among them."""
    return tuple(name for name in BACKENDS if _absence(name) is None)


def check_backend(name: str) -> str:
    """The name itself if that backend exists here.

    Raises
    ------
    UnknownNameError
        If there is no such name.
    MissingDependencyError
        If what it needs is absent; nothing stands in for it.
    """
    if name == AUTO:
        return name
    if name not in BACKENDS:
        raise UnknownNameError(
            f"no scan backend named {name!r}", expected=f"one of {', '.join((AUTO, *BACKENDS))}"
        )
    absence = _absence(name)
    if absence is not None:
        raise MissingDependencyError(
            f"the scan backend {name!r} cannot be used here",
            got=absence,
            remedy=f"available are {', '.join((AUTO, *available_backends()))}",
        )
    return name


def choose_backend(name: str, device: torch.device | str = "cpu") -> BackendChoice:
    """What computes for tensors on ``device`` when ``name`` is asked for.

    Parameters
    ----------
    name : str
        A backend, or ``auto``.
    device : torch.device or str
        Where the tensors are.

    Raises
    ------
    UnknownNameError, MissingDependencyError
        As :func:`check_backend`.

    Examples
    --------
    >>> choose_backend("torch").name
    'torch'
    """
    check_backend(name)
    if name != AUTO:
        return BackendChoice(name, "asked for by name")
    kind = torch.device(device).type
    fast = {"cpu": "cpu", _GPU: "cuda"}.get(kind)
    if fast is None:
        return BackendChoice("torch", f"no kernels for the device {kind}")
    absence = _absence(fast)
    if absence is None:
        return BackendChoice(fast, f"tensors are on the device {kind}")
    _notify(fast, absence)
    return BackendChoice("torch", absence)


@cache
def _notify(fast: str, absence: str) -> None:
    warnings.warn(
        f"finchaos computes with plain PyTorch instead of the backend {fast!r}: {absence}",
        BackendNotice,
        stacklevel=4,
    )
