"""Panels on disk: what was written comes back, anything else is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import canonical_json, digest, sha256
from finchaos.training.panel import HEADER, VALUES, Panel, PanelWriter

ROWS = np.arange(24.0).reshape(8, 3)


def write(folder: Path, *chunks: np.ndarray, borders: tuple[int, ...] = ()) -> Path:
    with PanelWriter(folder, ["a", "b"], ["y"], schema="s1") as writer:
        for number, chunk in enumerate(chunks or (ROWS,)):
            writer.append(chunk, new_path=number in borders)
    return folder


def test_values_columns_and_paths_come_back(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[3, 2] = np.nan
    panel = Panel.open(
        write(tmp_path / "p", rows[:2], rows[2:5], rows[5:], borders=(2,)), schema="s1"
    )
    np.testing.assert_array_equal(panel.values, rows.astype(np.float32))
    assert panel.values.dtype == np.float32
    assert panel.header.columns == ("a", "b", "y")
    assert panel.paths == ((0, 5), (5, 8))
    assert panel.header.content == sha256((tmp_path / "p" / VALUES).read_bytes())


def test_values_are_the_file_itself_and_read_only(tmp_path: Path) -> None:
    panel = Panel.open(write(tmp_path / "p"))
    assert not panel.values.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        panel.values[0, 0] = 1.0
    kept = panel.values[2:4]
    panel.release()
    np.testing.assert_array_equal(kept, ROWS[2:4])


@given(st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=15, deadline=None)
def test_chunks_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, one: int, other: int
) -> None:
    folder = tmp_path_factory.mktemp("panels")
    a = write(folder / "a", *np.split(ROWS, [one]))
    b = write(folder / "b", *np.split(ROWS, [other]))
    assert (a / HEADER).read_bytes() == (b / HEADER).read_bytes()
    assert (a / VALUES).read_bytes() == (b / VALUES).read_bytes()


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([HEADER, VALUES]))
@settings(max_examples=20, deadline=None)
def test_any_truncation_is_refused(
    tmp_path_factory: pytest.TempPathFactory, share: float, name: str
) -> None:
    folder = write(tmp_path_factory.mktemp("panels") / "p")
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match="damaged"):
        Panel.open(folder)


def test_another_content_of_the_same_size_is_refused_where_it_is_hashed(tmp_path: Path) -> None:
    folder = write(tmp_path / "p")
    data = bytearray((folder / VALUES).read_bytes())
    data[5] ^= 1
    (folder / VALUES).write_bytes(bytes(data))
    with pytest.raises(DataError, match="SHA-256"):
        Panel.open(folder)
    assert Panel.open(folder, verify=False).header.rows == 8


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "something", "does not belong to a panel"),
        ("format", 2, "does not belong to a panel"),
        ("dtype", "<f8", "does not belong to a panel"),
        ("rows", 9, "do not add up"),
        ("path_ends", [5, 5, 8], "do not add up"),
        ("path_ends", [], "do not add up"),
        ("path_ends", None, "damaged"),
        ("features", ["a", "a"], "different names"),
    ],
)
def test_foreign_headers_are_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    folder = write(tmp_path / "p")
    content = json.loads((folder / HEADER).read_text())
    del content["digest"]
    content[key] = value
    (folder / HEADER).write_bytes(canonical_json({**content, "digest": digest(content)}))
    with pytest.raises(DataError, match=message):
        Panel.open(folder)
    del content[key]
    (folder / HEADER).write_bytes(canonical_json({**content, "digest": digest(content)}))
    with pytest.raises(DataError):
        Panel.open(folder)


def test_missing_files_other_schemas_and_other_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lacks panel\.json"):
        Panel.open(tmp_path / "nowhere")
    folder = write(tmp_path / "p")
    with pytest.raises(DataError, match="another schema"):
        Panel.open(folder, schema="s2")
    (folder / VALUES).unlink()
    with pytest.raises(DataError, match=r"lacks values\.f32"):
        Panel.open(folder)
    (folder / HEADER).write_text("[1]")
    with pytest.raises(DataError, match="damaged"):
        Panel.open(folder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((2, 2)), "do not fit"),
        (np.zeros(3), "do not fit"),
        (np.zeros((0, 3)), "do not fit"),
        (np.full((1, 3), np.inf), "finite"),
        (np.full((1, 3), 1e39), "finite"),
        (np.array([[np.nan, 0.0, 0.0]]), "finite"),
    ],
)
def test_rows_that_no_panel_holds_are_refused_and_leave_nothing(
    tmp_path: Path, rows: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / "p", ROWS, rows)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_taken_places_and_repeated_names_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="at least one row"),
        PanelWriter(tmp_path / "p", ["a"], schema=""),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "p")
    with pytest.raises(InputError, match="not an empty folder"):
        write(tmp_path / "p")
    for features, targets in (([], []), (["a", "a"], []), (["a"], ["a"]), ([""], [])):
        with pytest.raises(InputError, match="different names"):
            PanelWriter(tmp_path / "q", features, targets, schema="")
    writer = PanelWriter(tmp_path / "r", ["a"], schema="")
    writer.append(np.zeros((1, 1)))
    write(tmp_path / "r")
    with pytest.raises(InputError, match="was taken"):
        writer.close()
    assert Panel.open(tmp_path / "r").header.features == ("a", "b")


def test_a_writer_killed_in_the_middle_leaves_no_panel_and_no_obstacle(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
import numpy as np
from finchaos.training.panel import PanelWriter
writer = PanelWriter(Path(sys.argv[1]), ["a", "b"], ["y"], schema="s1")
writer.append(np.zeros((100_000, 3)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    place = tmp_path / "p"
    done = subprocess.run([sys.executable, "-c", program, str(place)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert not place.exists()
    assert Panel.open(write(place)).header.rows == 8
