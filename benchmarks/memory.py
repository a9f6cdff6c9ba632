"""Peak memory of a forward and backward pass, each side in a fresh process of its own.

The peak is the kernel's own high-water mark of resident memory (``VmHWM``), set back after the
network was built and once run on a few tokens; what was resident then is subtracted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.machine import ENVIRONMENT
from benchmarks.peers import MAMBA2_64, MAMBA_64, PEERS, Shape, common_weights, ours
from benchmarks.report import Cell, Options, Report, Table
from benchmarks.stacks import OURS, Case, training_pass

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
_WARM_STEPS = 2
CASES = (
    Case(MAMBA_64, 32, 512, ("mambapy", "loop", "lstm", "transformer")),
    Case(MAMBA_64, 4, 512, ("transformers",)),
    Case(MAMBA2_64, 32, 512, ("transformers", "transformers_64", "lstm", "transformer")),
)


def measure(case: Case, options: Options) -> dict[str, int]:
    """Peak extra bytes by peer, ours under ``ours``.

    Raises
    ------
    subprocess.CalledProcessError
        If a side fails; its error was printed.
    """
    return {key: _in_fresh_process(case, key, options.backend) for key in (OURS, *case.peers)}


def run(options: Options, wanted: tuple[Case, ...] = CASES) -> Report:
    """The table of memory."""
    rows: list[tuple[Cell, ...]] = []
    for case in wanted:
        peaks = measure(case, options)
        for key in case.peers:
            sizes = (peaks[OURS] / 1e6, peaks[key] / 1e6, peaks[key] / peaks[OURS])
            rows.append((case.label, PEERS[key].name, *sizes))
    columns = ("work", "peer", "ours MB", "peer MB", "peer / ours")
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
    if _CLEAR.exists():
        _CLEAR.write_text(_CLEAR_PEAK)
    before, resident = _status("VmHWM"), _status("VmRSS")
    work()
    peak = _status("VmHWM")
    if peak == before > resident:
        raise RuntimeError("an earlier peak of memory hides that of the pass")
    return peak - resident


def _status(key: str) -> int:
    """An entry of the kernel's status of this process, in bytes."""
    found = re.search(rf"^{key}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS} does not tell {key}; memory is measured on Linux only")
    return 1024 * int(found[1])


def _in_fresh_process(case: Case, key: str, backend: str) -> int:
    request = json.dumps({"case": asdict(case), "key": key, "backend": backend})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", request],
        env={**os.environ, **ENVIRONMENT},
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
