"""The step of an S4D layer in real numbers, for runtimes that have no complex ones."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, glu, linear

from finchaos.ssm.inputs import parameter_dtype
from finchaos.ssm.s4d import S4D
from finchaos.ssm.s4d_kernel import as_real
from finchaos.ssm.s4d_scan import rounded


class S4DRealStep(nn.Module):
    """:meth:`finchaos.ssm.s4d.S4D.step` with the weights as they are now, for export.

    Takes x (b h) and the state as pairs (b h n 2), ``torch.view_as_real(state.ssm)``, and gives
    back y (b h) and the next state. Values are not checked.

    Parameters
    ----------
    layer : S4D
        In float32 or float64; left unchanged, and no longer needed.

    Examples
    --------
    >>> from finchaos.ssm.s4d import S4DConfig
    >>> layer = S4D(S4DConfig(4, 8)).eval()
    >>> x, state = torch.ones(1, 4), layer.initial_state(1)
    >>> y, _ = S4DRealStep(layer)(x, torch.view_as_real(state.ssm))
    >>> bool(torch.allclose(y, layer.step(x, state)[0], atol=1e-6))
    True
    """

    decay: Tensor
    turn: Tensor
    drive: Tensor
    readout: Tensor
    skip: Tensor
    weight: Tensor
    bias: Tensor

    @torch.no_grad()
    def __init__(self, layer: S4D) -> None:
        super().__init__()
        exact = parameter_dtype(layer.D.dtype)
        modes = rounded(layer.kernel.modes(layer.config.discretisation, layer.D), exact)
        mix = cast(nn.Conv1d, layer.output_linear[0])
        # (a + i b)(x + i y) = (a x - b y) + i (a y + b x): a times the pair, and (-b, b) times the
        # pair the other way round.
        turn = torch.stack([-modes.decay.imag, modes.decay.imag], -1)
        constants = {
            "decay": modes.decay.real.unsqueeze(-1),
            "turn": turn,
            "drive": torch.view_as_real(modes.drive),
            "readout": as_real(modes.readout.conj().resolve_conj()),
            "skip": layer.D,
            "weight": mix.weight.squeeze(-1),
            "bias": mix.bias,
        }
        for name, value in constants.items():
            self.register_buffer(name, cast(Tensor, value).detach().clone())

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output (b h) and next state (b h n 2)."""
        turned = torch.cat([state[..., 1:], state[..., :1]], -1)
        state = self.decay * state + self.turn * turned + self.drive * x[..., None, None]
        y = (self.readout * state.flatten(-2)).sum(-1) + self.skip * x
        return glu(linear(gelu(y), self.weight, self.bias), dim=-1), state
