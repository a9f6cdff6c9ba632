"""Building the kernels: one C++ source, once for each width of vector, into one library.

The sources use no header but the compiler's, so the library fits any Python and any torch. It is
built when the wheel is (:mod:`finchaos.ssm.native.wheel_hook`), or on first use into the user's
cache: ``$XDG_CACHE_HOME/finchaos``, else ``~/.cache/finchaos``. The :data:`KEPT` builds made last
stay there. g++ and clang++ are known to build it; the variable ``CXX`` names another compiler.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"
SHIPPED = Path(__file__).parent / "_kernels.so"
"""Where a wheel carries the library."""

FLAGS = [
    "-O3",
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
]
"""No -ffast-math: it breaks the range reduction, and flushes small numbers in the whole process."""

WIDTHS: dict[int, list[str]] = {4: []}
if platform.machine().lower() in ("x86_64", "amd64"):
    WIDTHS[8] = ["-mavx2", "-mfma"]
    WIDTHS[16] = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"]
    WIDTHS[16] += ["-mprefer-vector-width=512"]


KEPT = 4
"""Builds in the cache: switching between a few versions of the sources does not build them anew."""

_ABANDONED = 3600.0
"""Seconds after which a folder of objects is taken to be left over from a build that was killed."""


class BuildFailure(Exception):  # noqa: N818  (turned into the reason why the backend is absent)
    """The kernels cannot be built here, and why."""


def source_digest() -> str:
    """SHA-256 over the sources, flags and kind of machine, lower-case hexadecimal."""
    kind = (sys.platform, platform.machine(), FLAGS, sorted(WIDTHS.items()))
    sha = hashlib.sha256(repr(kind).encode())
    # Not over a stray .DS_Store: no wheel carries one, and its library would be taken for another.
    for path in sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cpp")]):
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


def cache_folder() -> Path:
    """The user's cache for built kernels.

    Raises
    ------
    BuildFailure
        If the user has no home folder.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # a relative one is to be ignored, says the XDG specification
        return named / "finchaos"
    try:
        return Path.home() / ".cache" / "finchaos"
    except RuntimeError as error:
        raise BuildFailure(f"there is no folder for the built kernels: {error}") from error


def cached() -> Path:
    """Where the library of these sources stands in the cache, or will.

    Raises
    ------
    BuildFailure
        As :func:`cache_folder`.
    """
    return cache_folder() / f"kernels-{source_digest()[:24]}.so"


def tidy(folder: Path) -> None:
    """Remove all but the newest builds from the cache, and what killed builds left there."""
    builds = sorted(folder.glob("kernels-*.so"), key=_age)
    for old in builds[KEPT:]:
        old.unlink(missing_ok=True)
    for left in folder.glob("building-*"):
        if _age(left) > _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _age(path: Path) -> float:
    """Seconds since the last change; for ever if another process has just removed it."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def compiler() -> list[str]:
    """The C++ compiler, as the variable CXX has it, arguments included, else g++, clang++ or c++.

    Raises
    ------
    BuildFailure
        If there is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["g++"], ["clang++"], ["c++"]]:
        found = shutil.which(command[0])
        if found:
            return [found, *command[1:]]
    sought = f"CXX is {named[0]}" if named else "g++, clang++ or c++; CXX may name another"
    raise BuildFailure(f"no C++ compiler was found ({sought})")


def build(target: Path) -> Path:
    """Compile the kernels to ``target``, which appears whole or not at all.

    Raises
    ------
    BuildFailure
        With the end of what the compiler said.
    """
    if sys.platform == "win32":
        raise BuildFailure("the kernels are not built on Windows")
    cxx = compiler()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=target.parent) as folder:
        threads = _openmp(cxx, Path(folder))
        marks = [f'-DSOURCES="{source_digest()}"', *FLAGS, *threads]
        objects = [Path(folder) / f"{lanes}.o" for lanes in WIDTHS]
        source = str(SOURCES / "lanes.cpp")
        jobs = [
            [*cxx, *marks, f"-DLANES={lanes}", *flags, "-c", source, "-o", str(made)]
            for (lanes, flags), made in zip(WIDTHS.items(), objects, strict=True)
        ]
        _run_all(jobs)
        made = Path(folder) / "kernels.so"
        _run_all([[*cxx, "-shared", *threads, *map(str, objects), "-o", str(made)]])
        made.replace(target)
    return target


def _openmp(cxx: list[str], folder: Path) -> list[str]:
    """The flag for threads where the compiler has them; one thread computes otherwise."""
    probe = folder / "probe.cpp"
    probe.write_text("#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n")
    command = [*cxx, "-fopenmp", str(probe), "-o", str(folder / "probe")]
    works = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return ["-fopenmp"] if works else []


def _run_all(commands: list[list[str]]) -> None:
    running = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for command in commands
    ]
    said = [process.communicate()[0] for process in running]
    for command, process, text in zip(commands, running, said, strict=True):
        if process.returncode:
            raise BuildFailure(
                f"the C++ compiler {Path(command[0]).name} failed with exit status "
                f"{process.returncode}: {text.strip()[-400:] or 'it said nothing'}"
            )
