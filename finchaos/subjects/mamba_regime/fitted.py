"""What training on real bars determines: network, scaler, regimes and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from finchaos.core.bars import Bars
from finchaos.core.errors import CheckpointError, DataError
from finchaos.core.provenance import stream_seed
from finchaos.features.scaling import RobustScaler
from finchaos.models.mamba_regime import Config, LatentReplay, MambaRegimeNetwork, new_network
from finchaos.regimes.clustering import RegimeClusters
from finchaos.subjects.mamba_regime.settings import Settings
from finchaos.trading.feed_guard import FeedLimits
from finchaos.trading.kill_switch import distance_limit
from finchaos.trading.novelty import Novelty, fit_novelty, novelty_arrays, novelty_from_arrays
from finchaos.training.detection import teach_real
from finchaos.training.finetune import finetune
from finchaos.training.simulated import Units
from finchaos.training.trainer import Progress

_LIMITS = ("distance", "log_move", "log_shock", "gap_days", "repeats")


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model, all but its settings.

    Attributes
    ----------
    network : MambaRegimeNetwork
        Read only, by agreement.
    scaler : RobustScaler
    clusters : RegimeClusters
    distance_limit : float
        Largest distance from training that is tolerated: the 99.9th percentile of training
        distances to the nearest regime, or what the monitor of novelty found.
    feed : FeedLimits
    novelty : Novelty or None
        Measures the distance; None where the regimes do.
    """

    network: MambaRegimeNetwork
    scaler: RobustScaler
    clusters: RegimeClusters
    distance_limit: float
    feed: FeedLimits
    novelty: Novelty | None = None

    @cached_property
    def replay(self) -> LatentReplay:
        """The network bar by bar; sessions start from ``replay.fresh()``."""
        return LatentReplay(self.network)

    def probabilities(self, latents: np.ndarray, settings: Settings) -> np.ndarray:
        """Of the regimes, calmest first, shape (t, c), before debouncing."""
        if settings.stress_from == "clusters":
            return self.clusters.probabilities(latents)
        stress = expit(self.replay.stress(latents) / settings.temperature)
        return np.column_stack([1.0 - stress, stress])

    def distance(self, latents: np.ndarray) -> np.ndarray:
        """How unlike training each row is, shape (t,)."""
        if self.novelty is None:
            return self.clusters.distance(latents)
        return self.novelty.distance(self.clusters.coordinates(latents))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything here as named arrays."""
        limits = (
            self.distance_limit,
            self.feed.log_move,
            self.feed.log_shock,
            self.feed.gap_days,
            float(self.feed.repeats),
        )
        monitor = {} if self.novelty is None else novelty_arrays(self.novelty)
        return {
            **prefixed("novelty", monitor),
            **prefixed("network", weights_of(self.network)),
            **prefixed("scaler", self.scaler.to_arrays()),
            **prefixed("clusters", self.clusters.to_arrays()),
            **prefixed("limit", {n: np.array([v]) for n, v in zip(_LIMITS, limits, strict=True)}),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], config: Config) -> Fitted:
        """What :meth:`to_arrays` described.

        Raises
        ------
        CheckpointError
            If arrays are missing or damaged.
        """
        limits = part_of("limit", arrays)
        if set(limits) != set(_LIMITS):
            raise CheckpointError("limits are missing", got=", ".join(sorted(limits)) or "none")
        monitor = part_of("novelty", arrays)
        try:
            scaler = RobustScaler.from_arrays(part_of("scaler", arrays))
        except DataError as error:
            raise CheckpointError("the scaler is damaged", got=str(error)) from error
        return cls(
            network_with(config, part_of("network", arrays)),
            scaler,
            RegimeClusters.from_arrays(part_of("clusters", arrays)),
            float(limits["distance"][0]),
            FeedLimits(
                float(limits["log_move"][0]),
                float(limits["log_shock"][0]),
                float(limits["gap_days"][0]),
                int(limits["repeats"][0]),
            ),
            novelty_from_arrays(monitor) if monitor else None,
        )


def fit(
    network: MambaRegimeNetwork,
    bars: Bars,
    settings: Settings,
    *,
    seed: int,
    units: Units | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Fine-tune a pre-trained network on ``bars`` and fit everything else on the same rows.

    Parameters
    ----------
    network : MambaRegimeNetwork
    bars : Bars
    settings : Settings
    seed : int
    units : Units, optional
        Of a network taught by a curriculum.
    folder : Path, optional
        Where training states are saved, to go on with after a crash.
    progress : callable, optional

    Raises
    ------
    DataError
        If there are too few bars, no range where features need one, or no two regimes that differ
        in volatility.
    """
    if len(bars) < settings.least_training_bars:
        raise DataError(
            "too few bars to train mamba_regime",
            expected=f"at least {settings.least_training_bars}",
            got=str(len(bars)),
            remedy="use a longer history",
        )
    schema = settings.schema_of_features
    known = slice(settings.warmup_bars, None)
    values = schema.open().replay(bars)
    scaler = RobustScaler.fit(values[known], fixed=schema.bounded)
    features = scaler.transform(values)
    how: dict[str, Any] = {"seed": seed, "folder": folder, "progress": progress}
    if units is None:
        tuned = finetune(network, bars, features, settings.finetuning, **how)
    else:
        tuned = teach_real(network, units, bars, features, settings.last_lessons, **how)
    latents = LatentReplay(tuned).advance(features)[known]
    log_returns = np.diff(np.log(bars.close), prepend=np.log(bars.open[0]))[known]
    clusters = RegimeClusters.fit(
        latents, log_returns, settings.cluster_rule, seed=stream_seed(seed, "regimes")
    )
    monitor, limit = _monitor(clusters, latents, settings)
    return Fitted(
        network=tuned,
        scaler=scaler,
        clusters=clusters,
        distance_limit=limit,
        feed=FeedLimits.learn(
            bars,
            move_multiple=settings.move_multiple,
            least_log_move=settings.least_log_move,
            shock_multiple=settings.shock_multiple,
            gap_multiple=settings.gap_multiple,
        ),
        novelty=monitor,
    )


def _monitor(
    clusters: RegimeClusters, latents: np.ndarray, settings: Settings
) -> tuple[Novelty | None, float]:
    """What measures the distance from training, and its limit."""
    rule = settings.novelty_rule
    if rule is None:
        return None, distance_limit(clusters.distance(latents))
    labels = clusters.log_scores(latents).argmax(axis=1)
    return fit_novelty(clusters.coordinates(latents), labels, rule)


def weights_of(network: MambaRegimeNetwork) -> dict[str, np.ndarray]:
    """A network's weights by name."""
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def network_with(config: Config, weights: Mapping[str, np.ndarray]) -> MambaRegimeNetwork:
    """A network with given weights.

    Raises
    ------
    CheckpointError
        If names or shapes are not those of ``config``, or a weight is not finite.
    """
    network = new_network(config, 0)
    try:
        network.load_state_dict({n: torch.from_numpy(v.copy()) for n, v in weights.items()})
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            "the weights do not fit the network", got=" ".join(str(error).split())[:300]
        ) from error
    if not all(np.isfinite(value).all() for value in weights.values()):
        raise CheckpointError("a weight is not finite")
    return network.eval()


def prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays under names that begin with ``prefix``."""
    return {f"{prefix}.{name}": value for name, value in arrays.items()}


def part_of(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with ``prefix``, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): v for n, v in arrays.items() if n.startswith(start)}
