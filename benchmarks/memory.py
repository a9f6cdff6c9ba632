"""Peak memory of a forward and backward pass, each side in a fresh process of its own.

The peak is the kernel's own high-water mark of resident memory (``VmHWM``), set back after the
network was built and once run on a few tokens; what was resident then is subtracted. Before, the C
library gives back what it holds free, as a pass that used it again would seem to need less.

Each side is measured under the tuned allocator of the other benchmarks and as the system has it:
the tuned one never gives back large blocks, and what it cannot use again counts.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path

import torch

from benchmarks.machine import ALLOCATOR, ENVIRONMENT
from benchmarks.peers import MAMBA2_64, MAMBA_64, MAMBA_128, PEERS, Shape, common_weights, ours
from benchmarks.report import Cell, Options, Report, Table
from benchmarks.stacks import OURS, Case, training_pass

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
_WARM_STEPS = 2
TUNED, SYSTEM = "tuned", "system"
ALLOCATORS = {
    TUNED: ENVIRONMENT,
    SYSTEM: {key: value for key, value in ENVIRONMENT.items() if key not in ALLOCATOR},
}
CASES = (
    Case(MAMBA_64, 32, 512, ("mambapy", "loop", "lstm", "transformer")),
    Case(MAMBA_64, 32, 2048, ("lstm", "transformer")),
    Case(MAMBA_128, 16, 512, ("mambapy", "lstm", "transformer")),
    Case(MAMBA_64, 4, 512, ("transformers",)),
    Case(MAMBA2_64, 32, 512, ("transformers", "transformers_64", "lstm", "transformer")),
    Case(MAMBA2_64, 32, 2048, ("lstm", "transformer")),
)


def measure(case: Case, options: Options, allocator: str = TUNED) -> dict[str, int]:
    """Peak extra bytes by peer, ours under ``ours``.

    Raises
    ------
    subprocess.CalledProcessError
        If a side fails; its error was printed.
    """
    sides = (OURS, *case.peers)
    return {key: _in_fresh_process(case, key, options.backend, allocator) for key in sides}


def run(
    options: Options,
    wanted: tuple[Case, ...] = CASES,
    allocators: tuple[str, ...] = (TUNED, SYSTEM),
) -> Report:
    """The table of memory."""
    rows: list[tuple[Cell, ...]] = []
    for case, allocator in product(wanted, allocators):
        peaks = measure(case, options, allocator)
        mine = peaks[OURS]
        token = mine / 1e3 / (case.batch * case.steps * case.shape.layers)
        for key in case.peers:
            sizes = (mine / 1e6, token, peaks[key] / 1e6, peaks[key] / mine)
            rows.append((case.label, PEERS[key].name, allocator, *sizes))
    columns = (
        "work",
        "peer",
        "allocator",
        "ours MB",
        "ours kB a token and layer",
        "peer MB",
        "peer / ours",
    )
    notes = (
        "Peak resident memory above that of the built and once run network, each side in a fresh "
        "process; 1 MB is 1e6 bytes. One pass each: it varies by a few per cent.",
    )
    table = Table("Peak extra memory, forward and backward", columns, tuple(rows), notes)
    return Report("memory", (table,))


def peak_extra(case: Case, key: str, backend: str) -> int:
    """Peak extra bytes of one pass in this process.

    Raises
    ------
    RuntimeError
        If the system cannot set the high-water mark back and it was higher before.
    """
    torch.manual_seed(0)
    weights = common_weights(case.shape)
    own = key == OURS
    network = ours(case.shape, weights, backend) if own else PEERS[key].build(case.shape, weights)
    warm = torch.randn(1, _WARM_STEPS, case.shape.d_model)
    training_pass(network, warm, warm)()
    x = torch.randn(case.batch, case.steps, case.shape.d_model)
    work = training_pass(network, x, torch.randn_like(x))
    _give_back_free_memory()
    if _CLEAR.exists():
        _CLEAR.write_text(_CLEAR_PEAK)
    before, resident = status("VmHWM"), status("VmRSS")
    work()
    peak = status("VmHWM")
    if peak == before > resident:
        raise RuntimeError("an earlier peak of memory hides that of the pass")
    return peak - resident


def status(key: str) -> int:
    """An entry of the kernel's status of this process, in bytes."""
    found = re.search(rf"^{key}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS} does not tell {key}; memory is measured on Linux only")
    return 1024 * int(found[1])


def _give_back_free_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def environment(allocator: str) -> dict[str, str]:
    """Of a fresh process under an allocator, whatever that of this process is."""
    kept = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
    return kept | ALLOCATORS[allocator]


def _in_fresh_process(case: Case, key: str, backend: str, allocator: str) -> int:
    request = json.dumps({"case": asdict(case), "key": key, "backend": backend})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", request],
        env=environment(allocator),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return int(done.stdout)


def _answer(request: str) -> None:
    torch.set_num_threads(1)
    asked = json.loads(request)
    case = Case(**{**asked["case"], "shape": Shape(**asked["case"]["shape"])})
    print(peak_extra(case, asked["key"], asked["backend"]))


if __name__ == "__main__":
    _answer(sys.argv[1])
