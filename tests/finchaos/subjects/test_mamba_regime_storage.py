"""Saving and loading: the same model back, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.provenance import canonical_json, digest, parse_json
from finchaos.subjects.mamba_regime import load
from governance.comparison import compare
from tests.finchaos.subjects.small import TRAINING_BARS, market, trained, untrained


def test_a_trained_model_comes_back_the_same(tmp_path: Path) -> None:
    trained().save(tmp_path / "model")
    moved = (tmp_path / "model").rename(tmp_path / "moved")
    again = load(moved)
    assert again.digest == trained().digest
    assert again.card == trained().card
    assert compare(trained().signals(market()), again.signals(market()), len(market())).rows == 0
    # Training starts from the pre-trained weights, which are saved as well.
    rows = market().rows(0, TRAINING_BARS)
    assert again.fit(rows, seed=3).digest == trained().digest


def test_an_untrained_model_comes_back_untrained(tmp_path: Path) -> None:
    untrained().save(tmp_path)
    again = load(tmp_path)
    assert again.digest == untrained().digest
    with pytest.raises(InputError, match="has not been trained"):
        again.signals(market())


def test_a_folder_with_anything_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="empty folder"):
        trained().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def cut(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) * 2 // 3])

    return spoil


def flip(name: str, place: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(place * len(data))] ^= 1
        (folder / name).write_bytes(bytes(data))

    return spoil


def rewritten(**changes: object) -> Callable[[Path], None]:
    """Facts changed by somebody who also recomputes the digest."""

    def spoil(folder: Path) -> None:
        content = parse_json((folder / "config.json").read_bytes())
        content.pop("digest")
        for name, value in changes.items():
            home = content if name in content else content["facts"]
            home[name] = value
        content["digest"] = digest(content)
        (folder / "config.json").write_bytes(canonical_json(content))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        cut("model.safetensors"),
        cut("config.json"),
        flip("model.safetensors", 0.9),
        flip("model.safetensors", 0.01),
        flip("config.json", 0.5),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("[]"),
        rewritten(kind="another_model"),
        rewritten(format=99),
        rewritten(schema_digest="0" * 64),
        rewritten(subject_digest="0" * 64),
        rewritten(settings={"d_model": 8}),
        rewritten(settings={"unknown": 8}),
        rewritten(fitted=False),
        rewritten(pretraining={}),
    ],
)
def test_damage_and_strangers_are_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    trained().save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(CheckpointError):
        load(tmp_path)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        trained().save(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_interrupted_save_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finchaos.training import checkpoint

    real = checkpoint.write_atomic

    def full_disk(path: Path, data: bytes) -> None:
        if path.name == "config.json":
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(checkpoint, "write_atomic", full_disk)
    with pytest.raises(OSError, match="No space"):
        trained().save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"lacks config\.json"):
        load(tmp_path / "model")
    assert np.isfinite(trained().signals(market()).position).all()
