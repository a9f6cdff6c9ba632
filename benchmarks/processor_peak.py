"""The processor's peak of multiply-adds from registers, one thread: the roof of the roofline.

A matrix product is no measure of it: where a library of products does not use the widest vectors
of a processor, code that does use them would reach more than "the peak".
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Twelve sums that do not wait for one another, enough for two units with a latency of four to six.
_SOURCE = """
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define SUMS 12
typedef float vec __attribute__((vector_size(BYTES)));
extern "C" long fc_lanes() { return BYTES / sizeof(float); }
extern "C" float fc_multiply_adds(long rounds, float factor, float term) {
  vec sums[SUMS], f = factor - (vec){}, t = term - (vec){};
  for (int i = 0; i < SUMS; i++) sums[i] = (float)i - (vec){};
  for (long round = 0; round < rounds; round++)
    for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * f + t;
  float all = 0;
  for (int i = 0; i < SUMS; i++)
    for (int j = 0; j < BYTES / 4; j++) all += sums[i][j];
  return all;
}
"""
_SUMS = 12
_FLAGS = ["-O3", "-march=native", "-ffp-contract=fast", "-funroll-loops", "-shared", "-fPIC"]


def multiply_adds(operations: float) -> tuple[Callable[[], float], float] | None:
    """A job of about so many operations and their exact number; None without a compiler.

    A multiply-add counts as two operations.
    """
    cxx = _compiler()
    if cxx is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "peak.cpp", Path(folder) / "peak.so"
        source.write_text(_SOURCE)
        subprocess.run([*cxx, *_FLAGS, str(source), "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.fc_multiply_adds.argtypes = (ctypes.c_long, ctypes.c_float, ctypes.c_float)
    loaded.fc_multiply_adds.restype = ctypes.c_float
    each = 2 * _SUMS * int(loaded.fc_lanes())
    rounds = max(1, round(operations / each))
    return partial(loaded.fc_multiply_adds, rounds, 0.5, 1.0), float(each * rounds)


def _compiler() -> list[str] | None:
    """What the variable CXX says, else the first compiler that there is."""
    named = shlex.split(os.environ.get("CXX", ""))
    commands = [named] if named else [["g++"], ["clang++"], ["c++"]]
    return next((command for command in commands if shutil.which(command[0])), None)
