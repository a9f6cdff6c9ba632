import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError, IntegrityError
from governance.store import Measurements, Store
from tests.governance.evidence import EXHIBIT, evidence, small_run


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def test_what_is_put_can_be_loaded(store):
    stored = store.put(small_run(), [EXHIBIT], {"seconds": {}})
    again = store.load(small_run().digest)
    assert again.run == stored.run == small_run()
    assert again.exhibits == {EXHIBIT.digest: EXHIBIT}
    assert store.digests() == (small_run().digest,)


def test_putting_twice_changes_nothing(store):
    stored = store.put(small_run(), [EXHIBIT], {"seconds": {"a": 1.0}})
    before = {p: p.read_bytes() for p in stored.folder.rglob("*") if p.is_file()}
    store.put(small_run(), [EXHIBIT], {"seconds": {"a": 2.0}})
    assert before == {p: p.read_bytes() for p in stored.folder.rglob("*") if p.is_file()}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_of_run_or_exhibit_is_found(tmp_path_factory, data):
    store = Store(tmp_path_factory.mktemp("s"))
    stored = store.put(small_run(), [EXHIBIT], {})
    files = [stored.folder / "run.json", stored.folder / "exhibits" / f"{EXHIBIT.digest}.json"]
    path = data.draw(st.sampled_from(files))
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match="changed after it was sealed"):
        store.load(small_run().digest)


def test_a_missing_exhibit_is_found(store):
    stored = store.put(small_run(), [EXHIBIT], {})
    (stored.folder / "exhibits" / f"{EXHIBIT.digest}.json").unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        store.load(small_run().digest)


def test_runs_are_found_by_prefix_folder_and_latest(store):
    digests = [store.put(small_run(seed=s), [EXHIBIT], {}).run.digest for s in (1, 2)]
    assert store.resolve(digests[0][:8]) == digests[0]
    assert store.resolve(str(store.folder(digests[0]))) == digests[0]
    assert store.resolve("latest") == digests[1]
    store.put(small_run(seed=1), [EXHIBIT], {})  # validated again: now that is the latest
    assert store.resolve("latest") == digests[0]
    for name in ("", digests[0][:3], "ffffffffff", "../" + digests[0][:2]):
        with pytest.raises(InputError, match="does not name one run"):
            store.resolve(name)


def test_measurements_are_remembered_and_damage_is_forgotten(store):
    kept = Measurements(evidence=(evidence(0.5),), exhibits=(EXHIBIT,))
    store.remember("k", kept)
    assert store.remembered("k") == kept
    assert store.remembered("other") is None
    path = store.root / ".evidence" / "k.json"
    whole = path.read_bytes()
    for damaged in (b"{half", whole.replace(b'"value":0.5', b'"value":9.5')):
        assert damaged != whole
        path.write_bytes(damaged)
        assert store.remembered("k") is None
    (store.root / ".evidence" / "other.json").write_bytes(whole)
    assert store.remembered("other") is None  # kept for another question


WRITER = """
import sys
from pathlib import Path
from governance.store import Store
from tests.governance.evidence import EXHIBIT, small_run
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
for seed in range(100000):
    store.put(small_run(seed=seed), [EXHIBIT], {})
"""


@pytest.mark.parametrize("delay", [0.2, 0.35, 0.5])
def test_kill_9_never_leaves_half_a_run(tmp_path, delay):
    root = tmp_path / "runs"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(delay)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    store = Store(root)
    assert store.digests()
    for digest in store.digests():
        assert store.load(digest).run.digest == digest


def test_what_a_killed_writer_left_is_swept_once_it_is_old(store):
    leftover = store.root / ".building-dead"
    leftover.mkdir(parents=True)
    store.put(small_run(seed=1), [EXHIBIT], {})
    assert leftover.exists()  # it might still be somebody's
    os.utime(leftover, (0, 0))
    store.put(small_run(seed=2), [EXHIBIT], {})
    assert not leftover.exists()


def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.put(small_run(), [EXHIBIT], {})
    with pytest.raises(OSError, match="No space left"):
        store.remember("k", Measurements(evidence=(), exhibits=()))
    monkeypatch.undo()
    assert store.digests() == ()
    assert [p for p in store.root.rglob("*") if p.is_file()] == []
    assert store.remembered("k") is None
