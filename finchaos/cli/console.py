"""What the command prints: progress for people, JSON for machines, errors as one message."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from finchaos.core.errors import FinchaosError, IntegrityError

USAGE, BROKEN = 2, 20

errors = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)


def program() -> str:
    """How the user calls the command: ``FINCHAOS_PROGRAM`` where a script called it for them."""
    return os.environ.get("FINCHAOS_PROGRAM") or "finchaos"


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def stop(message: str, code: int) -> NoReturn:
    """Print one message on standard error and leave with ``code``."""
    said = message.replace("'finchaos ", f"'{program()} ")
    errors.print(f"[bold red]finchaos:[/] {_plain(said)}")
    raise typer.Exit(code)


def _plain(message: str) -> str:
    return message.replace("[", r"\[")


@contextmanager
def reported() -> Iterator[None]:
    """Turn expected errors into one message and the exit code that belongs to them."""
    try:
        yield
    except IntegrityError as error:
        stop(str(error), BROKEN)
    except FinchaosError as error:
        stop(str(error), USAGE)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        stop(
            f"the system refused: {error.strerror or error}{place}; nothing was half-written, "
            "repair the cause and run the same command again",
            USAGE,
        )


def quiet() -> bool:
    """Whether progress would only clutter a log."""
    return bool(os.environ.get("CI")) or not sys.stderr.isatty()


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error; a line per stage where nobody watches."""
    if quiet():
        seen: set[str] = set()

        def say(stage: str, done: int, total: int) -> None:
            if stage not in seen:
                seen.add(stage)
                errors.print(f"  {_plain(stage)}")

        yield say
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("starting", total=1)

        def show(stage: str, done: int, total: int) -> None:
            bar.update(task, description=_plain(stage), completed=done, total=max(total, 1))

        yield show
