"""Where the kernels come from, and what is said where they cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finchaos.ssm import native
from finchaos.ssm.native import build

ROOT = Path(build.__file__).resolve().parents[3]
SUM = """
import torch
from finchaos.ssm import choose_backend, selective_scan
ones = torch.ones(1, 40, 3)
y = selective_scan(ones, ones, -ones[0, :3], ones, ones, backend={backend!r}).y
print(choose_backend("auto").name, round(float(y.sum()), 3))
"""


def run(
    code: str, cache: Path | str, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A process of its own, with this cache and no library shipped beside the sources."""
    kept = {name: value for name, value in os.environ.items() if name != "CXX"}
    kept |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    unshipped = "from pathlib import Path\nfrom finchaos.ssm.native import build\n"
    unshipped += "build.SHIPPED = Path('/nonexistent')\n"
    return subprocess.run(
        [sys.executable, "-c", unshipped + code],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=check,
        cwd=cache if Path(cache).is_dir() else ROOT,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the kernels were built."""
    cache = tmp_path_factory.mktemp("cache")
    assert run(SUM.format(backend="cpu"), cache).stdout.startswith("cpu ")
    return cache


@pytest.fixture
def cache(built: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


def library_in(cache: Path) -> Path:
    (found,) = (cache / "finchaos").iterdir()
    return found


def script(path: Path, lines: str) -> str:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return str(path)


def test_what_was_built_is_used_again(cache: Path) -> None:
    before = library_in(cache).stat()
    # No compiler: what is there must do.
    done = run(SUM.format(backend="cpu"), cache, CXX="no-such-compiler")
    assert done.stdout.startswith("cpu ")
    assert library_in(cache).stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("way", ["no name", "an empty path"])
def test_without_a_compiler_torch_computes_and_one_notice_says_why(
    tmp_path: Path, built: Path, way: str
) -> None:
    environment = {"CXX": "no-such-compiler"} if way == "no name" else {"PATH": str(tmp_path)}
    code = SUM.format(backend="auto")
    done = run(code + code, tmp_path, **environment)
    fast = run(SUM.format(backend="cpu"), built)
    assert done.stdout.split() == ["torch", fast.stdout.split()[1]] * 2
    assert done.stderr.count("BackendNotice") == 1
    assert "no C++ compiler was found" in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_the_name_is_refused_with_the_reason(tmp_path: Path) -> None:
    done = run(SUM.format(backend="cpu"), tmp_path, check=False, CXX="no-such-compiler")
    assert done.returncode
    assert "MissingDependencyError: the scan backend 'cpu' cannot be used here" in done.stderr
    assert "no C++ compiler was found (CXX is no-such-compiler)" in done.stderr
    names = run(
        "from finchaos.ssm import available_backends\nprint(*available_backends())",
        tmp_path,
        CXX="no-such-compiler",
    )
    assert "cpu" not in names.stdout.split()


REASON = "from finchaos.ssm import native\nprint(native.absence())"


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path: Path) -> None:
    broken = script(tmp_path / "cxx", "echo 'lanes.cpp: out of patience' >&2; exit 1")
    done = run(REASON, tmp_path, CXX=broken)
    why = "the C++ compiler cxx failed with exit status 1: "
    assert done.stdout.strip() == why + "lanes.cpp: out of patience"
    assert not list((tmp_path / "finchaos").iterdir())


def test_a_compiler_that_fails_in_silence_is_named(tmp_path: Path) -> None:
    done = run(REASON, tmp_path, CXX=script(tmp_path / "mute", "exit 3"))
    why = "the C++ compiler mute failed with exit status 3: it said nothing"
    assert done.stdout.strip() == why


def test_a_compiler_that_makes_rubbish_is_found_out(tmp_path: Path) -> None:
    rubbish = script(
        tmp_path / "cxx",
        'for last; do :; done; case "$*" in *probe*) exit 1;; esac; echo no >"$last"',
    )
    done = run(REASON, tmp_path, CXX=rubbish)
    assert done.stdout.strip() == "the kernels that were just built cannot be loaded"


def test_the_compiler_may_have_arguments(tmp_path: Path) -> None:
    done = run(REASON, tmp_path, CXX=f"{build.compiler()[0]} -g0")
    assert done.stdout.strip() == "None"


def spoil(path: Path, how: str) -> None:
    if how == "text":
        path.write_bytes(b"not a library")
    elif how == "nothing":
        path.write_bytes(b"")
    elif how == "truncated":
        # With the digest in it, so that only loading finds it out.
        path.write_bytes(b"\x7fELF" + build.source_digest().encode())
    else:
        # A sound library of other sources.
        old = path.read_bytes()
        path.write_bytes(old.replace(build.source_digest().encode(), b"0" * 64))
    assert path.is_file()


@pytest.mark.parametrize("how", ["text", "nothing", "truncated", "stale"])
def test_what_does_not_fit_in_the_cache_is_built_anew(cache: Path, how: str) -> None:
    library = library_in(cache)
    spoil(library, how)
    done = run(REASON, cache, CXX="no-such-compiler")
    assert "no C++ compiler was found" in done.stdout
    done = run(SUM.format(backend="cpu"), cache)
    assert done.stdout.startswith("cpu ")
    assert build.source_digest().encode() in library.read_bytes()


@pytest.mark.parametrize("how", ["text", "stale"])
def test_what_does_not_fit_in_the_shipped_place_is_passed_over(cache: Path, how: str) -> None:
    shipped = cache / "_kernels.so"
    shutil.copy(library_in(cache), shipped)
    spoil(shipped, how)
    place = f"from finchaos.ssm.native import build\nbuild.SHIPPED = Path({str(shipped)!r})\n"
    done = run(place + REASON, cache, CXX="no-such-compiler")
    assert done.stdout.strip() == "None"
    shutil.rmtree(cache / "finchaos")
    done = run(place + REASON, cache, CXX="no-such-compiler")
    assert "no C++ compiler was found" in done.stdout


def test_two_processes_that_build_at_once_both_get_the_kernels(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    code = "from pathlib import Path\nfrom finchaos.ssm.native import build\n"
    code += "build.SHIPPED = Path('/nonexistent')\n" + SUM.format(backend="cpu")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in running]
    assert said[0] == said[1]
    assert said[0].startswith("cpu ")
    library_in(tmp_path)


def test_a_cache_that_cannot_be_written_is_the_reason(tmp_path: Path) -> None:
    (tmp_path / "finchaos").write_text("a file where the folder should be")
    done = run(REASON, tmp_path)
    assert done.stdout.startswith("the kernels could not be built: ")
    assert str(tmp_path / "finchaos") in done.stdout


def test_a_user_without_a_home_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative/to/nothing")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert build.cache_folder() == tmp_path / ".cache" / "finchaos"
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(build.BuildFailure, match="no folder for the built kernels"):
        build.cache_folder()


def test_old_builds_and_leftovers_go(tmp_path: Path) -> None:
    now = time.time()
    for age in range(build.KEPT + 3):
        path = tmp_path / f"kernels-{age}.so"
        path.write_text("")
        os.utime(path, (now - 100 * age, now - 100 * age))
    for name, age in (("building-now", 10), ("building-long-ago", 10_000)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (now - age, now - age))
    (tmp_path / "something else.so").write_text("")
    build.tidy(tmp_path)
    kept = [f"kernels-{age}.so" for age in range(build.KEPT)]
    assert {path.name for path in tmp_path.iterdir()} == {
        *kept,
        "building-now",
        "something else.so",
    }


def test_the_digest_follows_sources_flags_and_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.source_digest()
    assert first == build.source_digest()
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-g"])
    flags = build.source_digest()
    monkeypatch.setattr(sys, "platform", "another")
    machine = build.source_digest()
    sources = Path(shutil.copytree(build.SOURCES, tmp_path / "csrc"))
    monkeypatch.setattr(build, "SOURCES", sources)
    (sources / ".DS_Store").write_text("not a source")
    assert build.source_digest() == machine
    (sources / "vec.h").write_text("changed")
    assert len({first, flags, machine, build.source_digest()}) == 4


def test_here_the_kernels_are_there() -> None:
    assert native.absence() is None
    assert native.lanes() == native.widest()
    assert native.widest() in build.WIDTHS
