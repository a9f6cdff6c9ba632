"""``./dev bench``: run benchmarks, each in a fresh process, and print their tables."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.catalogue import ALL, BENCHMARKS, DEFAULT, chosen, run
from benchmarks.machine import ENVIRONMENT, conditions
from benchmarks.report import Options
from benchmarks.timing import STANDARD, Protocol


def main(arguments: list[str]) -> int:
    """Exit code 1 if a benchmark failed, as it does when answers disagree."""
    asked = _parser().parse_args(arguments)
    if asked.here:
        for name in chosen(asked.names):
            _run_here(name, asked)
        return 0
    failed = []
    for name in chosen(asked.names):
        # A fresh process: the allocator reads its settings at start, and no table runs on the
        # heap that another has left behind.
        command = [sys.executable, "-m", "benchmarks", *_options(asked), "--here", name]
        if subprocess.run(command, env={**os.environ, **ENVIRONMENT}, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run_here(name: str, asked: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    held = conditions(asked.backend)
    report = run(name, Options(asked.backend, Protocol(rounds=asked.rounds)))
    held["load average"] += f" before, {conditions(asked.backend)['load average']} after"
    print(report.markdown(held), flush=True)
    if asked.output is not None:
        report.write(asked.output, held)


def _options(asked: argparse.Namespace) -> list[str]:
    output = [] if asked.output is None else ["--output", str(asked.output)]
    return ["--backend", asked.backend, "--rounds", str(asked.rounds), *output]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*BENCHMARKS, ALL],
        metavar="NAME",
        help=f"{', '.join(BENCHMARKS)} or {ALL}; {', '.join(DEFAULT)} if none is given",
    )
    parser.add_argument("--rounds", type=_positive, default=STANDARD.rounds, help="timed rounds")
    parser.add_argument("--backend", default=Options().backend, help="ours: auto, cpu, torch ...")
    parser.add_argument("--output", type=Path, help="folder for Markdown, JSON and figures")
    parser.add_argument("--here", action="store_true", help="in this process, allocator as it is")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
