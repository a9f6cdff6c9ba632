"""Files of simulated bars: whole or not there, and only what they claim to be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finchaos.core.errors import DataError, InputError, MissingDependencyError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.bar_file import (
    KEY,
    Description,
    read_bars,
    read_description,
    stream_rows,
    write_bars,
)
from finchaos.markets.simulate.heston import HestonConfig
from finchaos.markets.simulate.heston_stream import HestonStream, generate, stream_bars
from finchaos.markets.simulate.labelled import FIELDS, SimulatedRows
from finchaos.markets.simulate.regime_switching import hardy, simulate

SAID = Description("test", {"kappa": 3.0}, seed=4, stream="test.file", scheme="some")


def rows_of(n_bars: int, chunk: int = 100) -> Iterator[SimulatedRows]:
    return stream_bars(HestonConfig(), n_bars, random_stream(4, "test.file"), chunk_bars=chunk)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "days.parquet"
    assert write_bars(path, rows_of(450), SAID) == 450
    return path


@pytest.mark.parametrize(("start", "stop"), [(0, 450), (0, 1), (99, 101), (100, 300), (449, None)])
def test_any_rows_come_back_as_they_were(file: Path, start: int, stop: int | None) -> None:
    truth = HestonStream(HestonConfig(), random_stream(4, "test.file")).next_bars(450)
    found = read_bars(file, start, stop)
    cut = slice(start, stop)
    for name in ("open", "high", "low", "close", "volume"):
        assert (getattr(found.bars, name) == getattr(truth, name)[cut]).all()
    for name in ("regime", "variance", "switch"):
        values = getattr(found, name)
        assert (values == getattr(truth, name)[cut]).all()
        assert values.dtype == getattr(truth, name).dtype
    provenance = found.bars.provenance
    assert (provenance.kind, provenance.seed) == ("simulated", 4)
    assert f"rows {start} to {stop or 450} of 450" in provenance.notes


def test_the_file_says_what_it_was_told(file: Path) -> None:
    said = read_description(file)
    assert replace(said, package="") == SAID
    assert [len(part) for part in stream_rows(file)] == [100, 100, 100, 100, 50]
    assert [part.first_row for part in stream_rows(file)] == [0, 100, 200, 300, 400]


def test_any_simulator_can_be_stored(tmp_path: Path) -> None:
    paths = simulate(hardy(), 2, 300, random_stream(4, "test.file"), seed=4)
    write_bars(tmp_path / "hardy.parquet", [paths.rows(1)], SAID)
    found = read_bars(tmp_path / "hardy.parquet", symbol="HARDY")
    assert found.bars.symbol == "HARDY"
    assert (found.bars.close == paths.close[1]).all()


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (7, 3), (0, 451), (450, None)])
def test_rows_that_are_not_there_are_refused(file: Path, start: int, stop: int | None) -> None:
    with pytest.raises(DataError, match="does not hold the rows"):
        read_bars(file, start, stop)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(file: Path, keep: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data))])
    for read in (read_bars, read_description, lambda path: list(stream_rows(path))):
        with pytest.raises(DataError, match=r"cannot be read.*generate it again"):
            read(file)


def test_a_damaged_page_is_refused(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[100:3000] = bytes(2900)
    file.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        read_bars(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_bars(tmp_path / "nothing.parquet")
    (tmp_path / "text.parquet").write_text("open,high,low,close")
    with pytest.raises(DataError, match="cannot be read"):
        read_bars(tmp_path / "text.parquet")


@pytest.mark.parametrize(
    "metadata",
    [None, b"{}", b"[1]", b"not JSON", b'{"version": 2}', b'{"version": 1, "rows": 450}',
     b'{"version": 1, "rows": 9, "simulator": "a", "parameters": {}, "seed": 1, "stream": "s"}'],
)  # fmt: skip
def test_a_foreign_file_is_refused(file: Path, metadata: bytes | None) -> None:
    table = pq.read_table(file).replace_schema_metadata(metadata and {KEY: metadata})
    pq.write_table(table, file)
    with pytest.raises(DataError, match="does not hold simulated bars"):
        read_bars(file)


def test_other_columns_are_refused(file: Path) -> None:
    held = pq.ParquetFile(file)
    table = held.read().rename_columns(["first", *FIELDS[1:]])
    pq.write_table(table.replace_schema_metadata(held.metadata.metadata), file)
    with pytest.raises(DataError, match=r"does not hold simulated bars.*columns first"):
        read_description(file)


def test_stretches_that_leave_a_hole_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    first, _, third = rows_of(300)
    with pytest.raises(InputError, match=r"do not follow.*row 100.*row 200"):
        write_bars(tmp_path / "days.parquet", [first, third], SAID)
    with pytest.raises(InputError, match="no simulated rows"):
        write_bars(tmp_path / "days.parquet", [], SAID)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_midway_leaves_the_old_file(file: Path) -> None:
    before = file.read_bytes()

    def failing() -> Iterator[SimulatedRows]:
        yield next(rows_of(100))
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_bars(file, failing(), SAID)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


ENDLESS = """
import sys
from pathlib import Path
from finchaos.markets.simulate.heston import HestonConfig
from finchaos.markets.simulate.heston_stream import generate
generate(Path(sys.argv[1]), HestonConfig(), 10**9, seed=1)
"""


def test_a_kill_midway_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "days.parquet"
    generate(path, HestonConfig(), 100, seed=2)
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)])
    try:
        for _ in range(1200):
            partial = [p for p in tmp_path.iterdir() if p != path]
            if partial and partial[0].stat().st_size > 1_000_000:
                break
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (partial,) = [p for p in tmp_path.iterdir() if p != path]
    assert partial.name.startswith(".days.parquet.")
    assert len(read_bars(path).bars) == 100
    with pytest.raises(DataError, match="cannot be read"):
        read_bars(partial)


def test_more_days_than_a_calendar_has_are_refused_as_bars_only(tmp_path: Path) -> None:
    path = tmp_path / "days.parquet"
    generate(path, HestonConfig(substeps=1), 70_000, seed=2)
    with pytest.raises(DataError, match=r"too many simulated bars.*2262.*part of the rows"):
        read_bars(path)
    late = read_bars(path, 69_000)
    assert str(late.bars.index[0].date()) == "2000-01-03"
    assert len(late.bars.digest) == 64
    assert sum(len(rows) for rows in stream_rows(path)) == 70_000


def test_without_pyarrow_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"'\.\[data\]'"):
        read_bars(tmp_path / "days.parquet")
    with pytest.raises(MissingDependencyError, match=r"'\.\[data\]'"):
        write_bars(tmp_path / "days.parquet", rows_of(10), SAID)
    assert list(tmp_path.iterdir()) == []


def test_other_readers_see_plain_columns(file: Path) -> None:
    table = pq.read_table(file)
    assert table.column_names == list(FIELDS)
    assert table.schema.field("regime").type == pa.int16()
    assert np.isfinite(table.column("close").to_numpy()).all()
