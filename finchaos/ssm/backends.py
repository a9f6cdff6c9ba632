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

from finchaos.core.errors import InputError, MissingDependencyError, UnknownNameError
from finchaos.ssm import cuda, native

AUTO = "auto"
BACKENDS = ("reference", "torch", "cpu", "cuda")
DEVICES = {"cpu": "cpu", "cuda": "cuda"}
"""Kind of device that a backend is bound to; the others run wherever PyTorch does."""


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


# What torch.compile traces would otherwise lead it through the search for a compiler.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
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


def choose_backend(
    name: str, device: torch.device | str | None = None, limit: str | None = None
) -> BackendChoice:
    """What computes for tensors on ``device`` when ``name`` is asked for.

    Parameters
    ----------
    name : str
        A backend, or ``auto``.
    device : torch.device or str, optional
        Where the tensors are. If not given, ``auto`` takes it to be a CPU.
    limit : str, optional
        What in this call the kernels for a GPU cannot do.

    Raises
    ------
    UnknownNameError, MissingDependencyError
        As :func:`check_backend`.
    InputError
        If a backend asked for by name does not compute on that device, or not this.

    Examples
    --------
    >>> choose_backend("torch").name
    'torch'
    """
    check_backend(name)
    if name != AUTO:
        _check_fit(name, device, limit)
        return BackendChoice(name, "asked for by name")
    kind = torch.device(device or "cpu").type
    fast = next((fast for fast, home in DEVICES.items() if home == kind), None)
    if fast is None:
        return BackendChoice("torch", f"no kernels for the device {kind}")
    absence = _absence(fast) or (limit if fast == "cuda" else None)
    if absence is None:
        return BackendChoice(fast, f"tensors are on the device {kind}")
    _notify(fast, absence)
    return BackendChoice("torch", absence)


def _check_fit(name: str, device: torch.device | str | None, limit: str | None) -> None:
    """Refuse memory that the kernels cannot read, and what they cannot do."""
    home = DEVICES.get(name)
    if home is None:
        return
    if device is not None and torch.device(device).type != home:
        raise InputError(
            f"the scan backend {name!r} does not compute on the device of the tensors",
            expected=home,
            got=str(device),
            remedy=f"move the tensors, or ask for {AUTO!r} or 'torch'",
        )
    if name == "cuda" and limit is not None:
        raise InputError(
            f"the scan backend {name!r} cannot do this",
            got=limit,
            remedy=f"ask for {AUTO!r} or 'torch'",
        )


@cache
def _notify(fast: str, absence: str) -> None:
    warnings.warn(
        f"finchaos computes with plain PyTorch instead of the backend {fast!r}: {absence}",
        BackendNotice,
        stacklevel=4,
    )
