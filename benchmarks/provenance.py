"""When, from which sources and by which protocol a table was measured."""

from __future__ import annotations

import ctypes
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.timing import Protocol
from finchaos.ssm.backends import choose_backend
from finchaos.ssm.native import library

_ROOT = Path(__file__).parents[1]
_BLOCK = 2**26


def provenance(protocol: Protocol, backend: str) -> dict[str, str]:
    """Date, commit, protocol, vectors of our kernels and what the allocator really does."""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "protocol": (
            f"{protocol.rounds} interleaved rounds after {protocol.warmups} warm-ups "
            f"({protocol.slow_rounds} from {protocol.slow_s:g} s a call, 1 from "
            f"{protocol.very_slow_s:g} s), medians of process CPU time; single steps: median wall "
            f"time of {protocol.calls} calls in blocks of {protocol.block}"
        ),
        "large blocks of memory": large_blocks(),
    }
    if choose_backend(backend).name == "cpu":
        found["our vectors"] = f"{library.lanes()} floats"
    return found


def commit(folder: Path = _ROOT) -> str:
    """The commit of the sources, and whether they were changed since."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
    return f"{head} with changes" if changed else head


def large_blocks() -> str:
    """Where the C library puts large tensors: in its heap, as the tuned allocator is to, or not.

    Some versions of it ignore a large ``MALLOC_MMAP_THRESHOLD_``.
    """
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return "unknown"
    mallinfo.restype = _Mallinfo
    before = mallinfo().hblkhd
    block = torch.empty(_BLOCK, dtype=torch.uint8)
    mapped = mallinfo().hblkhd - before
    del block
    return "each mapped and given back" if mapped >= _BLOCK else "in the heap, kept"


class _Mallinfo(ctypes.Structure):
    """Of glibc from 2.33 on; ``hblkhd`` are the bytes in blocks that are mapped one by one."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, check=True, text=True
    )
    return done.stdout.strip()
