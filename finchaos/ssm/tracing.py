"""What happens inside a layer, taken down while it computes: states on the way and step sizes.

One pass by parts, convolution and scan, with the backend of the layer: outputs are those of
``forward`` up to rounding, and everything here can be differentiated. Numbers at a step do not
depend on later ones. How to read a trace is in :mod:`finchaos.ssm.introspection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm.by_parts import mamba2_by_parts, mamba_by_parts
from finchaos.ssm.inputs import ScanOutput, without_padding
from finchaos.ssm.scan import step_size

if TYPE_CHECKING:
    from finchaos.ssm.mamba import Mamba, MambaState
    from finchaos.ssm.mamba2 import Mamba2, Mamba2State

StateT = TypeVar("StateT")
Steps = Sequence[int] | Tensor | None


@dataclass(frozen=True, eq=False)
class Trace(Generic[StateT]):
    """A pass of a layer over a sequence.

    Attributes
    ----------
    y : torch.Tensor, shape (b, t, m)
        What ``forward`` returns; zero where a row is padding.
    state : MambaState or Mamba2State
        The state after the last step, as ``forward`` returns it.
    states : torch.Tensor, shape (b, k, d, n), of Mamba-2 (b, k, h, p, n)
        Hidden states of the scan after each of ``steps``; where a row has ended, its last.
    steps : tuple of int
        Which steps these are.
    dt : torch.Tensor, shape (b, t, d), of Mamba-2 (b, t, h)
        Effective step sizes: after bias, softplus and limits, in float32 or float64; zero where a
        row is padding.
    A : torch.Tensor, shape (d, n), of Mamba-2 (h,)
        Rates, negative: the state decays by ``exp(dt A)`` in a step.
    lengths : torch.Tensor, shape (b,), or None
        Steps of each row where rows are padded.
    """

    y: Tensor
    state: StateT
    states: Tensor
    steps: tuple[int, ...]
    dt: Tensor
    A: Tensor
    lengths: Tensor | None

    def at(self, step: int) -> Tensor:
        """The hidden state after a step, shape (b, d, n) or (b, h, p, n).

        Raises
        ------
        InputError
            If it was not kept.
        """
        if step not in self.steps:
            raise InputError(
                f"the state after step {step} was not kept",
                expected=f"one of {len(self.steps)} steps, {_span(self.steps)}",
                remedy="name the step in keep",
            )
        return self.states[:, self.steps.index(step)]

    def within_block(self, x: Tensor) -> Trace[StateT]:
        """The trace of the residual block around the layer, whose input is ``x`` (b t m)."""
        return replace(self, y=without_padding(x + self.y, self.lengths))


def trace_mamba(
    mixer: Mamba, x: Tensor, keep: Steps, state: MambaState | None, lengths: Tensor | None
) -> Trace[MambaState]:
    """See :meth:`finchaos.ssm.mamba.MambaBlock.trace`."""
    mixer._check(x, state)
    steps = _steps(keep, x)
    y, after, scan, given = mamba_by_parts(mixer, x, state, lengths, steps)
    dt = step_size(given["delta"], given["delta_bias"], positive=True)
    return Trace(
        y=y,
        state=after,
        states=_kept(scan),
        steps=steps,
        dt=without_padding(dt, lengths),
        A=given["A"],
        lengths=lengths,
    )


def trace_mamba2(
    mixer: Mamba2, x: Tensor, keep: Steps, state: Mamba2State | None, lengths: Tensor | None
) -> Trace[Mamba2State]:
    """See :meth:`finchaos.ssm.mamba2.Mamba2Block.trace`."""
    mixer._check(x, state)
    steps = _steps(keep, x)
    y, after, scan, given = mamba2_by_parts(mixer, x, state, lengths, steps)
    dt = step_size(given["dt"], given["dt_bias"], positive=True).clamp(*mixer.config.dt_limit)
    return Trace(
        y=y,
        state=after,
        states=_kept(scan),
        steps=steps,
        dt=without_padding(dt, lengths),
        A=given["A"],
        lengths=lengths,
    )


def _steps(keep: Steps, x: Tensor) -> tuple[int, ...]:
    """All steps unless some are named."""
    return tuple(range(x.shape[1])) if keep is None else tuple(int(step) for step in keep)


def _kept(out: ScanOutput) -> Tensor:
    assert out.states is not None  # noqa: S101  (for the type checker: steps were named)
    return out.states


def _span(steps: tuple[int, ...]) -> str:
    return f"from {steps[0]} to {steps[-1]}" if steps else "none"
