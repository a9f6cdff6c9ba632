from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import IntegrityError
from governance.signoff import audit
from governance.signoff.audit import GENESIS, append, read_chain, repair

AT = "2026-05-01T12:00:00+00:00"


def grown(root, n=4):
    for i in range(n):
        append(root, "seal", "Ada", {"run": f"{i}", "é": None}, AT)
    return root / "audit.jsonl"


def test_entries_are_bound_to_each_other(tmp_path):
    """Recomputed here from the description of the format alone."""
    path = grown(tmp_path)
    previous = GENESIS
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        raw = json.loads(line)
        said = raw.pop("hash")
        assert said == hashlib.sha256(rfc8785.dumps(raw)).hexdigest()
        assert (raw["seq"], raw["prev"]) == (number, previous)
        assert json.loads(raw["body"]) == {"run": str(number - 1), "é": None}
        previous = said
    assert read_chain(tmp_path).head == previous


def test_no_file_is_an_empty_chain(tmp_path):
    assert read_chain(tmp_path).entries == ()
    assert read_chain(tmp_path).head == GENESIS


def edited(lines):
    return [lines[0], lines[1].replace(b"Ada", b"Eve"), *lines[2:]]


def rehashed(lines):
    entry = audit.Entry.from_json(lines[1]).model_copy(update={"actor": "Eve"})
    whole = entry.model_copy(update={"hash": audit.Entry.computed_hash(entry)})
    return [lines[0], whole.to_json(), *lines[2:]]


def respelled(lines):
    return [lines[0], json.dumps(json.loads(lines[1])).encode(), *lines[2:]]


@pytest.mark.parametrize(
    "tamper",
    [
        edited,
        rehashed,
        respelled,
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: [*lines[:2], b"", *lines[2:]],
        lambda lines: [b"null", *lines[1:]],
    ],
    ids=[
        "edit", "edit with hash", "respell", "drop first", "drop middle", "reorder", "repeat",
        "blank", "not an entry",
    ],
)  # fmt: skip
def test_tampering_is_found_and_nothing_is_appended(tmp_path, tamper):
    path = grown(tmp_path)
    path.write_bytes(b"\n".join(tamper(path.read_bytes().splitlines())) + b"\n")
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match=r"line \d of the audit chain"):
        read_chain(tmp_path)
    with pytest.raises(IntegrityError, match=r"line \d of the audit chain"):
        append(tmp_path, "seal", "Ada", {}, AT)
    assert path.read_bytes() == before


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_any_flipped_bit_is_found_or_reported_torn(tmp_path_factory, data):
    path = grown(tmp_path_factory.mktemp("chain"), 3)
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    if raw[-1:] == b"\n":
        with pytest.raises(IntegrityError, match="audit chain"):
            read_chain(path.parent)
    else:
        assert read_chain(path.parent).torn


def test_a_torn_tail_is_reported_kept_and_replaced_on_record(tmp_path):
    path = grown(tmp_path)
    whole = path.read_bytes()
    for cut in range(1, len(whole) - whole[:-1].rfind(b"\n") - 1):
        path.write_bytes(whole[:-cut])
        chain = read_chain(tmp_path)
        assert len(chain.entries) == 3
        assert chain.torn
    entry = append(tmp_path, "seal", "Bob", {}, AT)
    note = read_chain(tmp_path).entries[3]
    assert (entry.seq, note.action) == (5, "discard_torn_tail")
    assert json.loads(note.body)["sha256"] == hashlib.sha256(chain.torn).hexdigest()
    assert read_chain(tmp_path).torn == b""


@pytest.mark.parametrize("torn", [b"{", b"x" * 5000], ids=["short", "longer than its note"])
def test_repair_replaces_a_torn_tail_and_only_that(tmp_path, torn):
    path = grown(tmp_path)
    with path.open("ab") as file:
        file.write(torn)
    assert repair(tmp_path, "Ada", AT).seq == 5
    assert repair(tmp_path, "Ada", AT) is None
    assert len(read_chain(tmp_path).entries) == 5


@pytest.mark.parametrize("torn", [b"", b"half a li"])
def test_a_full_disk_leaves_the_chain_as_it_was(tmp_path, monkeypatch, torn):
    path = grown(tmp_path)
    path.write_bytes(path.read_bytes() + torn)
    before = path.read_bytes()
    real, calls = os.pwrite, []

    def filling(handle, data, offset):
        calls.append(len(data))
        if len(calls) == 1:
            return real(handle, data[: len(data) // 2], offset)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(handle, data, offset)

    monkeypatch.setattr(os, "pwrite", filling)
    with pytest.raises(OSError, match="No space left"):
        append(tmp_path, "seal", "Ada", {}, AT)
    assert path.read_bytes() == before


def hammer(root, name):
    for i in range(15):
        append(root, "seal", name, {"i": i}, AT)


def test_writers_take_turns(tmp_path):
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=hammer, args=(tmp_path, f"w{i}")) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    entries = read_chain(tmp_path).entries
    assert len(entries) == 60
    for name in ("w0", "w1", "w2", "w3"):
        assert [json.loads(e.body)["i"] for e in entries if e.actor == name] == list(range(15))


KILLED = """
import os, sys
from pathlib import Path
from governance.signoff import audit
real = os.pwrite
def slowly(handle, data, offset):
    return real(handle, data[:7], offset)   # many small writes: a kill lands inside a line
os.pwrite = slowly
print("ready", flush=True)
while True:
    audit.append(Path(sys.argv[1]), "seal", "Ada", {"text": "x" * 400}, "2026-05-01T12:00:00Z")
    print("+", flush=True)
"""


@pytest.mark.parametrize("delay", [0.01, 0.035, 0.06, 0.085])
def test_kill_9_leaves_a_chain_that_holds_or_is_reported_torn(tmp_path, delay):
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(delay)
    writer.send_signal(signal.SIGKILL)
    acknowledged = writer.stdout.read().count(b"+")
    writer.wait()
    writer.stdout.close()
    chain = read_chain(tmp_path)
    assert len(chain.entries) in (acknowledged, acknowledged + 1)
    append(tmp_path, "seal", "Ada", {}, AT)
    after = read_chain(tmp_path)
    assert after.torn == b""
    assert after.entries[: len(chain.entries)] == chain.entries
    added = [entry.action for entry in after.entries[len(chain.entries) :]]
    assert added == (["discard_torn_tail", "seal"] if chain.torn else ["seal"])
