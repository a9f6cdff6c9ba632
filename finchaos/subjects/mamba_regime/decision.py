"""The decision as a differentiable function of a window of features."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from finchaos.models.mamba_regime import MambaRegimeNetwork
from finchaos.regimes.clustering import RegimeClusters


class Decision(nn.Module):
    """Probability of the most stressed regime at the end of a window, in float64.

    The window is scanned from nothing, as if no bar had come before; regimes are those that
    signals use, before debouncing.

    Parameters
    ----------
    network : MambaRegimeNetwork
        Copied; its weights take no gradients here.
    clusters : RegimeClusters
    from_head : bool
        Whether the network's own head says what stress is, and not the clusters.
    """

    def __init__(
        self, network: MambaRegimeNetwork, clusters: RegimeClusters, *, from_head: bool = False
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).double().requires_grad_(False).eval()
        self.temperature, self.from_head = clusters.temperature, from_head
        for name in ("center", "whitening", "log_weight", "mean", "precision_root"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(clusters, name))))

    def forward(self, windows: Tensor) -> Tensor:
        """Probability of stress.

        Parameters
        ----------
        windows : torch.Tensor, shape (n, length, f)
            Scaled features.

        Returns
        -------
        torch.Tensor, shape (n,), float64
        """
        latents = self.network.latents(windows.double())[:, -1]
        if self.from_head:
            return torch.sigmoid(self.network.stress_head(latents)[:, 0] / self.temperature)
        whitened = (latents - self.get_buffer("center")) @ self.get_buffer("whitening")
        away = whitened[:, None, :] - self.get_buffer("mean")
        standardised = torch.einsum("ncw,cwv->ncv", away, self.get_buffer("precision_root"))
        scores = self.get_buffer("log_weight") - 0.5 * standardised.square().sum(-1)
        return torch.softmax(scores / self.temperature, dim=-1)[:, -1]
