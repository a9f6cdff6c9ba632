"""The ``finchaos`` command: its entry point and the list of its subcommands.

Exit codes: 0 done, or gate open; 1 a crash; 2 usage or input; 10 gate closed; 11 gate conditional
or an approval missing; 12 inconclusive; 20 a record, report or signature does not verify.
"""

from __future__ import annotations

import typer

import finchaos
from finchaos.cli import (
    backtest,
    catalogue,
    console,
    extract,
    laboratory,
    monitor,
    plan,
    selftest,
    sign,
    validate,
)

app = typer.Typer(
    name="finchaos",
    help="Validate and govern financial models.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"finchaos {finchaos.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


for command in (
    validate.init,
    validate.validate,
    validate.report,
    sign.sign,
    sign.verify,
    sign.gate,
    monitor.monitor,
    laboratory.generate,
    laboratory.train,
    extract.extract,
    backtest.backtest,
    selftest.selftest,
    catalogue.checks,
    catalogue.scenarios,
    catalogue.policies,
    catalogue.runs,
    catalogue.schema,
):
    app.command()(command)
for name, group in (("plan", plan.app),):
    app.add_typer(group, name=name)


def run() -> None:
    """Run the command with the arguments of the process."""
    app(prog_name=console.program())
