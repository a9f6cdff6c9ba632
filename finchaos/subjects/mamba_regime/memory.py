"""What the layers hold, and how many bars back the model looks."""

from __future__ import annotations

import copy

import numpy as np
import torch

from finchaos.core.subject import Memory
from finchaos.models.mamba_regime import MambaRegimeNetwork
from finchaos.ssm.introspection import influence_by_lag, memory_length

# Gradients keep the states of these windows alone, however many there are.
_WINDOWS_AT_ONCE = 8


def memory_of(network: MambaRegimeNetwork, windows: np.ndarray, input_lookback: int = 0) -> Memory:
    """Measure it in float64, every window scanned from nothing; the network stays as it is.

    Parameters
    ----------
    network : MambaRegimeNetwork
    windows : numpy.ndarray, shape (n, length, f)
        Scaled features.
    input_lookback : int
        Bars that one row of features looks back.

    Returns
    -------
    Memory
        Influence as :func:`finchaos.ssm.introspection.influence_by_lag` has it, layers as
        :func:`finchaos.ssm.introspection.memory_length`, every state of every channel.
    """
    exact = copy.deepcopy(network).double().requires_grad_(False).eval()
    x = torch.from_numpy(np.array(windows, dtype=np.float64))
    with torch.no_grad():
        _, traces = exact.traced_latents(x)
    parts = [
        influence_by_lag(exact.latents, x[first : first + _WINDOWS_AT_ONCE]).influence.numpy()
        for first in range(0, len(x), _WINDOWS_AT_ONCE)
    ]
    return Memory(
        influence=np.concatenate(parts),
        layers=tuple(memory_length(trace).flatten().numpy() for trace in traces),
        input_lookback=input_lookback,
    )


def states_of(network: MambaRegimeNetwork, features: np.ndarray) -> dict[str, np.ndarray]:
    """Hidden states after each bar by layer, in float64; the network stays as it is.

    Parameters
    ----------
    network : MambaRegimeNetwork
    features : numpy.ndarray, shape (t, f)
        Scaled.

    Returns
    -------
    dict of str to numpy.ndarray, shape (t, d_inner, d_state)
    """
    exact = copy.deepcopy(network).double().requires_grad_(False).eval()
    with torch.no_grad():
        _, traces = exact.traced_latents(torch.from_numpy(features[None].astype(np.float64)), None)
    return {f"layer{k}": trace.states[0].numpy() for k, trace in enumerate(traces, start=1)}
