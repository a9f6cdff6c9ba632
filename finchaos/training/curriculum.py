"""A curriculum: calm simulated markets, then markets that switch, then real bars.

Real bars tell neither the variance behind them nor the regime, and there is one history. Simulated
bars tell both and never run out, so the network learns there what variance and regimes look like,
and only then, on real bars, what can be read there: the variance to come. While it does it goes on
seeing simulated bars, or it would unlearn the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import CALM, HestonConfig
from finchaos.models.mamba_regime import MambaRegimeNetwork, Outputs
from finchaos.training.dataset import Batch, BatchSource
from finchaos.training.determinism import one_thread
from finchaos.training.loop import Examples, RandomWindows, Schedule, roughness
from finchaos.training.losses import Loss, binary_focal, huber
from finchaos.training.simulated import Drawing, SimulatedWindows, Units
from finchaos.training.trainer import Progress, TrainerConfig, fit

CALM_MARKET = HestonConfig(regimes=(CALM,))
SWITCHING_MARKET = HestonConfig()


@dataclass(frozen=True)
class Weights:
    """What counts how much in the loss.

    Attributes
    ----------
    stress : float
        Cross entropy of the regime.
    variance : float
        Huber loss of log v_t.
    forecast : float
        Huber loss of the forward log variances.
    slowness : float
        Roughness of the latents, see :func:`finchaos.training.loop.roughness`.
    """

    stress: float = 1.0
    variance: float = 0.3
    forecast: float = 0.1
    slowness: float = 0.0

    def __post_init__(self) -> None:
        if not all(0.0 <= weight < float("inf") for weight in asdict(self).values()):
            raise InputError("weights of a loss are finite and not negative", got=repr(self))


@dataclass(frozen=True)
class Stage:
    """One part of a curriculum.

    Attributes
    ----------
    name : str
    steps : int
    learning_rate : float
        At its peak.
    market : HestonConfig
        What simulated bars come from.
    variety : float
        How different the markets of different draws are, see
        :class:`finchaos.training.simulated.Drawing`.
    real_share : int
        One batch in so many is of real bars; 0 for none.
    """

    name: str
    steps: int
    learning_rate: float
    market: HestonConfig
    variety: float = 0.0
    real_share: int = 0

    def __post_init__(self) -> None:
        if not self.name or self.real_share < 0:
            raise InputError("a stage has a name and a share of real batches >= 0", got=repr(self))


def calm_then_switching(
    steps: int, learning_rate: float = 4e-3, *, variety: float = 0.0, calm: float = 0.2
) -> tuple[Stage, Stage]:
    """The simulated stages: a share ``calm`` of the steps in calm markets, the rest in switching
    ones."""
    first = round(calm * steps)
    return (
        Stage("calm", first, learning_rate, CALM_MARKET, variety),
        Stage("switching", steps - first, learning_rate, SWITCHING_MARKET, variety),
    )


def teach(
    network: MambaRegimeNetwork,
    stages: Sequence[Stage],
    units: Units,
    drawing: Drawing,
    *,
    seed: int,
    weights: Weights | None = None,
    burn_in_bars: int = 60,
    real: Examples | None = None,
    folder: Path | None = None,
    checkpoint_every: int = 100,
    progress: Progress | None = None,
) -> dict[str, tuple[float, ...]]:
    """Take a network through the stages, in place.

    Parameters
    ----------
    network : MambaRegimeNetwork
    stages : sequence of Stage
    units : Units
        Of the simulated bars, the same in all stages.
    drawing : Drawing
        Its variety is that of the stage.
    seed : int
        Decides which bars are simulated and which windows are seen.
    weights : Weights, optional
    burn_in_bars : int
        First bars of each window that carry no loss, as their past is unknown.
    real : Examples, optional
        Scaled features and targets of real bars, of as many columns as ``units`` gives; what is
        unknown there, variance and regime, is NaN.
    folder : Path, optional
        Where training states are saved, a folder a stage. With states of this very curriculum
        there, it is gone on with.
    checkpoint_every : int
        Steps from one saved state to the next.
    progress : callable, optional

    Returns
    -------
    dict of str to tuple of float
        Loss of every step by stage.

    Raises
    ------
    InputError
        If names of stages repeat, a stage wants real bars and there are none, or a window is
        shorter than its burn-in.
    DivergenceError, CheckpointError
        See :func:`finchaos.training.trainer.fit`.
    """
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise InputError("stages of a curriculum have different names", got=", ".join(names))
    if not 0 <= burn_in_bars < drawing.window_bars:
        raise InputError(
            "the burn-in must leave something of a window",
            expected=f"from 0 to {drawing.window_bars - 1}",
            got=str(burn_in_bars),
        )
    objective = _Objective(weights or Weights(), burn_in_bars)
    losses: dict[str, tuple[float, ...]] = {}
    for stage in stages:
        config = TrainerConfig(
            steps=stage.steps,
            learning_rate=stage.learning_rate,
            checkpoint_every=checkpoint_every if folder else 0,
        )
        with one_thread():
            losses[stage.name] = fit(
                network,
                _source(stage, units, drawing, real, seed),
                objective,
                config,
                stage=stage.name,
                folder=folder / stage.name if folder else None,
                identity={"stages": _plain(stages), "loss": asdict(objective.weights)},
                progress=progress,
            ).losses
    return losses


@dataclass(frozen=True)
class _Objective:
    weights: Weights
    burn_in_bars: int

    def __call__(self, said: Outputs, batch: Batch) -> Loss:
        known, weights = slice(self.burn_in_bars, None), self.weights
        targets = batch.targets[:, known]
        stress = binary_focal(said.stress[:, known], targets[..., -1:], gamma=0.0)
        variance = huber(said.variance[:, known], targets[..., :1])
        forecast = huber(said.forecast[:, known], targets[..., 1:-1])
        mean = (
            weights.stress * stress.mean
            + weights.variance * variance.mean
            + weights.forecast * forecast.mean
        )
        if weights.slowness:
            mean = mean + weights.slowness * roughness(said.latents[:, known])
        return Loss(mean, forecast.weight)


class _Taking:
    """Batches of two sources, one in ``every`` from the second."""

    def __init__(self, first: BatchSource, second: BatchSource, every: int) -> None:
        self._sources, self._every, self._number = (first, second), every, 0

    def next(self) -> Batch:
        self._number += 1
        return self._sources[self._number % self._every == 0].next()

    def state(self) -> dict[str, Any]:
        return {"number": self._number, "sources": [s.state() for s in self._sources]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._number = int(state["number"])
        for source, saved in zip(self._sources, state["sources"], strict=True):
            source.restore(saved)

    def identity(self) -> dict[str, Any]:
        return {"every": self._every, "sources": [s.identity() for s in self._sources]}


def _source(
    stage: Stage, units: Units, drawing: Drawing, real: Examples | None, seed: int
) -> BatchSource:
    name = f"curriculum/{stage.name}"
    simulated = SimulatedWindows(
        stage.market, units, replace(drawing, variety=stage.variety), seed=seed, name=name
    )
    if not stage.real_share:
        return simulated
    if real is None:
        raise InputError(f"the stage {stage.name!r} needs real bars", remedy="pass real=")
    schedule = Schedule(1, drawing.batch, drawing.window_bars, 0, stage.learning_rate)
    windows = RandomWindows(real, schedule, random_stream(seed, f"{name}/real"))
    return _Taking(simulated, windows, stage.real_share)


def _plain(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    return [asdict(stage) for stage in stages]
