"""Fine-tuning on a training window of real bars: forecast the variance of the bars ahead."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np

from finchaos.core.bars import PRICE_FIELDS, Bars
from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.models.mamba_regime import MambaRegimeNetwork
from finchaos.training.determinism import one_thread
from finchaos.training.labels import bar_variance, forward_log_variance, standardise
from finchaos.training.loop import Examples, Schedule, train
from finchaos.training.trainer import Progress

STAGE = "fine-tuning"


def finetune(
    network: MambaRegimeNetwork,
    bars: Bars,
    features: np.ndarray,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> MambaRegimeNetwork:
    """A copy of ``network`` trained to forecast the variance of ``bars``.

    Parameters
    ----------
    network : MambaRegimeNetwork
        Left unchanged.
    bars : Bars
        The training window. The last k bars carry no label for a horizon of k; nothing beyond the
        window is read.
    features : numpy.ndarray, shape (t, f)
        Scaled features of the bars.
    schedule : Schedule
    seed : int
    folder : Path, optional
        See :func:`finchaos.training.loop.train`.
    progress : callable, optional

    Raises
    ------
    DataError
        If the window is shorter than one training window and its longest horizon.
    """
    horizons = network.config.horizons
    needed = schedule.window_bars + max(horizons)
    if len(bars) < needed:
        raise DataError(
            "too few bars to fine-tune on",
            expected=f"at least {needed}",
            got=str(len(bars)),
            remedy="train on a longer history or use shorter windows",
        )
    variance = bar_variance({name: getattr(bars, name) for name in PRICE_FIELDS})
    ahead = standardise(forward_log_variance(variance, horizons))
    unknown = np.full((len(bars), 1), np.nan)
    examples = Examples(features[None], np.concatenate([unknown, ahead], axis=1)[None])
    tuned = copy.deepcopy(network)
    with one_thread():
        train(
            tuned,
            examples,
            schedule,
            random_stream(seed, "finetune/windows"),
            stage=STAGE,
            folder=folder,
            progress=progress,
        )
    return tuned
