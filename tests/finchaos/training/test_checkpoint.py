"""Checkpoints by themselves; what a model makes of them is tested with the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import CheckpointError, InputError
from finchaos.training.checkpoint import load_checkpoint, save_checkpoint

TENSORS = {"a": np.arange(6.0).reshape(2, 3).T, "empty": np.empty((3, 0)), "n": np.array([7])}
FACTS = {"rate": 0.1, "names": ["x", "y"], "huge": 1e300}


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "new", "toy", TENSORS, FACTS)
    tensors, facts = load_checkpoint(tmp_path / "new", "toy")
    assert facts == FACTS
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype


@given(st.floats(0, 1, exclude_max=True), st.sampled_from(["model.safetensors", "config.json"]))
@settings(max_examples=25, deadline=None)
def test_any_truncation_is_refused(
    tmp_path_factory: pytest.TempPathFactory, share: float, name: str
) -> None:
    folder = tmp_path_factory.mktemp("toy")
    save_checkpoint(folder, "toy", TENSORS, FACTS)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError):
        load_checkpoint(folder, "toy")


def test_files_in_the_way_and_other_kinds_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="empty folder"):
        save_checkpoint(file, "toy", TENSORS, FACTS)
    save_checkpoint(tmp_path / "toy", "toy", TENSORS, FACTS)
    with pytest.raises(InputError, match="empty folder"):
        save_checkpoint(tmp_path / "toy", "toy", TENSORS, FACTS)
    with pytest.raises(CheckpointError, match="another kind"):
        load_checkpoint(tmp_path / "toy", "other")
