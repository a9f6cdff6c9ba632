"""Windows: views of the map, within their path and split; each exactly once an epoch."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import DataError, InputError
from finchaos.training.dataset import (
    BatchesInOrder,
    BlockShuffle,
    ShuffledBatches,
    Windows,
    chronological_split,
)
from finchaos.training.panel import Panel, PanelWriter
from governance.splits import anchored_folds

LENGTHS = (40, 7, 55)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """Three paths; the columns say row, path and row again."""
    folder = tmp_path_factory.mktemp("panels") / "p"
    first = 0
    with PanelWriter(folder, ["row", "path"], ["target"], schema="s") as writer:
        for path, length in enumerate(LENGTHS):
            row = np.arange(first, first + length, dtype=float)
            rows = np.stack([row, np.full(length, path), row], axis=1)
            writer.append(rows, new_path=True)
            first += length
    return Panel.open(folder)


def first_rows(batches: list) -> list[int]:
    return [int(row) for batch in batches for row in batch.features[:, 0, 0]]


def epoch(source: ShuffledBatches) -> list:
    batches, start = [], source.state()["epoch"]
    while source.state()["epoch"] == start:
        batches.append(source.next())
    return batches


def test_windows_are_views_of_the_map(panel: Panel) -> None:
    windows = Windows(panel, 5)
    for number in (0, 17, len(windows) - 1):
        features, targets = windows[number]
        assert np.shares_memory(features, panel.values)
        assert np.shares_memory(targets, panel.values)
        assert features.shape == (5, 2)
        assert targets.shape == (5, 1)
    with pytest.raises(IndexError):
        windows[len(windows)]
    with pytest.raises(IndexError):
        windows[-1]


@given(st.integers(1, 60), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_every_window_within_a_path_and_no_other(panel: Panel, rows: int, stride: int) -> None:
    naive = []
    for first, end in panel.paths:
        naive += [s for s in range(first, end - rows + 1, stride)]
    if not naive:
        with pytest.raises(DataError, match="no stretch"):
            Windows(panel, rows, stride=stride)
        return
    windows = Windows(panel, rows, stride=stride)
    assert windows.starts(np.arange(len(windows))).tolist() == naive
    for batch in BatchesInOrder(windows, 7):
        assert bool((batch.features[..., 1] == batch.features[:, :1, 1]).all())
        assert bool((batch.features[..., 0].diff(dim=1) == 1).all())
        assert torch.equal(batch.features[..., 0], batch.targets[..., 0])


@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_each_window_exactly_once_an_epoch(
    panel: Panel, batch: int, block: int, mixed: int, seed: int
) -> None:
    windows = Windows(panel, 6, stride=2)
    source = ShuffledBatches(windows, batch, BlockShuffle(seed, "test", block, mixed))
    all_starts = windows.starts(np.arange(len(windows))).tolist()
    epochs = [epoch(source), epoch(source)]
    for batches in epochs:
        assert sorted(first_rows(batches)) == all_starts
        assert all(len(one.features) == batch for one in batches[:-1])
    if len(all_starts) > 10 and block * mixed > 1:
        assert first_rows(epochs[0]) != first_rows(epochs[1])


def test_shuffling_stays_within_the_blocks_of_a_group(panel: Panel) -> None:
    shuffle = BlockShuffle(1, "test", block=10, mixed=2)
    count = 95
    seen = [shuffle.group(count, 0, g) for g in range(shuffle.groups(count))]
    assert [len(set(group // 10)) for group in seen] == [2, 2, 2, 2, 2]
    assert sorted(np.concatenate(seen).tolist()) == list(range(count))
    assert max(len(group) for group in seen) <= 20


@given(st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_resuming_at_any_batch_gives_the_same_batches(panel: Panel, at: int) -> None:
    def source() -> ShuffledBatches:
        return ShuffledBatches(Windows(panel, 6), 7, BlockShuffle(3, "test", 4, 3))

    whole = source()
    batches = [whole.next() for _ in range(at)]
    state = whole.state()
    batches = [whole.next() for _ in range(5)]
    resumed = source()
    resumed.restore(state)
    assert first_rows([resumed.next() for _ in range(5)]) == first_rows(batches)
    assert resumed.state() == whole.state()


def test_seed_and_stream_decide_the_order(panel: Panel) -> None:
    def order(seed: int, stream: str) -> list[int]:
        shuffle = BlockShuffle(seed, stream, 8, 2)
        return first_rows(epoch(ShuffledBatches(Windows(panel, 6), 9, shuffle)))

    assert order(1, "a") == order(1, "a")
    assert len({tuple(order(*key)) for key in ((1, "a"), (2, "a"), (1, "b"))}) == 3


def test_identity_tells_whatever_changes_the_batches(panel: Panel) -> None:
    shuffle = BlockShuffle(1, "a", 8, 2)
    whole = Windows(panel, 6)
    sources = [
        ShuffledBatches(whole, 9, shuffle),
        ShuffledBatches(whole, 8, shuffle),
        ShuffledBatches(whole, 9, BlockShuffle(2, "a", 8, 2)),
        ShuffledBatches(Windows(panel, 6, stride=2), 9, shuffle),
        ShuffledBatches(Windows(panel, 6, segments=[(0, 40)]), 9, shuffle),
        ShuffledBatches(Windows(panel, 6, segments=[(0, 39)]), 9, shuffle),
    ]
    assert len({str(source.identity()) for source in sources}) == len(sources)


@given(st.floats(0.2, 0.8), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=50, deadline=None)
def test_a_split_is_one_fold_of_the_governed_walk_forward(
    share: float, purge: int, embargo: int
) -> None:
    n = 60
    split = chronological_split([(0, n), (n, 2 * n)], share, purge=purge, embargo=embargo)
    cut = split.validation[0][0]
    (fold,) = anchored_folds(n, first_test=cut, count=1, gap=purge + embargo)
    assert split.train[0] == (0, fold.train_end)
    assert split.validation[0] == (fold.test_start, fold.test_end)
    assert split.train[1] == (n, n + fold.train_end)
    assert split.validation[1] == (n + cut, 2 * n)


def test_no_label_of_training_reaches_a_row_of_validation(panel: Panel) -> None:
    """The horizon being three, the labels of the last training row end before the cut."""
    split = chronological_split([panel.paths[0], panel.paths[2]], 0.5, purge=3, embargo=2)
    train = Windows(panel, 5, segments=split.train)
    last_rows = train.starts(np.arange(len(train))) + 4
    held_out = Windows(panel, 5, segments=split.validation)
    for (first, _), (start, _) in zip(split.train, split.validation, strict=True):
        mine = last_rows[(last_rows >= first) & (last_rows < start)]
        assert mine.max() + 3 + 2 < start
    assert {int(r) for r in held_out.starts(np.arange(len(held_out)))} >= {20, 47 + 27}


@pytest.mark.parametrize(
    ("share", "purge", "embargo"),
    [(0.0, 0, 0), (1.0, 0, 0), (0.5, -1, 0), (0.5, 0, -1), (0.5, 3, 2), (0.05, 0, 0)],
)
def test_impossible_splits_are_refused(share: float, purge: int, embargo: int) -> None:
    with pytest.raises(InputError):
        chronological_split([(0, 10)], share, purge=purge, embargo=embargo)


@pytest.mark.parametrize("segment", [(-1, 5), (5, 5), (35, 45), (90, 103), (40, 48)])
def test_segments_across_borders_are_refused(panel: Panel, segment: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="within one path"):
        Windows(panel, 2, segments=[segment])


def test_other_impossible_sizes_are_refused(panel: Panel) -> None:
    for rows, stride in ((0, 1), (5, 0)):
        with pytest.raises(InputError):
            Windows(panel, rows, stride=stride)
    with pytest.raises(DataError, match="no stretch"):
        Windows(panel, 5, segments=[])
    for block, mixed in ((0, 1), (1, 0)):
        with pytest.raises(InputError):
            BlockShuffle(1, "a", block, mixed)
    for make in (
        lambda: BatchesInOrder(Windows(panel, 5), 0),
        lambda: ShuffledBatches(Windows(panel, 5), 0, BlockShuffle(1, "a")),
    ):
        with pytest.raises(InputError, match="at least one window"):
            make()


def test_nothing_of_the_future_is_read(panel: Panel) -> None:
    """A window is rows up to its end: what follows them on disk may be anything."""
    windows = Windows(panel, 5, segments=[(0, 20)])
    batch = windows.batch(np.arange(len(windows)))
    assert float(batch.features[..., 0].max()) == 19.0
    assert "shape (b, w, f)" in inspect.getdoc(type(batch))
