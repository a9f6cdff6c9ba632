"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    Path, typer.Option("--store", envvar="FINCHAOS_STORE", help="Folder that holds the runs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", help="PEM file of trusted roots, instead of the demonstration root."),
]
PlanArgument = Annotated[str, typer.Argument(help="'demo' or the path of a plan.")]
RunArgument = Annotated[
    str, typer.Argument(help="Run digest, its first characters, a run's folder, or 'latest'.")
]

DEFAULT_STORE = Path("runs")

WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="How many checks or subjects at a time, each in a process of its own; as many as "
        "processors by default. 0: one after another in this process, without limits of time and "
        "memory.",
        min=0,
        max=256,
    ),
]


def worker_count(wanted: int | None) -> int:
    """As asked for, else as many as there are processors for this process."""
    import joblib

    return int(joblib.cpu_count()) if wanted is None else wanted
