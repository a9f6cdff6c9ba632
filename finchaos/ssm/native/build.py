"""Building the kernels: one C++ source, once for each width of vector, into one library.

The sources use no header but the compiler's, so the library fits any Python and any torch. It is
built when the wheel is, or on first use into the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
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


class BuildFailure(Exception):  # noqa: N818  (turned into the reason why the backend is absent)
    """The kernels cannot be built here, and why."""


def source_digest() -> str:
    """SHA-256 over the sources and flags, lower-case hexadecimal."""
    sha = hashlib.sha256(repr((FLAGS, sorted(WIDTHS.items()))).encode())
    for path in sorted(SOURCES.glob("*")):
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


def cache_folder() -> Path:
    """The user's cache for built kernels."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "finchaos"


def compiler() -> str:
    """The C++ compiler: what the variable CXX names, else g++, clang++ or c++.

    Raises
    ------
    BuildFailure
        If there is none.
    """
    named = os.environ.get("CXX")
    for name in [named] if named else ["g++", "clang++", "c++"]:
        found = shutil.which(name)
        if found:
            return found
    raise BuildFailure(f"no C++ compiler was found ({named or 'g++, clang++ or c++'})")


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
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        threads = _openmp(cxx, Path(folder))
        marks = [f'-DSOURCES="{source_digest()}"', *FLAGS, *threads]
        objects = [Path(folder) / f"{lanes}.o" for lanes in WIDTHS]
        jobs = [
            [
                cxx,
                *marks,
                f"-DLANES={lanes}",
                *flags,
                "-c",
                str(SOURCES / "lanes.cpp"),
                "-o",
                str(o),
            ]
            for (lanes, flags), o in zip(WIDTHS.items(), objects, strict=True)
        ]
        _run_all(jobs)
        made = Path(folder) / "kernels.so"
        _run_all([[cxx, "-shared", *threads, *map(str, objects), "-o", str(made)]])
        made.replace(target)
    return target


def _openmp(cxx: str, folder: Path) -> list[str]:
    """The flag for threads where the compiler has them; one thread computes otherwise."""
    probe = folder / "probe.cpp"
    probe.write_text("#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n")
    command = [cxx, "-fopenmp", str(probe), "-o", str(folder / "probe")]
    works = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return ["-fopenmp"] if works else []


def _run_all(commands: list[list[str]]) -> None:
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    said = [process.communicate()[0] for process in running]
    for process, text in zip(running, said, strict=True):
        if process.returncode:
            raise BuildFailure(f"the C++ compiler failed: {text.strip()[-400:]}")
