"""Pre-training on simulated bars, where the variance that real bars hide is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream, stream_seed
from finchaos.features.scaling import RobustScaler
from finchaos.features.schema import FeatureSchema
from finchaos.markets.simulate.heston import HestonConfig, HestonPaths, simulate
from finchaos.models.mamba_regime import Config, MambaRegimeNetwork, new_network
from finchaos.regimes.kpis import auc
from finchaos.training.determinism import one_thread
from finchaos.training.labels import bar_variance, forward_log_variance, standardise
from finchaos.training.loop import Examples, Schedule, train
from finchaos.training.trainer import Progress

STAGE = "pre-training on Heston paths"


@dataclass(frozen=True)
class Laboratory:
    """Simulated bars to learn from.

    Attributes
    ----------
    paths, held_out_paths : int
        Paths to train on, and paths kept for the report.
    bars : int
        Bars per path.
    market : HestonConfig
    """

    paths: int = 96
    held_out_paths: int = 24
    bars: int = 1000
    market: HestonConfig = field(default_factory=HestonConfig)

    def __post_init__(self) -> None:
        if min(self.paths, self.held_out_paths) < 1 or self.bars < 2:
            raise InputError("the laboratory needs paths to train on and to hold out")


@dataclass(frozen=True)
class PretrainingReport:
    """How well a pre-trained network tracks the variance on paths that it never saw.

    Attributes
    ----------
    tracking_correlation : float
        Correlation of its reading with the true log variance, over all bars past the look-back.
    feature_correlation : float
        The largest absolute correlation that a single feature reaches on the same bars.
    first_loss, last_loss : float
        Mean loss of the first and the last tenth of the steps.
    steps : int
    detection_auc : float or None
        Area under the curve of its probability of stress against the true regimes; None where it
        did not learn them.
    """

    tracking_correlation: float
    feature_correlation: float
    first_loss: float
    last_loss: float
    steps: int
    detection_auc: float | None = None


def pretrain(
    config: Config,
    schema: FeatureSchema,
    laboratory: Laboratory,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> tuple[MambaRegimeNetwork, PretrainingReport]:
    """A network that tracks log v_t on Heston paths with changes of regime.

    Parameters
    ----------
    config : Config
    schema : FeatureSchema
    laboratory : Laboratory
    schedule : Schedule
    seed : int
        Decides paths, initial weights and windows. Process-wide generators are left alone.
    folder : Path, optional
        See :func:`finchaos.training.loop.train`.
    progress : callable, optional

    Returns
    -------
    (MambaRegimeNetwork, PretrainingReport)
    """
    count = laboratory.paths + laboratory.held_out_paths
    paths = simulate(
        laboratory.market, count, laboratory.bars, random_stream(seed, "pretrain/paths"), seed=seed
    )
    arrays = {name: getattr(paths, name) for name in ("open", "high", "low", "close")}
    values = schema.compute(arrays)
    seen = slice(0, laboratory.paths)
    scaler = RobustScaler.fit(values[seen], fixed=schema.bounded)
    features = scaler.transform(values)
    with one_thread():
        network = new_network(config, stream_seed(seed, "pretrain/weights"))
        losses = train(
            network,
            Examples(features[seen], _targets(paths, arrays, config)[seen]),
            schedule,
            random_stream(seed, "pretrain/windows"),
            stage=STAGE,
            folder=folder,
            progress=progress,
        )
        held_out = slice(laboratory.paths, count)
        known = slice(min(schema.lookback, laboratory.bars // 2), None)
        report = report_on(
            network, features[held_out], paths.variance[held_out], known=known, losses=losses
        )
    return network, report


def report_on(
    network: MambaRegimeNetwork,
    features: np.ndarray,
    variance: np.ndarray,
    *,
    known: slice,
    losses: Sequence[float],
    stressed: np.ndarray | None = None,
) -> PretrainingReport:
    """What a network reads from held-out paths.

    Parameters
    ----------
    network : MambaRegimeNetwork
    features : numpy.ndarray, shape (p, t, f)
        Scaled.
    variance : numpy.ndarray, shape (p, t)
        The truth, annual.
    known : slice
        Bars that count.
    losses : sequence of float
        Of every step of its training.
    stressed : numpy.ndarray, shape (p, t), bool, optional
        The true regimes of a network that learnt them.
    """
    with torch.no_grad():
        said = network(torch.from_numpy(features.astype(np.float32)))
    truth = np.log(np.maximum(variance[:, known], 1e-12)).ravel()
    read, odds = (
        head[:, known, 0].numpy().astype(np.float64).ravel()
        for head in (said.variance, said.stress)
    )
    columns = features[:, known].reshape(len(truth), -1).T
    tenth = max(1, len(losses) // 10)
    return PretrainingReport(
        tracking_correlation=_correlation(read, truth),
        feature_correlation=max(abs(_correlation(column, truth)) for column in columns),
        first_loss=float(np.mean(losses[:tenth])) if losses else 0.0,
        last_loss=float(np.mean(losses[-tenth:])) if losses else 0.0,
        steps=len(losses),
        detection_auc=None if stressed is None else auc(odds, stressed[:, known].ravel()),
    )


def _targets(paths: HestonPaths, arrays: dict[str, np.ndarray], config: Config) -> np.ndarray:
    """Standardised log v_t and forward log variances, shape (p, t, 1 + h)."""
    present = np.log(np.maximum(paths.variance, 1e-6))[..., None]
    ahead = forward_log_variance(bar_variance(arrays), config.horizons)
    return standardise(np.concatenate([present, ahead], axis=-1))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; 0 where one side does not vary."""
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
