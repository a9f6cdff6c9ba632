"""Layers by parts, projections, convolution and scan: wherever no one kernel does the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from torch import Tensor

from finchaos.ssm.conv import causal_conv
from finchaos.ssm.inputs import ScanOutput, without_padding
from finchaos.ssm.scan import selective_scan
from finchaos.ssm.ssd import ssd_scan

if TYPE_CHECKING:
    from finchaos.ssm.mamba import Mamba, MambaState
    from finchaos.ssm.mamba2 import Mamba2, Mamba2State

StateT = TypeVar("StateT")


class Parts(NamedTuple, Generic[StateT]):
    """What a layer gives, and what passed through it.

    Attributes
    ----------
    y : torch.Tensor, shape (b, t, m)
        Outputs, zero where a row is padding.
    state : MambaState or Mamba2State
        The state after the last step.
    scan : ScanOutput
    given : dict
        Arguments of the scan by name.
    """

    y: Tensor
    state: StateT
    scan: ScanOutput
    given: dict[str, Any]


def mamba_by_parts(
    mixer: Mamba,
    x: Tensor,
    state: MambaState | None,
    lengths: Tensor | None,
    keep: Sequence[int] | None = None,
) -> Parts[MambaState]:
    """A Mamba layer over a sequence; arguments as those of its ``forward`` and of the scan."""
    u, z = mixer.in_proj(x).chunk(2, dim=-1)
    backend = mixer.config.backend
    u, conv = causal_conv(
        u,
        *mixer._kernel(u),
        activation="silu",
        initial_state=None if state is None else state.conv,
        lengths=lengths,
        backend=backend,
    )
    given = mixer._scan_inputs(u, z)
    scan = selective_scan(
        **given,
        initial_state=None if state is None else state.ssm,
        lengths=lengths,
        keep=keep,
        backend=backend,
    )
    after = mixer.state_type(conv, scan.last_state)
    return Parts(mixer.out_proj(scan.y), after, scan, given)


def mamba2_by_parts(
    mixer: Mamba2,
    x: Tensor,
    state: Mamba2State | None,
    lengths: Tensor | None,
    keep: Sequence[int] | None = None,
) -> Parts[Mamba2State]:
    """A Mamba-2 layer over a sequence; arguments as those of its ``forward`` and of the scan."""
    z, mixed, dt = mixer._project(x)
    backend = mixer.config.backend
    mixed, conv = causal_conv(
        mixed,
        *mixer._kernel(mixed),
        activation="silu",
        initial_state=None if state is None else state.conv,
        lengths=lengths,
        backend=backend,
    )
    given = mixer._scan_inputs(mixed, dt, z)
    scan = ssd_scan(
        **given,
        initial_state=None if state is None else state.ssm,
        lengths=lengths,
        keep=keep,
        backend=backend,
    )
    y = without_padding(mixer._finish(scan.y, z), lengths)  # projections may have a bias
    return Parts(y, mixer.state_type(conv, scan.last_state), scan, given)
