"""A network that learns to tell regimes by the curriculum, and keeps it on real bars."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finchaos.core.bars import PRICE_FIELDS, Bars
from finchaos.core.provenance import random_stream, stream_seed
from finchaos.features.schema import FeatureSchema
from finchaos.markets.simulate.heston import simulate
from finchaos.models.mamba_regime import Config, MambaRegimeNetwork, new_network
from finchaos.training.curriculum import (
    SWITCHING_MARKET,
    Stage,
    Weights,
    calm_then_switching,
    teach,
)
from finchaos.training.determinism import one_thread
from finchaos.training.labels import bar_variance, forward_log_variance, standardise
from finchaos.training.loop import CHECKPOINT_EVERY, Examples
from finchaos.training.pretrain import PretrainingReport, report_on
from finchaos.training.simulated import Drawing, Units
from finchaos.training.trainer import Progress

HELD_OUT_PATHS, HELD_OUT_BARS = 24, 1500
REAL_SHARE = 2
"""On real bars every second batch is of them, the others are simulated."""


@dataclass(frozen=True)
class Lessons:
    """How a network is taught.

    Attributes
    ----------
    steps : int
        On simulated bars.
    learning_rate : float
        At its peak.
    drawing : Drawing
        Its variety is that of all stages.
    burn_in_bars : int
        First bars of each window that carry no loss.
    weights : Weights
    """

    steps: int
    learning_rate: float
    drawing: Drawing
    burn_in_bars: int
    weights: Weights


@dataclass(frozen=True, eq=False)
class Taught:
    """A network after its simulated lessons.

    Attributes
    ----------
    network : MambaRegimeNetwork
    units : Units
        In which it reads simulated bars.
    report : PretrainingReport
    """

    network: MambaRegimeNetwork
    units: Units
    report: PretrainingReport


def teach_detection(
    config: Config,
    schema: FeatureSchema,
    lessons: Lessons,
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Taught:
    """Teach a new network on simulated bars: calm markets first, then markets that switch.

    Parameters
    ----------
    config : Config
    schema : FeatureSchema
    lessons : Lessons
    seed : int
        Decides units, paths, initial weights and windows.
    folder : Path, optional
        Where training states are saved. With states of this very training there, it is gone on
        with.
    progress : callable, optional

    Raises
    ------
    DivergenceError, CheckpointError
        See :func:`finchaos.training.trainer.fit`.
    """
    units = Units.of_market(
        SWITCHING_MARKET, schema, config.horizons, seed=stream_seed(seed, "detection/units")
    )
    network = new_network(config, stream_seed(seed, "detection/weights"))
    losses = teach(
        network,
        calm_then_switching(lessons.steps, lessons.learning_rate, variety=lessons.drawing.variety),
        units,
        lessons.drawing,
        seed=stream_seed(seed, "detection/lessons"),
        weights=lessons.weights,
        burn_in_bars=lessons.burn_in_bars,
        folder=folder,
        checkpoint_every=CHECKPOINT_EVERY,
        progress=progress,
    )
    paths = simulate(
        SWITCHING_MARKET,
        HELD_OUT_PATHS,
        HELD_OUT_BARS,
        random_stream(seed, "detection/held_out"),
    )
    with one_thread():
        report = report_on(
            network,
            units.features(paths),
            paths.variance,
            known=slice(min(schema.lookback, HELD_OUT_BARS // 2), None),
            losses=[loss for stage in losses.values() for loss in stage],
            stressed=paths.regime > 0,
        )
    return Taught(network, units, report)


def teach_real(
    network: MambaRegimeNetwork,
    units: Units,
    bars: Bars,
    features: np.ndarray,
    lessons: Lessons,
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> MambaRegimeNetwork:
    """A copy of a taught network after the last stage: real bars, among simulated ones.

    Real bars tell the variance to come; which regime drives them is told by simulated ones alone.

    Parameters
    ----------
    network : MambaRegimeNetwork
        Left unchanged.
    units : Units
        Of its simulated lessons.
    bars : Bars
        The training window; nothing beyond it is read.
    features : numpy.ndarray, shape (t, f)
        Scaled features of the bars.
    lessons : Lessons
        Steps and rate are those of this stage.
    seed : int
    folder : Path, optional
    progress : callable, optional
    """
    variance = bar_variance({name: getattr(bars, name) for name in PRICE_FIELDS})
    ahead = standardise(forward_log_variance(variance, network.config.horizons))
    unknown = np.full((len(bars), 1), np.nan)
    targets = np.concatenate([unknown, ahead, unknown], axis=1)
    tuned = copy.deepcopy(network)
    stage = Stage(
        "real bars",
        lessons.steps,
        lessons.learning_rate,
        SWITCHING_MARKET,
        lessons.drawing.variety,
        real_share=REAL_SHARE,
    )
    teach(
        tuned,
        [stage],
        units,
        lessons.drawing,
        seed=stream_seed(seed, "detection/real"),
        weights=lessons.weights,
        burn_in_bars=lessons.burn_in_bars,
        real=Examples(features[None], targets[None]),
        folder=folder,
        checkpoint_every=CHECKPOINT_EVERY,
        progress=progress,
    )
    return tuned
