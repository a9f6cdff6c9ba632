"""States of a stack of layers in a file, so that a stream goes on after a restart.

One safetensors file: tensors named ``layer.part``, complex ones as pairs of real numbers, and in
the header under ``finchaos`` what they are, in canonical JSON: format, version, kind, type and
sizes of each layer, and a SHA-256 over all of it. Nothing in it is executed when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.files import write_atomic
from finchaos.core.provenance import array_digest, canonical_json, digest, parse_json
from finchaos.ssm.mamba import MambaState
from finchaos.ssm.mamba2 import Mamba2State
from finchaos.ssm.s4d import S4DState

State = MambaState | Mamba2State | S4DState

FORMAT, VERSION = "finchaos.ssm.states", 1
_HEADER_KEY = "finchaos"
_KINDS: Mapping[str, type[State]] = {"mamba": MambaState, "mamba2": Mamba2State, "s4d": S4DState}


class Stateful(Protocol):
    """A layer or block that has states."""

    def initial_state(self, batch: int) -> Any:
        """The state before anything was seen."""
        ...


def parts_of(state: State) -> dict[str, Tensor]:
    """The tensors of a state by name, in order; complex ones (..) as real ones (.. 2).

    Raises
    ------
    InputError
        If it is no state of a layer.

    Examples
    --------
    >>> parts_of(S4DState(torch.zeros(1, 2, 3, dtype=torch.complex64)))["ssm"].shape
    torch.Size([1, 2, 3, 2])
    """
    kind_of(state)
    return {
        name: torch.view_as_real(part.resolve_conj()) if part.is_complex() else part
        for name, part in vars(state).items()
    }


def state_of(kind: str, parts: Mapping[str, Tensor]) -> State:
    """What :func:`parts_of` took apart."""
    if kind == "s4d":
        return S4DState(torch.view_as_complex(parts["ssm"]))
    return _KINDS[kind](**parts)


def kind_of(state: State) -> str:
    """``mamba``, ``mamba2`` or ``s4d``.

    Raises
    ------
    InputError
        If it is no state of a layer.
    """
    for kind, of_kind in _KINDS.items():
        if type(state) is of_kind:
            return kind
    raise InputError(
        "this is no state of a layer",
        expected=", ".join(of_kind.__name__ for of_kind in _KINDS.values()),
        got=type(state).__name__,
    )


def save_state(path: Path, states: Sequence[State]) -> None:
    """Write the states of a stack, one a layer, to a file that then holds all of it or the old.

    Parameters
    ----------
    path : Path
        Replaced if it exists.
    states : sequence of MambaState, Mamba2State or S4DState
        On any device; of one batch.

    Raises
    ------
    InputError
        If there are no states, one is of another type, or their batches differ.
    """
    if isinstance(states, State):
        raise InputError(
            "states are saved as those of a stack",
            expected="a sequence of states, one a layer",
            got=type(states).__name__,
            remedy="pass [state]",
        )
    if not isinstance(states, Iterable):
        raise InputError("these are no states", got=type(states).__name__)
    parts = [parts_of(state) for state in states]
    batches = {len(tensor) for named in parts for tensor in named.values()}
    if len(batches) != 1:
        raise InputError(
            "states must be those of one stack and batch",
            expected="one batch in all of them",
            got=f"{len(parts)} states with batches {sorted(batches)}",
        )
    tensors = {
        f"{layer}.{name}": tensor.detach().cpu().contiguous()
        for layer, named in enumerate(parts)
        for name, tensor in named.items()
    }
    layers = [
        {
            "kind": kind_of(state),
            "dtype": _short(named["ssm"].dtype),
            "sizes": {name: list(tensor.shape) for name, tensor in named.items()},
        }
        for state, named in zip(states, parts, strict=True)
    ]
    content = {"format": FORMAT, "version": VERSION, "layers": layers}
    content["digest"] = _digest(content, tensors)
    header = {_HEADER_KEY: canonical_json(content).decode()}
    write_atomic(Path(path), safetensors_torch.save(tensors, header))


def load_state(path: Path, like: Iterable[Stateful]) -> tuple[State, ...]:
    """Read the states of a stack back, bit for bit, to where its layers are.

    Parameters
    ----------
    path : Path
    like : iterable of layers or blocks
        Those that go on from the states.

    Returns
    -------
    tuple of MambaState, Mamba2State or S4DState
        One for each layer.

    Raises
    ------
    CheckpointError
        If there is no such file, it is truncated, altered or of another program or version, or the
        states are not of these layers: it names the tensor.

    Examples
    --------
    >>> import tempfile
    >>> from finchaos.ssm import MambaBlock, MambaConfig
    >>> block = MambaBlock(MambaConfig(d_model=4))
    >>> _, state = block(torch.ones(1, 5, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(Path(folder) / "stream.safetensors", [state])
    ...     (again,) = load_state(Path(folder) / "stream.safetensors", [block])
    >>> bool(torch.equal(again.ssm, state.ssm))
    True
    """
    kinds, tensors = _read(Path(path))
    blocks = list(like)
    if len(kinds) != len(blocks):
        raise _other(path, "the number of layers", str(len(blocks)), str(len(kinds)))
    batch = len(next(iter(tensors.values())))
    states = []
    for layer, (kind, block) in enumerate(zip(kinds, blocks, strict=True)):
        fresh = block.initial_state(batch)
        if kind != kind_of(fresh):
            raise _other(path, f"layer {layer}", kind_of(fresh), kind)
        parts = {}
        for name, wanted in parts_of(fresh).items():
            found = tensors.get(f"{layer}.{name}")
            if found is None or (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
                raise _other(path, f"tensor {layer}.{name}", _described(wanted), _described(found))
            parts[name] = found.to(wanted.device)
        states.append(state_of(kind, parts))
    return tuple(states)


def _read(path: Path) -> tuple[list[str], dict[str, Tensor]]:
    """Kind of each layer and all tensors of a sound file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"no states can be read from {path}", got=str(error.strerror)
        ) from error
    try:
        tensors = safetensors_torch.load(data)
        size = int.from_bytes(data[:8], "little")
        given = parse_json(data[8 : 8 + size]).get("__metadata__", {}).get(_HEADER_KEY)
        content = {} if given is None else dict(parse_json(given))
    except (SafetensorError, ValueError, TypeError) as error:
        raise _damaged(path, " ".join(str(error).split())[:200]) from error
    named = content.get("format"), content.get("version")
    if named != (FORMAT, VERSION):
        raise CheckpointError(
            f"{path} does not hold states of layers",
            expected=f"{FORMAT}, version {VERSION}",
            got=f"{named[0]}, version {named[1]}" if content else "tensors of another origin",
        )
    if content.pop("digest", None) != _digest(content, tensors):
        raise _damaged(path, "its content does not have the recorded digest")
    return [layer["kind"] for layer in content["layers"]], tensors


def _digest(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    arrays = array_digest({name: tensor.numpy() for name, tensor in tensors.items()})
    return digest({**content, "tensors": arrays})


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"the states in {path} are damaged",
        got=why,
        remedy="use another copy, or replay the history into a fresh state",
    )


def _other(path: Path, what: str, expected: str, got: str) -> CheckpointError:
    return CheckpointError(
        f"{what} in {path} is not that of these layers",
        expected=expected,
        got=got,
        remedy="load states into the configuration they were saved from",
    )


def _described(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{_short(tensor.dtype)} of shape {tuple(tensor.shape)}"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
