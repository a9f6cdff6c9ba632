"""The conditions a benchmark ran under: allocator, threads, processor, load and versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from finchaos.ssm.backends import choose_backend

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "16000000000",
}
"""glibc keeps large blocks instead of returning each to the system and faulting it in again.

This helps packages with large temporaries, our peers, far more than it helps us.
"""
ENVIRONMENT = {
    **ALLOCATOR,
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Must be set before the interpreter starts."""
PACKAGES = (
    *("finchaos", "torch", "transformers", "mambapy", "onnxruntime", "numpy", "numba", "pandas"),
    *("TA-Lib", "pandas-ta-classic"),
)
_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")


def is_tuned() -> bool:
    """Whether this process started with :data:`ENVIRONMENT`."""
    return all(os.environ.get(key) == value for key, value in ENVIRONMENT.items())


def conditions(backend: str) -> dict[str, str]:
    """What to print beside a table; the load average is that of this moment."""
    choice = choose_backend(backend)
    return {
        "processor": f"{_processor()}, {os.cpu_count()} seen, {_instructions()}",
        "threads": str(torch.get_num_threads()),
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "allocator": "glibc tuned" if is_tuned() else "as the system has it",
        "our backend": f"{choice.name}, {choice.reason}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}"]
            + [f"{name} {installed(name)}" for name in PACKAGES]
        ),
        "system": platform.platform(),
    }


def installed(package: str) -> str:
    """A package's version, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _instructions() -> str:
    found = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return " ".join(flag for flag in _FLAGS if flag in found) or "instruction sets unknown"


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
