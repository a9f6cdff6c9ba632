"""States of a training on disk, from which it goes on as if it had never stopped.

``<folder>/step-00000100`` is the state after a hundred steps. A state is written into a hidden
folder and then named, so that after a crash the newest is whole; one process trains in a folder at
a time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from finchaos.core.errors import CheckpointError
from finchaos.core.files import lock_exclusively, sync_directory
from finchaos.training.checkpoint import load_checkpoint, save_checkpoint

KIND = "training state"
_PREFIX, _LOCK = "step-", ".lock"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Train in a folder, alone; what a killed process left half-written is removed.

    Raises
    ------
    InputError
        If another process trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = lock_exclusively(
        folder / _LOCK,
        busy=f"another process trains in {folder}",
        remedy="wait for it or name another folder",
    )
    try:
        for left in folder.glob(f".{_PREFIX}*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def saved_steps(folder: Path) -> list[int]:
    """Steps after which a state was saved, in order."""
    names = (path.name.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*"))
    return sorted(int(name) for name in names if name.isdigit())


def state_path(folder: Path, step: int) -> Path:
    """Where the state after a step lies."""
    return folder / f"{_PREFIX}{step:08d}"


def save_state(
    folder: Path,
    step: int,
    tensors: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
    *,
    keep: int,
) -> None:
    """Save the state after ``step`` and keep the newest ``keep`` only."""
    place = state_path(folder, step)
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=folder))
    try:
        save_checkpoint(temporary / place.name, KIND, tensors, facts)
        (temporary / place.name).rename(place)
        sync_directory(folder)
        for old in saved_steps(folder)[:-keep]:
            # Renamed first: a folder half removed must not pass for a state.
            state_path(folder, old).rename(temporary / str(old))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_state(
    folder: Path, training: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """The newest state of a folder, None if there is none.

    Parameters
    ----------
    folder : Path
    training : mapping
        What decides the training, as recorded in the state under ``training``.

    Raises
    ------
    CheckpointError
        If the newest is damaged or of another training.
    """
    steps = saved_steps(folder)
    if not steps:
        return None
    place = state_path(folder, steps[-1])
    try:
        tensors, facts = load_checkpoint(place, KIND)
    except CheckpointError as error:
        raise CheckpointError(
            f"{place} cannot be continued from: {error.what}",
            got=error.got,
            remedy="remove that folder to go on from "
            + (state_path(folder, steps[-2]).name if len(steps) > 1 else "the start"),
        ) from error
    found = facts.get("training", {})
    differing = sorted(key for key in {*found, *training} if found.get(key) != training.get(key))
    if differing:
        raise CheckpointError(
            f"{place} is the state of another training",
            got=f"another {', '.join(differing)}",
            remedy="name another folder, or train with the settings that it was begun with",
        )
    return tensors, facts
