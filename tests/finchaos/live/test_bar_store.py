"""The store of bars: what goes in comes out, and only whole records count."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.bars import BAR_FIELDS
from finchaos.core.errors import InputError, StorageError
from finchaos.live.bar_store import HEADER_BYTES, RECORD, BarStore, Kind, Record, shortened
from tests.finchaos.live.markets import planted_market

BARS = planted_market()
NUMBERS = (1.0, 2.5, 0.5, 1.5, 7.0)


def test_history_comes_back_bit_for_bit(tmp_path: Path) -> None:
    with BarStore.create(tmp_path / "s", BARS, sync=False) as store:
        found = store.history()
        assert len(store) == len(BARS)
    assert found.symbol == BARS.symbol
    assert (found.bars_per_year, found.has_range) == (BARS.bars_per_year, BARS.has_range)
    assert (found.index == BARS.index).all()
    for name in BAR_FIELDS:
        assert np.array_equal(getattr(found, name), getattr(BARS, name))


def test_records_come_back_and_history_stays_what_it_was(tmp_path: Path) -> None:
    records = [
        Record(Kind.BAR, 5, NUMBERS),
        Record(Kind.REFUSED, 6, text="wrong_symbol: Ä"),
        Record(Kind.REARM, 7, text="A. Person"),
    ]
    with BarStore.create(tmp_path / "s", BARS, sync=True) as store:
        for record in records:
            store.append(record)
    with BarStore(tmp_path / "s") as store:
        found = store.records(len(BARS))
        assert len(store.history()) == len(BARS)
    assert [(r.kind, r.ts, r.text) for r in found] == [(r.kind, r.ts, r.text) for r in records]
    assert found[0].numbers == NUMBERS
    assert all(map(math.isnan, found[1].numbers))


@given(st.integers(0, 3 * RECORD.itemsize - 1))
def test_whatever_is_cut_off_only_whole_records_count(tmp_path_factory: object, cut: int) -> None:
    path = tmp_path_factory.mktemp("store") / "s"  # type: ignore[attr-defined]
    with BarStore.create(path, BARS.rows(0, 2), sync=False) as store:
        for ts in range(3):
            store.append(Record(Kind.BAR, ts, NUMBERS))
    whole = HEADER_BYTES + 2 * RECORD.itemsize
    os.truncate(path, whole + cut)
    with BarStore(path) as store:
        assert len(store) == 2 + cut // RECORD.itemsize
        assert store.repaired_bytes == cut % RECORD.itemsize
        store.append(Record(Kind.BAR, 9, NUMBERS))
        assert [r.ts for r in store.records(2)] == [*range(cut // RECORD.itemsize), 9]


def test_a_write_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BarStore.create(tmp_path / "s", BARS.rows(0, 2), sync=False) as store:
        whole = os.pwrite
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", lambda f, data, at: whole(f, data[:70], at))
            with pytest.raises(StorageError, match="70 of 128 bytes"):
                store.append(Record(Kind.BAR, 1, NUMBERS))
        store.append(Record(Kind.BAR, 2, NUMBERS))
        assert [record.ts for record in store.records(2)] == [2]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    BarStore.create(tmp_path / "s", BARS.rows(0, 2), sync=False).close()
    with pytest.raises(InputError, match="exists already"):
        BarStore.create(tmp_path / "s", BARS)
    with pytest.raises(InputError, match="cannot be opened"):
        BarStore(tmp_path / "absent")
    with pytest.raises(StorageError):
        BarStore.create(tmp_path / "s" / "below", BARS)


@given(st.text(max_size=100))
def test_text_is_cut_to_whole_characters(text: str) -> None:
    found = shortened(text)
    assert len(found.encode()) <= 72
    assert text.replace("\0", " ").startswith(found)
