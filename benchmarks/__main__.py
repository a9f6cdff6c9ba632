"""``./dev bench``: run benchmarks, each in a fresh process, and print and keep their tables."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.catalogue import ALL, BENCHMARKS, DEFAULT, chosen, durations, run
from benchmarks.machine import ENVIRONMENT, conditions
from benchmarks.page import write_page
from benchmarks.provenance import provenance
from benchmarks.report import Options
from benchmarks.timing import STANDARD, Protocol

PAGE = "page"
FOLDER = Path("bench-results")


def main(arguments: list[str]) -> int:
    """Exit code 1 if a benchmark failed, as it does when answers disagree."""
    asked = _parser().parse_args(arguments)
    names = () if asked.names == [PAGE] else chosen([n for n in asked.names if n != PAGE])
    if asked.here:
        for name in names:
            _run_here(name, asked)
        return 0
    failed = []
    for name in names:
        # A fresh process: the allocator reads its settings at start, and no table runs on the
        # heap that another has left behind.
        command = [sys.executable, "-m", "benchmarks", *_options(asked), "--here", name]
        if subprocess.run(command, env={**os.environ, **ENVIRONMENT}, check=False).returncode:
            failed.append(name)
    page = write_page(asked.output, BENCHMARKS, asked.results)
    print(
        f"no tables in {asked.output}" if page is None else f"all tables: {page}", file=sys.stderr
    )
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or page is None else 0


def _run_here(name: str, asked: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    protocol = Protocol(rounds=asked.rounds)
    held = {**conditions(asked.backend), **provenance(protocol, asked.backend)}
    start = time.monotonic()
    report = run(name, Options(asked.backend, protocol))
    held["load average"] += f" before, {conditions(asked.backend)['load average']} after"
    held["took"] = f"{time.monotonic() - start:.0f} s"
    print(report.markdown(held), flush=True)
    report.write(asked.output, held)


def _options(asked: argparse.Namespace) -> list[str]:
    output = ["--output", str(asked.output)]
    return ["--backend", asked.backend, "--rounds", str(asked.rounds), *output]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description=__doc__,
        epilog=durations(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*BENCHMARKS, ALL, PAGE],
        metavar="NAME",
        help=f"see below; {', '.join(DEFAULT)} if none is given; {ALL}; or {PAGE}, which runs "
        "nothing and gathers the tables in the folder into its README.md, as every run does",
    )
    parser.add_argument(
        "--rounds", type=_positive, default=STANDARD.rounds, help="timed rounds (%(default)s)"
    )
    parser.add_argument(
        "--backend", default=Options().backend, help="ours: auto, cpu, torch ... (%(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=FOLDER,
        help="folder for Markdown, JSON and figures (%(default)s)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="the page of all tables, README.md in that folder if not given; the one that is kept "
        "is benchmarks/RESULTS.md",
    )
    parser.add_argument("--here", action="store_true", help="in this process, allocator as it is")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
