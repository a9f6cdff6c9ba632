"""Where a training stands, in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finchaos.core.provenance import digest, stream_seed
from finchaos.training.dataset import BatchSource
from finchaos.training.training_state import load_state, save_state


@contextmanager
def private_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators inside, and put them back afterwards."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        start = stream_seed(seed, "training/network")
        torch.default_generator.manual_seed(start)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(start)
        yield


class RunState:
    """Where a training stands.

    Parameters
    ----------
    network, optimiser, source
        Which the state is of.
    identity : mapping
        JSON values that decide the training besides.

    Attributes
    ----------
    step : int
        Steps taken.
    losses : list of float
        One a step.
    best : dict of str to torch.Tensor
        Weights of the best validation.
    best_step, best_loss
        None before the first validation.
    waited : int
        Validations since the best.
    stopped : bool
        Whether patience is at its end.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        source: BatchSource,
        identity: Mapping[str, Any],
    ) -> None:
        self._network, self._optimiser, self._source = network, optimiser, source
        self._given = identity
        self._device = next(network.parameters()).device
        self.step, self.losses = 0, list[float]()
        self.best: dict[str, Tensor] = {}
        self.best_step: int | None = None
        self.best_loss: float | None = None
        self.waited, self.stopped = 0, False

    def note(self, validation_loss: float, least_gain: float) -> None:
        """Keep the weights if they are the best so far."""
        if self.best_loss is None or validation_loss < self.best_loss - least_gain:
            self.best_loss, self.best_step, self.waited = validation_loss, self.step, 0
            weights = self._network.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in weights.items()}
        else:
            self.waited += 1

    def save(self, folder: Path, *, keep: int) -> None:
        """Save everything that the steps to come depend on."""
        tensors = {f"network/{k}": _array(v) for k, v in self._network.state_dict().items()}
        tensors |= {f"best/{name}": _array(value) for name, value in self.best.items()}
        for number, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{k}": _array(v) for k, v in moments.items()}
        tensors |= {f"random/{name}": value.numpy() for name, value in self._random().items()}
        tensors["losses"] = np.array(self.losses, dtype=np.float64)
        facts = {
            "training": self._identity(),
            "step": self.step,
            "source": self._source.state(),
            "best_step": self.best_step,
            "best_loss": self.best_loss,
            "waited": self.waited,
            "stopped": self.stopped,
            "torch": torch.__version__,
        }
        save_state(folder, self.step, tensors, facts, keep=keep)

    def load(self, folder: Path) -> None:
        """Go to the newest state of a folder, if there is one."""
        found = load_state(folder, self._identity())
        if found is None:
            return
        tensors, facts = found
        self._network.load_state_dict(_part(tensors, "network/"))
        self.best = _part(tensors, "best/")
        self._load_optimiser(_part(tensors, "optimiser/"))
        torch.set_rng_state(torch.from_numpy(tensors["random/cpu"]))
        if "random/cuda" in tensors and self._device.type == "cuda":
            torch.cuda.set_rng_state(torch.from_numpy(tensors["random/cuda"]), self._device)
        self._source.restore(facts["source"])
        self.step, self.losses = int(facts["step"]), tensors["losses"].tolist()
        self.best_step, self.best_loss = facts["best_step"], facts["best_loss"]
        self.waited, self.stopped = int(facts["waited"]), bool(facts["stopped"])

    def _load_optimiser(self, tensors: Mapping[str, Tensor]) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            number, key = name.split("/", 1)
            moments.setdefault(int(number), {})[key] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})

    def _random(self) -> dict[str, Tensor]:
        states = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._device)
        return states

    def _identity(self) -> dict[str, Any]:
        """What decides the training, by name: what was given, batches, shape of the network."""
        weights = self._network.state_dict().items()
        return {
            **{name: digest(value) for name, value in self._given.items()},
            "device": self._device.type,
            "batches": digest(self._source.identity()),
            "network": digest({name: [str(v.dtype), list(v.shape)] for name, v in weights}),
        }


def _array(value: Tensor) -> np.ndarray:
    return np.array(value.detach().cpu().numpy())


def _part(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, under the rest of their names."""
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(value))
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
