"""``finchaos sign``, ``verify`` and ``gate``."""

from __future__ import annotations

import datetime as dt
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.next_step import next_step
from finchaos.cli.options import DEFAULT_STORE, JsonOption, RunArgument, StoreOption, TrustOption


class RoleName(StrEnum):
    """Who signs."""

    DEVELOPER = "developer"
    VALIDATOR = "validator"
    APPROVER = "approver"


class DecisionName(StrEnum):
    """What they decide."""

    APPROVE = "approve"
    APPROVE_WITH_CONDITIONS = "approve_with_conditions"
    REJECT = "reject"


def sign(
    run: RunArgument,
    role: Annotated[RoleName, typer.Option(help="In which role.")],
    person: Annotated[
        str, typer.Option(help="Name of the signer; with --key, the one in the certificate.")
    ] = "",
    decision: Annotated[DecisionName, typer.Option(help="The decision.")] = DecisionName.APPROVE,
    conditions: Annotated[str, typer.Option(help="Conditions or remarks.")] = "",
    key: Annotated[
        Path | None,
        typer.Option(help="PKCS#12 file to sign with, instead of a demonstration key."),
    ] = None,
    trust: TrustOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Sign a run in a role: the record, the PDF and the audit chain together."""
    with console.reported():
        from finchaos.core.errors import InputError
        from governance.signoff.demo import DemoAuthority, demo_folder
        from governance.signoff.keys import password_for, pkcs12_identity
        from governance.signoff.signoff import sign as record_signature
        from governance.store import Store

        runs = Store(store)
        stored = runs.load(runs.resolve(run))
        now = dt.datetime.now(dt.UTC)
        if key is not None:
            identity = pkcs12_identity(key, password_for(key))
        elif person:
            identity = DemoAuthority(demo_folder(runs.root)).identity(person, now)
        else:
            raise InputError("nobody signs", remedy="give --person NAME or --key FILE")
        record = record_signature(
            stored.folder,
            stored.run,
            runs.root,
            role.value,
            person or identity.person,
            decision.value,
            conditions,
            identity,
            now,
            trust,
        )
    if json:
        console.print_json(record.model_dump(mode="json"))
        return
    label = " [bold yellow]DEMO TRUST[/]" if record.trust == "demo" else ""
    console.out.print(f"{record.role} {record.person}: {record.decision}{label}")
    console.out.print(f"run {record.run}")
    if record.pdf is not None:
        console.out.print(f"signed copy {stored.folder / record.pdf.path}", markup=False)
    console.out.print(f"Next: {next_step(stored.run, stored.folder, store)}", markup=False)


def verify(
    run: RunArgument = "latest",
    trust: TrustOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Verify every byte and signature of a run, without a network; exit code 20 if any fails."""
    with console.reported():
        _, found = _verified(run, store, trust)
    if json:
        console.print_json(found.as_json())
    else:
        for outcome in found.outcomes:
            mark = "ok    " if outcome.ok else "FAILED"
            console.out.print(f"{mark} {outcome.name}: {outcome.detail}", markup=False)
        label = f", trust: {found.trust}" if found.trust else ""
        console.out.print(f"{'verified' if found.ok else 'NOT VERIFIED'}{label}", markup=False)
    if not found.ok:
        raise typer.Exit(console.BROKEN)


def gate(
    run: RunArgument = "latest",
    trust: TrustOption = None,
    demo: Annotated[
        bool, typer.Option(help="Whether demonstration signatures may open the gate.")
    ] = True,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Say whether a run may be promoted: 0 open, 10 closed, 11 not yet, 12 inconclusive, 20 broken.

    Appends the run's summary to the file that GITHUB_STEP_SUMMARY names, if it does.
    """
    with console.reported():
        from governance.signoff.gate import gate_code

        stored, found = _verified(run, store, trust)
        code, reason = gate_code(stored.run, found, accept_demo=demo)
        _step_summary(stored)
    if json:
        console.print_json({"run": stored.run.digest, "code": code, "reason": reason})
    else:
        console.out.print(f"{code}: {reason}", markup=False)
    raise typer.Exit(code)


def _verified(run: str, store: Path, trust: Path | None) -> tuple[Any, Any]:
    """The run and what verification found; a run that cannot be read is an IntegrityError."""
    from governance.signoff.verify import verify as check_everything
    from governance.store import Store

    runs = Store(store)
    digest = runs.resolve(run)
    found = check_everything(runs.folder(digest), runs.root, trust)
    return runs.load(digest), found


def _step_summary(stored: Any) -> None:
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        from reports import render

        with Path(path).open("ab") as file:
            file.write(render(stored.run, stored.exhibits, "markdown", program=console.program()))
