"""A stack of blocks as a stream: a row in, a row out, in constant time and memory.

A :class:`Stream` has its own copy of the weights, made when it is compiled, and remembers what it
has seen. A row is (m,): the width of the residual stream; a stream has no batch axis.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm import native
from finchaos.ssm.backends import AUTO, BackendChoice, check_backend, choose_backend
from finchaos.ssm.inputs import check_finite
from finchaos.ssm.layer_inputs import as_stack
from finchaos.ssm.mamba import MambaBlock, MambaState
from finchaos.ssm.mamba2 import Mamba2Block, Mamba2State

Block: TypeAlias = MambaBlock | Mamba2Block
State: TypeAlias = MambaState | Mamba2State
_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_BACKENDS = (AUTO, "cpu", "torch")


class _Engine(Protocol):
    """What advances a stack; shapes and types of what comes here were checked."""

    def step(self, row: np.ndarray) -> np.ndarray | None:
        """The output of a row (m,); None, and nothing done, if it does not fit or is not finite.

        A row may be of any type here, and one that fits but is not aligned may be turned down.
        """

    def advance(self, rows: np.ndarray) -> np.ndarray | None:
        """The outputs of rows (t, m); None, and nothing done, if one is not finite."""

    def read(self) -> Sequence[tuple[Tensor, Tensor]]:
        """Copies of the states, convolution and scan."""

    def write(self, states: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Continue from copies of these states."""

    def fresh(self) -> _Engine:
        """The same weights in the state before anything was seen."""


class _TorchEngine:
    """The blocks' own steps, one after the other."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks
        self._shape, self._dtype = (blocks[0].mixer.config.d_model,), _DTYPES[_dtype(blocks[0])]
        self._states = _blank(blocks)

    def step(self, row: np.ndarray) -> np.ndarray | None:
        if not isinstance(row, np.ndarray) or (row.shape, row.dtype) != (self._shape, self._dtype):
            return None
        outputs = self.advance(row[None])
        return None if outputs is None else outputs[0]

    @torch.inference_mode()
    def advance(self, rows: np.ndarray) -> np.ndarray | None:
        if not np.isfinite(rows).all():
            return None
        outputs = np.empty(rows.shape, rows.dtype)
        states = list(self._states)  # an error half-way leaves the stream where it was
        for t, row in enumerate(torch.from_numpy(rows.copy(order="C"))):
            x = row.unsqueeze(0)
            for i, block in enumerate(self._blocks):
                step: Any = block.step
                x, states[i] = step(x, states[i])
            outputs[t] = x[0].numpy()
        self._states = tuple(states)
        return outputs

    def read(self) -> Sequence[tuple[Tensor, Tensor]]:
        return [(_copied(state.conv), _copied(state.ssm)) for state in self._states]

    def write(self, states: Sequence[tuple[Tensor, Tensor]]) -> None:
        kinds = [type(state) for state in self._states]
        self._states = tuple(
            kind(_copied(conv), _copied(ssm))
            for kind, (conv, ssm) in zip(kinds, states, strict=True)
        )

    def fresh(self) -> _TorchEngine:
        return _TorchEngine(self._blocks)


class Stream:
    """A stack of blocks that remembers what it has seen; made by :func:`compile_stream`.

    It holds memory of constant size, and each row costs the same. Streams are independent of each
    other and of the blocks they came from; one stream belongs to one thread at a time, and a
    compiled one refuses a second thread while the first is at work on it.

    Attributes
    ----------
    engine : BackendChoice
        What computes, ``cpu`` or ``torch``, and why.
    width : int
        Numbers m of a row.
    dtype : numpy.dtype
        Of rows, float32 or float64.
    """

    def __init__(self, engine: _Engine, choice: BackendChoice, blocks: Sequence[Block]) -> None:
        self.engine = choice
        self.width, self.dtype = blocks[0].mixer.config.d_model, _DTYPES[_dtype(blocks[0])]
        self._engine, self._engine_step = engine, engine.step
        self._blocks = blocks

    def step(self, x: np.ndarray) -> np.ndarray:
        """The output of one row.

        Parameters
        ----------
        x : numpy.ndarray, shape (m,)

        Returns
        -------
        numpy.ndarray, shape (m,)
            A fresh array.

        Raises
        ------
        InputError
            If the row has another shape or type, or holds NaN or infinity; the stream stays as it
            was.
        """
        y = self._engine_step(x)
        return self._second_look(x) if y is None else y

    def advance(self, rows: np.ndarray) -> np.ndarray:
        """The outputs of several rows, the same bits as one :meth:`step` after the other.

        Parameters
        ----------
        rows : numpy.ndarray, shape (t, m)
            In the order of time; t may be zero.

        Returns
        -------
        numpy.ndarray, shape (t, m)

        Raises
        ------
        InputError
            As :meth:`step`.
        """
        fits = isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == self.width
        if not fits or rows.dtype != self.dtype:
            raise self._misfit("rows", rows, ("t", self.width))
        outputs = self._engine.advance(rows)
        if outputs is None:
            raise _not_finite("rows", rows)
        return outputs

    def reset(self) -> None:
        """Forget everything seen."""
        self._engine.write([(state.conv, state.ssm) for state in _blank(self._blocks)])

    def fresh(self) -> Stream:
        """Another stream with the same weights that has seen nothing."""
        return Stream(self._engine.fresh(), self.engine, self._blocks)

    @property
    def state(self) -> tuple[State, ...]:
        """Copies of the blocks' states, as their ``forward`` takes and returns them, batch 1."""
        kinds = [type(state) for state in _blank(self._blocks)]
        return tuple(
            kind(conv, ssm) for kind, (conv, ssm) in zip(kinds, self._engine.read(), strict=True)
        )

    def load(self, states: Iterable[State]) -> None:
        """Continue from states of these blocks, as :attr:`state` or ``forward`` gave them.

        Parameters
        ----------
        states : iterable of MambaState or Mamba2State
            One a block, batch 1; copied.

        Raises
        ------
        InputError
            Naming the tensor, if one has another shape or type, or holds NaN or infinity; the
            stream stays as it was.
        """
        if not isinstance(states, Iterable):
            raise InputError("states are those of a stack, one a block", got=type(states).__name__)
        given = tuple(states)
        wanted = _blank(self._blocks)
        if len(given) != len(wanted):
            raise InputError(
                "states are not those of this stack",
                expected=f"{len(wanted)}, one a block",
                got=str(len(given)),
            )
        for i, (state, like) in enumerate(zip(given, wanted, strict=True)):
            _check_state(f"states[{i}]", state, like)
        self._engine.write(
            [(state.conv.detach().cpu(), state.ssm.detach().cpu()) for state in given]
        )

    def __reduce__(self) -> Any:
        raise InputError(
            "a stream cannot be copied or pickled",
            remedy="use fresh() for another one; keep its state and load() it into a stream "
            "compiled from the same blocks",
        )

    def _second_look(self, x: np.ndarray) -> np.ndarray:
        """The output of a row that the engine turned down, or why."""
        fits = isinstance(x, np.ndarray) and x.shape == (self.width,) and x.dtype == self.dtype
        if not fits:
            raise self._misfit("x", x, (self.width,))
        y = self._engine.step(np.array(x))
        if y is None:
            raise _not_finite("x", x)
        return y

    def _misfit(self, name: str, rows: Any, shape: tuple[int | str, ...]) -> InputError:
        array = isinstance(rows, np.ndarray)
        got = f"{rows.dtype} of shape {rows.shape}" if array else type(rows).__name__
        return InputError(
            f"{name} does not fit the stream",
            expected=f"an array of {self.dtype} of shape {_legend(shape)}",
            got=got,
        )


def _not_finite(name: str, rows: np.ndarray) -> InputError:
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(rows))[0])
    return InputError(
        f"{name} holds values that are not finite",
        got=f"{rows[place]} at {place}",
        remedy="clean the input; the stream stays as it was",
    )


def compile_stream(blocks: Iterable[torch.nn.Module], *, backend: str = AUTO) -> Stream:
    """A stack of blocks, compiled to advance one row at a time.

    Parameters
    ----------
    blocks : iterable of MambaBlock or Mamba2Block
        In the order in which a row passes them, all of one width and in float32 or float64.
        Their weights are copied: what becomes of the blocks later does not change the stream.
    backend : {"auto", "cpu", "torch"}
        ``cpu`` does the whole stack in one call of a compiled kernel, ``torch`` one block's
        ``step`` after the other in PyTorch.

    Returns
    -------
    Stream

    Raises
    ------
    InputError
        If a module is of another kind, or widths or types differ, or a weight is not finite.
    UnknownNameError, MissingDependencyError
        If the backend does not exist, or not here.

    Examples
    --------
    >>> from finchaos.ssm import MambaConfig
    >>> stream = compile_stream([MambaBlock(MambaConfig(d_model=4))], backend="torch")
    >>> rows = np.ones((3, 4), dtype=np.float32)
    >>> first = stream.step(rows[0])
    >>> rest = stream.advance(rows[1:])
    >>> stream.reset()
    >>> bool((stream.step(rows[0]) == first).all())
    True
    """
    stack = _checked(as_stack(blocks))
    choice = _choose(backend, stack)
    made = _packed(stack) if choice.name == "cpu" else _TorchEngine(stack)
    return Stream(made, choice, stack)


def _choose(backend: str, blocks: Sequence[Block]) -> BackendChoice:
    check_backend(backend)
    if backend not in _BACKENDS:
        raise InputError(
            f"a stream is not computed by the backend {backend!r}",
            expected=" or ".join(map(repr, _BACKENDS)),
        )
    choice = choose_backend(backend, "cpu")
    lack = "projections with a bias, which no compiled layer has"
    if choice.name == "torch" or not any(map(_has_biased_projections, blocks)):
        return choice
    if backend != AUTO:
        raise InputError(
            f"the backend {backend!r} cannot advance this stack",
            got=lack,
            remedy="ask for 'auto' or 'torch'",
        )
    return BackendChoice("torch", lack)


def _has_biased_projections(block: Block) -> bool:
    return isinstance(block, Mamba2Block) and block.mixer.config.bias


@torch.no_grad()
def _packed(blocks: Sequence[Block]) -> native.PackedStream:
    layers = [block.mixer._for_kernel(block.norm.weight) for block in blocks]
    return native.PackedStream(native.PackedStack(layers))


def _checked(blocks: Sequence[torch.nn.Module]) -> tuple[Block, ...]:
    """Copies of the blocks on the CPU, once it is clear that they make a stack."""
    stack: list[Block] = []
    for i, block in enumerate(blocks):
        if not isinstance(block, MambaBlock | Mamba2Block):
            raise InputError(
                f"blocks[{i}] cannot be part of a stream",
                expected="a MambaBlock or a Mamba2Block",
                got=type(block).__name__,
            )
        stack.append(_copied_block(f"blocks[{i}]", block))
        first, dtype = stack[0], _dtype(stack[0])
        if dtype not in _DTYPES or any(p.dtype != dtype for p in block.parameters()):
            raise InputError(
                f"blocks[{i}] has a type that a stream cannot compute in",
                expected="float32 throughout, or float64 throughout, the same for all blocks",
                got=", ".join(sorted({str(p.dtype) for p in block.parameters()})),
            )
        if block.mixer.config.d_model != first.mixer.config.d_model:
            raise InputError(
                f"blocks[{i}] has another width than the first",
                expected=str(first.mixer.config.d_model),
                got=str(block.mixer.config.d_model),
            )
    if not stack:
        raise InputError("a stream needs blocks", expected="at least one", got="none")
    return tuple(stack)


def _copied_block(name: str, block: Block) -> Block:
    check_finite({f"{name}.{key}": value for key, value in block.named_parameters()})
    return copy.deepcopy(block).cpu().eval().requires_grad_(False)


def _dtype(block: Block) -> torch.dtype:
    return block.mixer.A_log.dtype


def _blank(blocks: Sequence[Block]) -> tuple[State, ...]:
    return tuple(block.initial_state(1) for block in blocks)


def _check_state(name: str, state: State, like: State) -> None:
    if type(state) is not type(like):
        raise InputError(
            f"{name} is not a state of its block",
            expected=type(like).__name__,
            got=type(state).__name__,
        )
    for part, wanted in (("conv", like.conv), ("ssm", like.ssm)):
        tensor: Tensor = getattr(state, part)
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise InputError(
                f"{name}.{part} is of another configuration",
                expected=f"{wanted.dtype} of shape {tuple(wanted.shape)}",
                got=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
            )
        check_finite({f"{name}.{part}": tensor})


def _copied(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)


def _legend(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
