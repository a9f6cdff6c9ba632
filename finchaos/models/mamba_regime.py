"""The network of ``mamba_regime``: scaled features to latents, and heads that read them.

Mamba blocks summarise the past of the features in a few latents. On simulated bars one head tracks
the variance that Heston's model hides and one says which regime drives it; another forecasts the
variance of the bars ahead, on simulated and on real bars alike. Regimes are found among the
latents.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from finchaos.core.errors import InputError
from finchaos.ssm.mamba import NORM_EPSILON, MambaBlock, MambaConfig, MambaState, RMSNorm
from finchaos.ssm.streaming import compile_stream
from finchaos.ssm.tracing import Trace


@dataclass(frozen=True)
class Config:
    """Sizes of the network.

    Attributes
    ----------
    n_features : int
        Scaled features f per bar.
    d_model, d_state, d_conv, n_layers : int
        Mamba layers, see :class:`finchaos.ssm.mamba.MambaConfig`.
    d_latent : int
        Latents k per bar.
    horizons : tuple of int
        Bars ahead over which the variance is forecast, one output each.
    backend : str
        Scan backend of training and attribution.
    """

    n_features: int
    d_model: int = 16
    d_state: int = 8
    d_conv: int = 4
    n_layers: int = 2
    d_latent: int = 3
    horizons: tuple[int, ...] = (1, 5, 20)
    backend: str = "torch"

    def __post_init__(self) -> None:
        counts = (self.n_features, self.n_layers, self.d_latent, len(self.horizons))
        if min(counts) < 1 or min(self.horizons) < 1:
            raise InputError("sizes of a network must be positive", got=repr(self))
        _ = self.layer

    @property
    def layer(self) -> MambaConfig:
        """Sizes of one Mamba layer."""
        return MambaConfig(self.d_model, self.d_state, self.d_conv, backend=self.backend)


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the network says at every bar.

    Attributes
    ----------
    latents : torch.Tensor, shape (b, t, k)
    variance : torch.Tensor, shape (b, t, 1)
        Standardised log of the present variance.
    forecast : torch.Tensor, shape (b, t, h)
        Standardised log of the mean variance over each horizon ahead.
    stress : torch.Tensor, shape (b, t, 1)
        Log odds that the regime is the stressed one.
    """

    latents: Tensor
    variance: Tensor
    forecast: Tensor
    stress: Tensor

    @property
    def targets(self) -> Tensor:
        """Variance and forecasts side by side, shape (b, t, 1 + h)."""
        return torch.cat([self.variance, self.forecast], dim=-1)


class MambaRegimeNetwork(nn.Module):
    """Embedding, Mamba blocks, latents, heads.

    Parameters
    ----------
    config : Config
    generator : torch.Generator, optional
        Source of the initial weights; the process-wide generator otherwise.
    """

    def __init__(self, config: Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.n_features, config.d_model)
        self.blocks = nn.ModuleList(
            MambaBlock(config.layer, generator) for _ in range(config.n_layers)
        )
        self.norm = RMSNorm(config.d_model)
        self.to_latents = nn.Linear(config.d_model, config.d_latent)
        self.variance_head = nn.Linear(config.d_latent, 1)
        self.forecast_head = nn.Linear(config.d_latent, len(config.horizons))
        self.stress_head = nn.Linear(config.d_latent, 1)
        for layer in (
            self.embed,
            self.to_latents,
            self.variance_head,
            self.forecast_head,
            self.stress_head,
        ):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.zeros_(layer.bias)

    def latents(self, x: Tensor) -> Tensor:
        """Latents of each bar from that bar and earlier ones, nothing being known before the first.

        Parameters
        ----------
        x : torch.Tensor, shape (b, t, f)
            Scaled features.

        Returns
        -------
        torch.Tensor, shape (b, t, k)
        """
        x = self.embed(x)
        for block in self.blocks:
            x, _ = block(x)
        latents: Tensor = self.to_latents(self.norm(x))
        return latents

    def traced_latents(
        self, x: Tensor, keep: Sequence[int] | None = ()
    ) -> tuple[Tensor, tuple[Trace[MambaState], ...]]:
        """What :meth:`latents` gives, and what happened in each block meanwhile, in one pass.

        Parameters
        ----------
        x : torch.Tensor, shape (b, t, f)
        keep : sequence of int, optional
            Bars after which the hidden states are kept; none by default, all for None.

        Returns
        -------
        (torch.Tensor, shape (b, t, k), tuple of Trace)
            One trace a block, first block first.
        """
        x, traces = self.embed(x), list[Trace[MambaState]]()
        for block in self.blocks:
            traces.append(cast(MambaBlock, block).trace(x, keep=keep))
            x = traces[-1].y
        return self.to_latents(self.norm(x)), tuple(traces)

    def forward(self, x: Tensor) -> Outputs:
        """Latents and what the heads read from them, for features of shape (b, t, f)."""
        latents = self.latents(x)
        return Outputs(
            latents,
            self.variance_head(latents),
            self.forecast_head(latents),
            self.stress_head(latents),
        )


def new_network(config: Config, seed: int) -> MambaRegimeNetwork:
    """A network with weights drawn from ``seed``; the process-wide generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        return MambaRegimeNetwork(config, torch.Generator().manual_seed(seed))


def _row_product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``rows @ matrix``, each row by itself: its bits do not depend on the other rows."""
    product: np.ndarray = np.matmul(rows[:, None, :], matrix)[:, 0, :]
    return product


def _normalise(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """RMSNorm of each row, shape (t, m)."""
    square = np.matmul(rows[:, None, :], rows[:, :, None])[:, 0]
    return rows / np.sqrt(square / rows.shape[1] + NORM_EPSILON) * weight


class LatentReplay:
    """Latents bar by bar in float64: the same bits in a stream and over a whole history.

    Parameters
    ----------
    network : MambaRegimeNetwork
        Its weights are copied.
    backend : str
        What steps the blocks, see :func:`finchaos.ssm.streaming.compile_stream`.
    """

    def __init__(self, network: MambaRegimeNetwork, backend: str = "auto") -> None:
        def weights(value: Tensor) -> np.ndarray:
            return np.array(value.detach().cpu().numpy().T, dtype=np.float64, order="C")

        self._embed = (weights(network.embed.weight), weights(network.embed.bias))
        self._norm = weights(network.norm.weight)
        self._out = (weights(network.to_latents.weight), weights(network.to_latents.bias))
        self._stress = (weights(network.stress_head.weight), weights(network.stress_head.bias))
        self._blocks = compile_stream(
            (copy.deepcopy(block).double() for block in network.blocks), backend=backend
        )
        self._count = len(network.blocks)

    def fresh(self) -> LatentReplay:
        """A session with the same weights that has seen nothing."""
        other = object.__new__(LatentReplay)
        other._embed, other._norm, other._out = self._embed, self._norm, self._out
        other._stress = self._stress
        other._blocks, other._count = self._blocks.fresh(), self._count
        return other

    def state(self) -> dict[str, np.ndarray]:
        """What the blocks remember, by block and part."""
        return {
            f"{number}.{name}": part.numpy()
            for number, block in enumerate(self._blocks.state)
            for name, part in (("conv", block.conv), ("ssm", block.ssm))
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Remember this and nothing else.

        Raises
        ------
        InputError
            If it is not what :meth:`state` of such a network gives; nothing is changed then.
        """
        wanted = [f"{number}.{name}" for number in range(self._count) for name in ("conv", "ssm")]
        if sorted(state) != sorted(wanted):
            raise InputError(
                "a saved state is of another network",
                expected=", ".join(wanted),
                got=", ".join(sorted(state)),
            )
        tensors = {name: torch.from_numpy(part.copy()) for name, part in state.items()}
        self._blocks.load(
            MambaState(tensors[f"{number}.conv"], tensors[f"{number}.ssm"])
            for number in range(self._count)
        )

    def advance(self, x: np.ndarray) -> np.ndarray:
        """Latents after each of the next rows of scaled features.

        Parameters
        ----------
        x : numpy.ndarray, shape (t, f)

        Returns
        -------
        numpy.ndarray, shape (t, k)
        """
        rows = _row_product(np.ascontiguousarray(x, dtype=np.float64), self._embed[0])
        rows = self._blocks.advance(rows + self._embed[1])
        return _row_product(_normalise(rows, self._norm), self._out[0]) + self._out[1]

    def stress(self, latents: np.ndarray) -> np.ndarray:
        """Log odds of the stressed regime, shape (t,), for latents of shape (t, k)."""
        odds: np.ndarray = (_row_product(latents, self._stress[0]) + self._stress[1])[:, 0]
        return odds
