"""Whether a model with a state says the same however it is run: comparisons through the protocol.

Each returns the largest difference of every field relative to the larger of 1 and the field's
largest size, so that positions and probabilities are compared in their own unit and latents of
any size by digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signal, Signals
from finchaos.core.subject import (
    Capability,
    HasKillSwitch,
    HasLayers,
    Persistent,
    Resumable,
    Stream,
    Streaming,
    Subject,
)

OPERATOR = "validator (state space soundness check)"
Differences = Mapping[str, float]


def differences(first: Signals, second: Signals) -> dict[str, float]:
    """Largest relative difference of each field; infinite where shapes or finite rows differ.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.date_range("2024-01-01", periods=2, tz="UTC")
    >>> differences(Signals(index, np.array([0.0, 1.0])), Signals(index, np.array([0.0, 0.5])))
    {'position': 0.5}
    """
    left, right = first.arrays(), second.arrays()
    return {
        name: array_difference(left[name], right[name])
        if name in left and name in right
        else float("inf")
        for name in sorted({*left, *right})
    }


def array_difference(left: np.ndarray, right: np.ndarray) -> float:
    """Largest difference of two arrays over the larger of 1 and their largest size."""
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if a.shape != b.shape:
        return float("inf")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    if not (np.isfinite(a) | same).all() or not (np.isfinite(b) | same).all():
        return float("inf")
    usable = np.isfinite(a)
    size = max(1.0, float(np.abs(a[usable]).max()), float(np.abs(b[usable]).max()))
    return float(np.abs(a[~same] - b[~same]).max() / size)


def worst(found: Sequence[Differences]) -> dict[str, float]:
    """The largest of each field over several comparisons."""
    names = sorted({name for one in found for name in one})
    return {name: max(one.get(name, 0.0) for one in found) for name in names}


class Driver:
    """A live stream, re-armed where the batch shows that the imagined operator did so.

    Parameters
    ----------
    subject : Subject
        Streaming.
    bars : Bars
    batch : Signals
        What the subject says of all of them at once.
    start : int
        Row of the first bar that is stepped; those before it are the warm-up.
    """

    def __init__(self, subject: Subject, bars: Bars, batch: Signals, start: int) -> None:
        self._bars, self._tripped, self.row = bars, batch.tripped, start
        warmup = bars.rows(0, start) if start else None
        self.stream: Stream = cast(Streaming, subject).open(warmup)

    def step(self) -> Signal:
        """The next bar's signal."""
        row, tripped = self.row, self._tripped
        if tripped is not None and row and tripped[row - 1] and not tripped[row]:
            cast(HasKillSwitch, self.stream).rearm(OPERATOR)
        self.row += 1
        return self.stream.step(self._bars[row])

    def steps(self, count: int) -> Signals:
        """The signals of the next ``count`` bars."""
        return Signals.collect([self.step() for _ in range(count)])


def chunked(subject: Subject, bars: Bars, batch: Signals, size: int, most: int) -> dict[str, float]:
    """Batch against chunks of ``size`` bars, each stepped after a warm-up on all before it.

    Parameters
    ----------
    subject : Subject
        Streaming.
    bars : Bars
    batch : Signals
        What the subject says of all of them at once.
    size : int
    most : int
        Chunks compared, spread over the bars.
    """
    whole = len(bars) // size
    numbers = np.unique(np.linspace(0, whole - 1, min(most, whole)).astype(int))
    found = []
    for start in (numbers * size).tolist():
        live = Driver(subject, bars, batch, start).steps(size)
        found.append(differences(batch.rows(start, start + size), live))
    return worst(found)


def telling_lengths(n: int) -> list[int]:
    """Lengths about which scans in pieces might differ: powers of two, and just short of all.

    Examples
    --------
    >>> telling_lengths(70)
    [31, 32, 33, 35, 63, 64, 65, 69]
    """
    powers = [2**k + shift for k in range(5, 12) for shift in (-1, 0, 1)]
    wanted = [*powers, n // 2, n - 7, n - 1]
    return sorted({length for length in wanted if 0 < length < n})


def shortened(
    subject: Subject, bars: Bars, batch: Signals, lengths: Sequence[int]
) -> dict[str, float]:
    """Batch on all bars against batch on the first ``lengths`` of them."""
    return worst(
        [
            differences(batch.rows(0, length), subject.signals(bars.rows(0, length)))
            for length in lengths
        ]
    )


def interleaved(
    subject: Subject, first: Bars, second: Bars, start: int
) -> tuple[dict[str, float], dict[str, float]]:
    """A stream opened a second time, and streams run in turns, against a stream run alone.

    Parameters
    ----------
    subject : Subject
        Streaming.
    first, second : Bars
        Two markets of one length.
    start : int
        Warm-up rows.

    Returns
    -------
    reopened, in_turns : dict of field to difference
    """
    markets = (first, second)
    batches = [subject.signals(bars.rows()) for bars in markets]
    count = len(first) - start

    def opened(number: int) -> Driver:
        return Driver(subject, markets[number], batches[number], start)

    alone = [opened(number).steps(count) for number in (0, 1)]
    again = opened(0).steps(count)
    pair = (opened(0), opened(1))
    rows: tuple[list[Signal], list[Signal]] = ([], [])
    for _ in range(count):
        for one, issued in zip(pair, rows, strict=True):
            issued.append(one.step())
    in_turns = [
        differences(one, Signals.collect(issued)) for one, issued in zip(alone, rows, strict=True)
    ]
    return differences(alone[0], again), worst(in_turns)


def resumed(subject: Subject, bars: Bars, start: int) -> dict[str, float]:
    """A stream stopped, and continued by a new one that was given its state.

    The first stream goes on after its state was taken, so that a state that is still the stream's
    own memory is found out. Where the subject can be saved, the new stream is one of the model
    loaded back, as in another process.

    Parameters
    ----------
    subject : Subject
        Streaming, its streams resumable.
    bars : Bars
    start : int
        Warm-up rows.
    """
    batch = subject.signals(bars.rows())
    half = (len(bars) - start) // 2
    running = Driver(subject, bars, batch, start)
    running.steps(half)
    state = cast(Resumable, running.stream).state()
    expected = running.steps(len(bars) - start - half)
    with TemporaryDirectory() as folder:
        other = _copy(subject, Path(folder, "saved"))
        resumed_at = Driver(other, bars, batch, 0)
        resumed_at.row = start + half
        cast(Resumable, resumed_at.stream).restore(state)
        return differences(expected, resumed_at.steps(len(expected)))


def _copy(subject: Subject, folder: Path) -> Subject:
    if Capability.PERSISTENCE not in subject.capabilities:
        return subject
    persistent = cast(Persistent, subject)
    folder.mkdir()
    persistent.save(folder)
    return cast(Subject, type(persistent).load(folder))


def layers_shortened(subject: Subject, bars: Bars, length: int) -> dict[str, float]:
    """Hidden states of all bars against those of the first ``length``, by layer."""
    layered = cast(HasLayers, subject)
    whole, part = layered.layer_states(bars.rows()), layered.layer_states(bars.rows(0, length))
    return {
        name: array_difference(whole[name][:length], part[name])
        if name in whole and name in part
        else float("inf")
        for name in sorted({*whole, *part})
    }


def unusable_rows(signals: Signals, rows: int) -> int:
    """Rows with any number that is not finite, and rows that are missing."""
    bad = np.zeros(len(signals), dtype=bool)
    for values in signals.arrays().values():
        wide: Any = np.asarray(values, dtype=np.float64).reshape(len(signals), -1)
        bad |= ~np.isfinite(wide).all(axis=1)
    return int(bad.sum()) + abs(rows - len(signals))
