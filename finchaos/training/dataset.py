"""Windows of a panel, drawn lazily: nothing is copied before a batch is put together.

A window is a stretch of consecutive rows of one path. Windows are numbered along the paths, so
that neighbours in number are neighbours on disk, and no list of them is kept: memory does not grow
with the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import array_digest, random_stream
from finchaos.training.panel import Panel

Segment = tuple[int, int]
"""First row and row after the last of a stretch that windows may lie in."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows put together.

    Attributes
    ----------
    features : torch.Tensor, shape (b, w, f)
    targets : torch.Tensor, shape (b, w, k)
        NaN where unknown.
    """

    features: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.features.to(device), self.targets.to(device))


class BatchSource(Protocol):
    """Where training takes its batches from; it can say where it stands and go back there."""

    def next(self) -> Batch:
        """The next batch."""

    def state(self) -> dict[str, Any]:
        """Where it stands, in JSON values."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to where :meth:`state` was asked."""

    def identity(self) -> dict[str, Any]:
        """What decides the batches besides the state, in JSON values."""


@dataclass(frozen=True)
class Split:
    """Stretches to train on and, later in time, to validate on.

    Attributes
    ----------
    train, validation : tuple of Segment
    """

    train: tuple[Segment, ...]
    validation: tuple[Segment, ...]


def chronological_split(
    paths: Sequence[Segment], train_share: float, *, purge: int, embargo: int = 0
) -> Split:
    """Cut every path once in time, with a gap before the cut.

    This is one fold of an anchored walk-forward. Of a path of n rows validation is what follows
    row ``floor(train_share n)``; training ends ``purge + embargo`` rows before it. Labels of
    training reach ``purge`` rows ahead at most, so none knows a row of validation; ``embargo``
    rows more are left out because features of validation look back on them.

    Parameters
    ----------
    paths : sequence of Segment
        Each with a time of its own.
    train_share : float
        In (0, 1).
    purge, embargo : int
        Rows; at least the label horizon, and the memory of what must not be shared.

    Raises
    ------
    InputError
        If the share or gap is impossible, or a path leaves a side without a row.

    References
    ----------
    López de Prado, Advances in Financial Machine Learning (2018), chapter 7.

    Examples
    --------
    >>> chronological_split([(0, 10)], 0.5, purge=1, embargo=1)
    Split(train=((0, 3),), validation=((5, 10),))
    """
    if not 0.0 < train_share < 1.0 or purge < 0 or embargo < 0:
        raise InputError(
            "impossible split",
            expected="a share in (0, 1), purge >= 0, embargo >= 0",
            got=f"share {train_share}, purge {purge}, embargo {embargo}",
        )
    train, validation = [], []
    for first, end in paths:
        cut = first + int((end - first) * train_share + 1e-9)
        if cut - purge - embargo <= first or cut >= end:
            raise InputError(
                "a path is too short for this split",
                expected=f"training and validation around a gap of {purge + embargo} rows",
                got=f"{end - first} rows, {train_share:g} of them before the cut",
                remedy="use longer paths, another share or a smaller gap",
            )
        train.append((first, cut - purge - embargo))
        validation.append((cut, end))
    return Split(tuple(train), tuple(validation))


class Windows(Dataset):
    """The windows of a panel by number.

    Parameters
    ----------
    panel : Panel
    rows : int
        Rows w of a window.
    stride : int
        Rows from the start of a window to that of the next in the same segment.
    segments : sequence of Segment, optional
        Where windows may lie; the whole paths by default. None may cross a path's border.

    Raises
    ------
    InputError
        If sizes are not positive or a segment is not within one path.
    DataError
        If no segment holds a window.
    """

    def __init__(
        self,
        panel: Panel,
        rows: int,
        *,
        stride: int = 1,
        segments: Sequence[Segment] | None = None,
    ) -> None:
        if rows < 1 or stride < 1:
            raise InputError("windows need rows >= 1, stride >= 1", got=f"{rows}, {stride}")
        places = np.array(panel.paths if segments is None else segments, dtype=np.int64)
        places = places.reshape(-1, 2)
        _check_within(places, panel)
        counts = np.maximum(0, (places[:, 1] - places[:, 0] - rows) // stride + 1)
        if not counts.sum():
            longest = int((places[:, 1] - places[:, 0]).max(initial=0))
            raise DataError(
                "no stretch of the panel holds a window",
                expected=f"at least {rows} rows",
                got=f"at most {longest}",
                remedy="use shorter windows or longer paths",
            )
        self.panel, self.rows, self.stride = panel, rows, stride
        self._firsts = places[counts > 0, 0]
        self._ends = np.cumsum(counts[counts > 0])
        self._features = len(panel.header.features)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def digest(self) -> str:
        """Of where the windows lie."""
        return array_digest({"firsts": self._firsts, "ends": self._ends})

    def starts(self, numbers: np.ndarray) -> np.ndarray:
        """First row of each window of these numbers."""
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise IndexError(f"windows are numbered 0 to {len(self) - 1}")
        segment = np.searchsorted(self._ends, numbers, side="right")
        before = np.concatenate([[0], self._ends[:-1]])
        starts: np.ndarray = self._firsts[segment] + (numbers - before[segment]) * self.stride
        return starts

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Features (w, f) and targets (w, k) of a window: views of the map, read-only."""
        (start,) = self.starts(np.array([number]))
        rows = self.panel.values[start : start + self.rows]
        return rows[:, : self._features], rows[:, self._features :]

    def batch(self, numbers: np.ndarray) -> Batch:
        """Copies of the windows of these numbers; the only copy that is made."""
        values, f = self.panel.values, self._features
        features = np.empty((len(numbers), self.rows, f), dtype=np.float32)
        targets = np.empty((len(numbers), self.rows, values.shape[1] - f), dtype=np.float32)
        for place, start in enumerate(self.starts(numbers)):
            features[place] = values[start : start + self.rows, :f]
            targets[place] = values[start : start + self.rows, f:]
        return Batch(torch.from_numpy(features), torch.from_numpy(targets))


@dataclass(frozen=True)
class BlockShuffle:
    """An order of windows that reads the disk in few places at a time.

    Consecutive windows form blocks. The blocks of an epoch come in random order, ``mixed`` of
    them at a time, and the windows of these are shuffled together. Each window comes exactly once
    an epoch. The order is a function of seed, stream and epoch.

    Attributes
    ----------
    seed : int
    stream : str
        Name of the random stream.
    block : int
        Windows of a block.
    mixed : int
        Blocks that are shuffled together. Neighbouring windows share most of their rows: the more
        blocks are mixed, the less alike are the windows of a batch.

    Raises
    ------
    InputError
        If a size is not positive.
    """

    seed: int
    stream: str
    block: int = 1024
    mixed: int = 16

    def __post_init__(self) -> None:
        if self.block < 1 or self.mixed < 1:
            raise InputError("shuffling needs block >= 1 and mixed >= 1", got=repr(self))

    def groups(self, count: int) -> int:
        """Groups of blocks that ``count`` windows make."""
        return math.ceil(math.ceil(count / self.block) / self.mixed)

    def group(self, count: int, epoch: int, number: int) -> np.ndarray:
        """Windows of one group in the order of the epoch, at most ``block * mixed``."""
        blocks = math.ceil(count / self.block)
        order = random_stream(self.seed, f"{self.stream}/epoch {epoch}").permutation(blocks)
        chosen = order[number * self.mixed : (number + 1) * self.mixed]
        windows = (chosen[:, None] * self.block + np.arange(self.block)).ravel()
        windows = windows[windows < count]
        inside = random_stream(self.seed, f"{self.stream}/epoch {epoch}/group {number}")
        shuffled: np.ndarray = inside.permutation(windows)
        return shuffled


class ShuffledBatches:
    """Batches of windows in shuffled order, epoch after epoch; the last of an epoch may be smaller.

    Parameters
    ----------
    windows : Windows
    batch : int
        Windows of a batch.
    shuffle : BlockShuffle

    Raises
    ------
    InputError
        If the batch is not positive.
    """

    def __init__(self, windows: Windows, batch: int, shuffle: BlockShuffle) -> None:
        _check_batch(batch)
        self._windows, self._size, self._shuffle = windows, batch, shuffle
        self._epoch = self._group = self._place = 0
        self._order: np.ndarray | None = None

    def next(self) -> Batch:
        """The next batch."""
        return self._windows.batch(self.next_numbers())

    def next_numbers(self) -> np.ndarray:
        """Numbers of the windows of the next batch, which then counts as taken."""
        count, parts, wanted = len(self._windows), list[np.ndarray](), self._size
        while wanted:
            if self._order is None:
                self._windows.panel.release()
                self._order = self._shuffle.group(count, self._epoch, self._group)
            parts.append(self._order[self._place : self._place + wanted])
            wanted -= len(parts[-1])
            self._place += len(parts[-1])
            if self._place == len(self._order):
                self._order, self._place, self._group = None, 0, self._group + 1
                if self._group == self._shuffle.groups(count):
                    self._group, self._epoch = 0, self._epoch + 1
                    break
        return np.concatenate(parts)

    def state(self) -> dict[str, Any]:
        """Epoch, group of blocks and place within it."""
        return {"epoch": self._epoch, "group": self._group, "place": self._place}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to a place, at once: what came before it is not read."""
        self._epoch, self._group = int(state["epoch"]), int(state["group"])
        self._place, self._order = int(state["place"]), None

    def identity(self) -> dict[str, Any]:
        """Panel, windows and shuffling."""
        windows, shuffle = self._windows, self._shuffle
        return {
            "panel": windows.panel.header.content,
            "rows": windows.rows,
            "stride": windows.stride,
            "segments": windows.digest,
            "batch": self._size,
            "seed": str(shuffle.seed),
            "shuffle": [shuffle.stream, shuffle.block, shuffle.mixed],
        }


class BatchesInOrder:
    """Batches of all windows in order, again each time it is iterated; for validation.

    Parameters
    ----------
    windows : Windows
    batch : int
        Windows of a batch.
    """

    def __init__(self, windows: Windows, batch: int) -> None:
        _check_batch(batch)
        self._windows, self._size = windows, batch

    def __len__(self) -> int:
        return math.ceil(len(self._windows) / self._size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self._windows)
        for first in range(0, count, self._size):
            yield self._windows.batch(np.arange(first, min(first + self._size, count)))
            self._windows.panel.release()


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise InputError("a batch needs at least one window", got=str(batch))


def _check_within(places: np.ndarray, panel: Panel) -> None:
    """Refuse segments that are empty, beyond the panel or across a path's border."""
    ends = np.array(panel.header.path_ends)
    first, end = places[:, 0], places[:, 1]
    sound = (first >= 0) & (first < end) & (end <= ends[-1])
    if sound.all():
        sound = end <= ends[np.searchsorted(ends, first, side="right")]
    if not sound.all():
        raise InputError(
            "a segment does not lie within one path",
            got=str(tuple(int(row) for row in places[~sound][0])),
            remedy="split the panel's own paths",
        )
