"""The training loop: AdamW, warm-up and cosine, clipping, accumulation, early stopping, resuming.

Everything that decides a training can be saved and loaded: weights, moments of the optimiser, the
place of the batch source, the state of the random generators, the best weights so far. The
learning rate is a function of the step. A training that was killed and is started again ends with
the very bits of one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finchaos.core.errors import DivergenceError, InputError
from finchaos.training.blocks import Precision, run_blocks
from finchaos.training.dataset import Batch, BatchSource
from finchaos.training.logs import Log
from finchaos.training.losses import Loss
from finchaos.training.run_state import RunState, private_randomness
from finchaos.training.training_state import owned, saved_steps, state_path

Progress = Callable[[str, int, int], None]
Objective = Callable[[Any, Batch], Loss]
"""From what the network says of a batch's features, and the batch, to the loss."""


@dataclass(frozen=True)
class TrainerConfig:
    """How to train.

    Attributes
    ----------
    steps : int
        Steps of the optimiser; none leaves the network as it is.
    learning_rate : float
        At its peak.
    warmup_share : float
        Share of the steps in which the learning rate rises, in [0, 1]; then it falls as half a
        cosine.
    weight_decay : float
        Of matrices; scales, biases and decay rates have none.
    clip_norm : float
        Norm that longer gradients are shortened to.
    accumulate : int
        Batches a step. Their losses are averaged by weight: a loss that is a mean over known
        values is then that of one large batch.
    precision : {"float32", "bfloat16"}
    recompute : bool
        Gradient checkpointing; for both see :func:`finchaos.training.blocks.run_blocks`.
    seed : int
        Of randomness within the network, such as dropout.
    validate_every : int
        Steps from one validation to the next; the weights of the best are kept. 0 for none.
    patience : int
        Validations without gain after which training stops; 0 for never.
    least_gain : float
        Fall of the validation loss that counts as gain.
    checkpoint_every : int
        Steps from one saved state to the next; 0 for none.
    keep : int
        Saved states that are kept, the newest.

    Raises
    ------
    InputError
        If a value is impossible.
    """

    steps: int
    learning_rate: float
    warmup_share: float = 0.1
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    accumulate: int = 1
    precision: Precision = "float32"
    recompute: bool = False
    seed: int = 0
    validate_every: int = 0
    patience: int = 0
    least_gain: float = 0.0
    checkpoint_every: int = 0
    keep: int = 2

    def __post_init__(self) -> None:
        counts = (self.steps, self.validate_every, self.patience, self.checkpoint_every, self.seed)
        sound = (
            min(counts) >= 0
            and min(self.accumulate, self.keep) >= 1
            and 0 < self.learning_rate < math.inf
            and 0 <= self.warmup_share <= 1
            and 0 <= self.weight_decay < math.inf
            and self.clip_norm > 0
            and 0 <= self.least_gain < math.inf
            and (self.validate_every > 0 or self.patience == 0)
        )
        if not sound:
            raise InputError(
                "impossible training",
                expected="counts >= 0, accumulate and keep >= 1, positive rate and norm, warm-up "
                "in [0, 1], patience only with validation",
                got=repr(self),
            )

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that the weights depend on, in JSON values."""
        settings = asdict(self) | {"seed": str(self.seed)}
        return {k: v for k, v in settings.items() if k not in ("checkpoint_every", "keep")}

    def rate(self, step: int) -> float:
        """Learning rate of a step, the first being 0.

        References
        ----------
        Loshchilov and Hutter (2017), "SGDR", arXiv:1608.03983, eq. 5.

        Examples
        --------
        >>> config = TrainerConfig(steps=20, learning_rate=1.0)
        >>> [round(config.rate(step), 3) for step in (0, 1, 2, 11, 19)]
        [0.5, 1.0, 1.0, 0.5, 0.008]
        """
        rise = max(1.0, self.warmup_share * self.steps)
        if step < rise:
            return self.learning_rate * ((step + 1) / rise)
        through = (step - rise) / max(1.0, self.steps - rise)
        return self.learning_rate * (0.5 * (1.0 + math.cos(math.pi * through)))


@dataclass(frozen=True)
class Training:
    """What a training came to.

    Attributes
    ----------
    losses : tuple of float
        Of every step that was taken.
    best_step : int or None
        Step whose weights the network has now, if validation chose them.
    best_loss : float or None
        Validation loss of that step.
    stopped_early : bool
    """

    losses: tuple[float, ...]
    best_step: int | None = None
    best_loss: float | None = None
    stopped_early: bool = False


def fit(
    network: nn.Module,
    source: BatchSource,
    objective: Objective,
    config: TrainerConfig,
    *,
    stage: str = "training",
    validation: Iterable[Batch] | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    logs: Sequence[Log] = (),
    progress: Progress | None = None,
) -> Training:
    """Train a network in place, or go on with a training that was interrupted.

    Parameters
    ----------
    network : torch.nn.Module
        Called with the features of a batch, on the device of its parameters.
    source : BatchSource
    objective : callable
    config : TrainerConfig
    stage : str
        What progress and saved states call this training.
    validation : iterable of Batch, optional
        Iterated at each validation.
    folder : Path, optional
        Where states are saved. If one of this very training is there, it is gone on with.
    identity : mapping, optional
        JSON values that decide the training too, such as the settings of the loss: with others, a
        saved state is that of another training.
    logs : sequence of Log
    progress : callable, optional
        Called as ``progress(stage, done, total)`` after every step.

    Raises
    ------
    DivergenceError
        If a loss or gradient is not finite; the network keeps the weights from before that step.
    CheckpointError
        If the newest saved state is damaged or of another training.
    InputError
        If validation or saving is asked for without batches or folder.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled weight decay regularization", arXiv:1711.05101.
    """
    if (validation is None) != (config.validate_every == 0):
        raise InputError("validation needs both batches and validate_every > 0")
    if (folder is None) != (config.checkpoint_every == 0):
        raise InputError("saving states needs both a folder and checkpoint_every > 0")
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(owned(folder))
        device = next(network.parameters()).device
        stack.enter_context(private_randomness(config.seed, device))
        stack.enter_context(
            run_blocks(network, precision=config.precision, recompute=config.recompute)
        )
        decides = {"stage": stage, "settings": config.deciding, "also": dict(identity or {})}
        run = _Run(network, source, objective, config, folder, decides)
        if folder is not None:
            run.state.load(folder)
        for log in logs:
            log.start(run.state.step)
            stack.callback(log.close)
        run.go(validation, logs, progress)
        return run.result()


class _Run:
    """A training on its way."""

    def __init__(
        self,
        network: nn.Module,
        source: BatchSource,
        objective: Objective,
        config: TrainerConfig,
        folder: Path | None,
        identity: Mapping[str, Any],
    ) -> None:
        self.network, self.source, self.objective = network, source, objective
        self.config, self.folder, self.stage = config, folder, str(identity["stage"])
        self.device = next(network.parameters()).device
        self.optimiser = torch.optim.AdamW(
            _groups(network, config.weight_decay), lr=config.learning_rate
        )
        self.state = RunState(network, self.optimiser, source, identity)

    def go(
        self,
        validation: Iterable[Batch] | None,
        logs: Sequence[Log],
        progress: Progress | None,
    ) -> None:
        """Take the steps that are left; the network is in evaluation mode afterwards."""
        config, state = self.config, self.state
        try:
            self.network.train()
            while state.step < config.steps and not state.stopped:
                values = self._step()
                if validation is not None and self._due(config.validate_every):
                    values["validation_loss"] = self._validate(validation)
                for log in logs:
                    log.write(state.step, values)
                if self.folder is not None and self._due(config.checkpoint_every):
                    state.save(self.folder, keep=config.keep)
                if progress is not None:
                    progress(self.stage, state.step, config.steps)
        finally:
            self.network.eval()

    def result(self) -> Training:
        """The outcome, after the best weights were put into the network."""
        state = self.state
        if state.best_step is not None:
            self.network.load_state_dict(state.best)
        return Training(tuple(state.losses), state.best_step, state.best_loss, state.stopped)

    def _step(self) -> dict[str, float]:
        state, config = self.state, self.config
        rate = config.rate(state.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        loss = self._gradients()
        self._check_finite("loss", loss)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm))
        self._check_finite("norm of the gradient", norm)
        self.optimiser.step()
        state.losses.append(loss)
        state.step += 1
        return {"loss": loss, "learning_rate": rate, "gradient_norm": norm}

    def _gradients(self) -> float:
        """Gradients of the mean loss over the batches of a step, and that loss."""
        if self.config.accumulate == 1:
            mean = self._loss(self.source.next()).mean
            mean.backward()  # type: ignore[no-untyped-call]
            return float(mean.detach())
        total, weights = 0.0, 0.0
        for _ in range(self.config.accumulate):
            loss = self._loss(self.source.next())
            weighted = loss.mean * loss.weight
            weighted.backward()  # type: ignore[no-untyped-call]
            total, weights = total + float(weighted.detach()), weights + float(loss.weight)
        weights = weights or 1.0
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(weights)
        return total / weights

    def _loss(self, batch: Batch) -> Loss:
        batch = batch.to(self.device)
        return self.objective(self.network(batch.features), batch)

    @torch.no_grad()
    def _validate(self, validation: Iterable[Batch]) -> float:
        """Loss over all batches by weight; the best weights are kept."""
        state, config = self.state, self.config
        self.network.eval()
        losses = [self._loss(batch) for batch in validation]
        self.network.train()
        weight = sum(float(loss.weight) for loss in losses)
        if not weight:
            raise InputError("validation knows no target", remedy="use longer or other rows")
        value = sum(float(loss.mean) * float(loss.weight) for loss in losses) / weight
        self._check_finite("validation loss", value)
        state.note(value, config.least_gain)
        state.stopped = 0 < config.patience <= state.waited
        return value

    def _due(self, every: int) -> bool:
        """After every so many steps, and at the end."""
        step = self.state.step
        return step % every == 0 or step == self.config.steps or self.state.stopped

    def _check_finite(self, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        saved = saved_steps(self.folder) if self.folder is not None else []
        last = f"{state_path(self.folder, saved[-1])}" if self.folder and saved else "none"
        raise DivergenceError(
            f"{self.stage}: the {what} is {value} at step {self.state.step + 1}",
            expected="a finite number",
            remedy=f"last good checkpoint: {last}; lower the learning rate or look at the rows",
        )


def _groups(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices only: it would move decay rates, skips and scales to no end."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        matrix = parameter.dim() >= 2 and not name.endswith("A_log")
        (decayed if matrix else kept).append(parameter)
    return [
        {"params": decayed, "weight_decay": decay},
        {"params": kept, "weight_decay": 0.0},
    ]
