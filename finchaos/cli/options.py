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
