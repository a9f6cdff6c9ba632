"""``finchaos selftest``: known defects are planted in sound models, and counted when found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.options import JsonOption, WorkersOption, worker_count
from finchaos.core.files import write_atomic

SMALL_NETWORK = {
    "d_model": 8,
    "d_state": 4,
    "n_layers": 1,
    "warmup_bars": 64,
    "pretrain_paths": 24,
    "pretrain_bars": 500,
    "pretrain_steps": 60,
    "pretrain_batch": 16,
    "finetune_steps": 20,
    "window_bars": 128,
    "burn_in_bars": 32,
}
"""A state-space model like the demonstration's that is taught in seconds."""


@cache
def small_network() -> Any:
    """A state-space model that knows nothing but is sound."""
    from finchaos.core import registry

    return registry.module("finchaos.subjects", "mamba_regime").build(SMALL_NETWORK, seed=1)


def kinds() -> dict[str, Callable[[], Any]]:
    """The harness's sound models, and a network where there is what it needs."""
    from governance.selftest.sound import KINDS

    networks = {} if find_spec("torch") is None else {"mamba_regime": small_network}
    return {**KINDS, **networks}


def selftest(
    sound: Annotated[int, typer.Option(help="Sound models to validate beside.")] = 100,
    kind: Annotated[
        list[str] | None, typer.Option(help="Kinds of sound models; all by default.")
    ] = None,
    defect: Annotated[
        list[str] | None, typer.Option(help="Defects to plant; all by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first market.")] = 1,
    workers: WorkersOption = None,
    out: Annotated[Path, typer.Option(help="File to write the matrix to.")] = Path("selftest.json"),
    keep: Annotated[
        Path | None,
        typer.Option(help="File for the figures that reports print: governance/selftest.json."),
    ] = None,
    reports: Annotated[
        Path | None,
        typer.Option(help="Folder for a report of one defect of each family, or of those chosen."),
    ] = None,
    report_format: Annotated[
        list[str] | None, typer.Option(help="Of those reports; html by default. Repeatable.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="File for a page of what the reports say; needs --reports.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Plant every defect in every kind of sound model, and see which checks find it.

    With --reports, some of them are also validated, sealed and rendered as any model is.
    The exit code is 10 if a defect was missed or a sound model accused.
    """
    start = time.perf_counter()
    with console.reported():
        from governance.selftest.matrix import DEFECTS, self_test

        known = kinds()
        chosen = {name: known[name] for name in _chosen("kind", kind, tuple(known))}
        names = _chosen("defect", defect, tuple(one.name for one in DEFECTS))
        defects = [one for one in DEFECTS if one.name in names]
        told = _wanted(
            reports, page, report_format, kind=kind, defect=defect, kinds=chosen,
            defects=defects, sound=sound, seed=seed,
        )  # fmt: skip
        with console.progress() as say:
            matrix = self_test(
                sound=sound,
                kinds=chosen,
                defects=defects,
                seed=seed,
                workers=max(worker_count(workers), 1),
                progress=say,
            )
            found = matrix.summary()
            if told is not None:
                told.write(found, max(worker_count(workers), 1), say)
        write_atomic(out, (_text(found) + "\n").encode())
        if keep is not None:
            write_atomic(keep, (matrix.kept().model_dump_json(indent=1) + "\n").encode())
    if json:
        console.print_json(found)
    else:
        _print(matrix, str(out), time.perf_counter() - start)
    raise typer.Exit(10 if matrix.missed or matrix.falsely_accused else 0)


def _wanted(
    folder: Path | None, page: Path | None, formats: list[str] | None, **chosen: Any
) -> Any:
    """The reports that were asked for, refused before anything is measured; None if none were."""
    from finchaos.cli.planted_reports import wanted
    from finchaos.core.errors import InputError

    if folder is not None:
        return wanted(folder, page, formats or ["html"], **chosen)
    if page is not None or formats:
        raise InputError("--page and --report-format tell of reports", remedy="add --reports")
    return None


def _chosen(what: str, wanted: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    from finchaos.core.errors import UnknownNameError

    unknown = sorted(set(wanted or ()) - set(known))
    if unknown:
        raise UnknownNameError(f"no {what} {unknown[0]!r}", expected=f"of {', '.join(known)}")
    return tuple(name for name in known if not wanted or name in wanted)


def _text(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=1)


def _print(matrix: Any, place: str, seconds: float) -> None:
    for row in matrix.rows():
        checks = ", ".join(row["checks"]) or "no check"
        console.out.print(
            f"{row['family']:<12}{row['defect']:<26}{row['found']}/{row['planted']}  {checks}",
            markup=False,
        )
    for one in matrix.falsely_accused:
        accused = ", ".join(one.accused)
        console.out.print(f"accused     {one.kind}, market {one.seed}: {accused}", markup=False)
    for label, (share, interval), of in (
        ("defects found", matrix.found_share, len(matrix.planted)),
        ("sound models accused", matrix.false_share, len(matrix.sound)),
    ):
        console.out.print(
            f"{label}: {share:.1%} of {of} (95 % interval {interval.low:.1%} to "
            f"{interval.high:.1%})",
            markup=False,
        )
    console.out.print(f"{place}\n{seconds:.0f} s", markup=False)
