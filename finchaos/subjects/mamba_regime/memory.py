"""How many bars back the model looks: what its layers could remember, and what its latents use."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from finchaos.models.mamba_regime import MambaRegimeNetwork
from finchaos.ssm.introspection import influence_by_lag, memory_length

PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class Memory:
    """Memory of a network on given windows, in bars.

    Attributes
    ----------
    layers : tuple of (float, float, float)
        For each block, first block first: percentiles 5, 50 and 95 of the time constants of its
        states, see :func:`finchaos.ssm.introspection.memory_length`.
    latents : tuple of int
        For each window: the lag up to which lies ``share`` of the influence of its bars on the
        latents at its end. Close to the length of the window, it was too short to tell.
    share : float
    length : int
        Bars in a window.
    """

    layers: tuple[tuple[float, float, float], ...]
    latents: tuple[int, ...]
    share: float
    length: int


def memory_of(network: MambaRegimeNetwork, windows: np.ndarray, share: float = 0.9) -> Memory:
    """Measure it in float64, every window scanned from nothing; the network stays as it is.

    Parameters
    ----------
    network : MambaRegimeNetwork
    windows : numpy.ndarray, shape (n, length, f)
        Scaled features.
    share : float

    Raises
    ------
    InputError
        If ``share`` is not between 0 and 1, exclusive, or the latents depend on no feature.
    """
    exact = copy.deepcopy(network).double().requires_grad_(False).eval()
    x = torch.from_numpy(np.array(windows, dtype=np.float64))
    with torch.no_grad():
        _, traces = exact.traced_latents(x)
    lengths = [np.percentile(memory_length(trace).numpy(), PERCENTILES) for trace in traces]
    return Memory(
        layers=tuple((float(low), float(mid), float(high)) for low, mid, high in lengths),
        latents=tuple(influence_by_lag(exact.latents, x).effective_memory(share).tolist()),
        share=share,
        length=windows.shape[1],
    )
