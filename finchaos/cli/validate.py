"""``finchaos init``, ``validate`` and ``report``."""

from __future__ import annotations

import datetime as dt
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.next_step import next_step
from finchaos.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PlanArgument,
    RunArgument,
    StoreOption,
    TrustOption,
    WorkersOption,
    worker_count,
)
from finchaos.core.errors import InputError
from finchaos.core.files import write_atomic

SHOWN_FINDINGS = 10


def init(
    path: Annotated[Path, typer.Argument(help="Where to write the plan.")] = Path("plan.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented validation plan."""
    from finchaos.cli.assemble import plan_template

    with console.reported():
        if path.exists() and not force:
            raise InputError(
                f"{path} exists already", remedy="choose another name, or --force to replace it"
            )
        text = plan_template()
        for call in ("  finchaos ", "'finchaos "):
            text = text.replace(call, call.replace("finchaos", console.program()))
        write_atomic(path, text.encode())
    console.out.print(f"wrote {path}; edit it, then: {console.program()} validate {path}")


def validate(
    plan: PlanArgument = "demo",
    store: StoreOption = DEFAULT_STORE,
    report: Annotated[bool, typer.Option(help="Render the plan's report formats.")] = True,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure everything anew, whatever is stored.")
    ] = False,
    workers: WorkersOption = None,
    json: JsonOption = False,
) -> None:
    """Validate a model, judge it under a policy, seal the run and render its report."""
    start = time.perf_counter()
    # Being told to end is to clean up first: checks run in processes of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with console.reported():
        from finchaos.cli.assemble import find_plan, gather
        from governance.environment import code_digest
        from governance.harness import validate as run_harness
        from governance.plan_files import held_files
        from governance.signoff.plan_content import content_of
        from governance.signoff.plan_lock import compare_with_lock
        from governance.store import Store

        wanted, beside = find_plan(plan)
        with console.progress() as say:
            materials = gather(wanted, beside, say, store / ".models")
            home = Store(store)
            now = content_of(
                wanted,
                materials.policy,
                materials.scenarios,
                code_digest(),
                also=materials.also,
                files=held_files(wanted, beside),
            )
            lock = compare_with_lock(home, now)  # before anything is measured
            stored = run_harness(
                wanted,
                materials,
                home,
                say,
                fresh=fresh,
                workers=worker_count(workers),
                lock=lock,
                identity=now.identity,
            )
            written = _render(stored, wanted.formats, say) if report else {}
    summary = _summary(stored, written)
    if json:
        console.print_json(summary)
    else:
        following = next_step(stored.run, stored.folder, store)
        _print(summary, time.perf_counter() - start, following)


def report(
    run: RunArgument = "latest",
    format: Annotated[
        list[str] | None, typer.Option(help="html, pdf, json, junit or markdown; repeatable.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to, instead of the run's own.")
    ] = None,
    trust: TrustOption = None,
    json: JsonOption = False,
) -> None:
    """Render a sealed run again; with --out, with the names of those who have signed it."""
    with console.reported():
        from finchaos.core import registry
        from governance.store import Store

        runs = Store(store)
        stored = runs.load(runs.resolve(run))
        wanted = tuple(format or stored.run.plan["formats"])
        for name in wanted:
            registry.module("reports.formats", name)
        with console.progress() as say:
            written = _render(stored, wanted, say, out, trust)
    if json:
        console.print_json(written)
        return
    for name, path in written.items():
        console.out.print(f"{name:<9} {path}", markup=False)


def _render(
    stored: Any,
    formats: tuple[str, ...],
    say: Any,
    out: Path | None = None,
    trust: Path | None = None,
) -> dict[str, str]:
    """Write the formats that are not there as they were rendered; what is intact is kept.

    The run's own reports are what is signed, so that they name no signer; those written
    elsewhere name everybody whose signature verifies.
    """
    from finchaos.core import registry
    from governance.signoff.rendered import intact_reports, record_reports, require_no_others
    from reports import render_all

    say("render the report", 0, 1)
    folder = out or stored.folder / "report"
    paths = {
        name: folder / f"report.{registry.module('reports.formats', name).EXTENSION}"
        for name in formats
    }
    intact = set() if out is not None else intact_reports(stored.folder, stored.run.digest)
    wanted = tuple(name for name, path in paths.items() if path.name not in intact)
    if wanted and out is None and (stored.folder / "signoffs").exists():
        raise InputError(
            "this run is signed, and a report added now would break its signatures",
            remedy="name another folder with --out",
        )
    if wanted and out is None:
        require_no_others(stored.folder, intact | {paths[name].name for name in wanted})
    signoffs = () if out is None else _signoffs(stored, trust)
    reports = render_all(
        stored.run, stored.exhibits, wanted, signoffs=signoffs, program=console.program()
    )
    for name, data in reports.items():
        write_atomic(paths[name], data)
    if wanted and out is None:
        now = dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat()
        record_reports(stored.folder, stored.run.digest, stored.folder.parent, now)
    return {name: str(path) for name, path in paths.items()}


def _signoffs(stored: Any, trust: Path | None) -> tuple[Any, ...]:
    """The verified decisions on a run, in the order of signing; none if nobody signed."""
    from finchaos.core.errors import IntegrityError
    from governance.signoff.verify import verify

    if not (stored.folder / "signoffs").exists():
        return ()
    found = verify(stored.folder, stored.folder.parent, trust)
    if not found.ok:
        raise IntegrityError(
            "the signatures of this run do not verify, so that no report may name the signers",
            got="; ".join(f"{outcome.name}: {outcome.detail}" for outcome in found.failures),
            remedy="see 'finchaos verify', and --trust for signers of another root",
        )
    return tuple(found.records)


def _summary(stored: Any, written: dict[str, str]) -> dict[str, Any]:
    from governance.record import SEVERITIES

    run = stored.run
    verdicts = Counter(finding.verdict for finding in run.findings)
    weak = [f for f in run.findings if f.verdict in ("fail", "warn", "not_assessed")]
    order = ("fail", "warn", "not_assessed")  # what was found before what could not be looked at
    weak.sort(key=lambda f: (order.index(f.verdict), SEVERITIES.index(f.severity), f.id))
    return {
        "run": run.digest,
        "folder": str(stored.folder),
        "subject": f"{run.subject.card['name']} {run.subject.card['version']}",
        "policy": f"{run.policy.name} {run.policy.version}",
        "gate": run.gate,
        "inconclusive": run.inconclusive,
        "tier": None if run.materiality is None else run.materiality.tier,
        "lock": None if run.lock is None else run.lock.model_dump(mode="json"),
        "findings": dict(sorted(verdicts.items())),
        "evidence": len(run.evidence),
        "processes_ended": _processes_ended(stored.folder),
        "worst": [
            {"verdict": f.verdict, "severity": f.severity, "id": f.id, "statement": f.statement}
            for f in weak
        ],
        "reports": written,
    }


def _processes_ended(folder: Path) -> dict[str, int]:
    """Of each check, how many processes the model had left running."""
    from finchaos.core.provenance import parse_json

    facts = parse_json((folder / "timings.json").read_bytes())
    return dict(facts.get("processes_ended", {}))


def _lock_line(lock: dict[str, Any] | None) -> str:
    if lock is None:
        return "plan not locked before its results"
    late = ", after results were known" if lock["after_results"] else " before any result"
    changed = len(lock["changes"])
    more = f"; {changed} thing{'s' * (changed != 1)} changed since" if changed else ""
    return f"plan locked on {lock['at']}{late}{more}"


def _print(summary: dict[str, Any], seconds: float, following: str) -> None:
    colour = {"open": "green", "conditional": "yellow", "closed": "red"}[summary["gate"]]
    say = console.out.print
    say(f"[bold]{summary['subject']}[/] under {summary['policy']}")
    say(f"gate [bold {colour}]{summary['gate']}[/]" + " (inconclusive)" * summary["inconclusive"])
    say(_lock_line(summary["lock"]), markup=False)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in summary["findings"].items())
    say(f"findings: {counts}; evidence: {summary['evidence']}")
    if ended := summary["processes_ended"]:
        said = ", ".join(f"{count} in {check}" for check, count in ended.items())
        say(f"the model left processes running, which were ended: {said}", markup=False)
    for item in summary["worst"][:SHOWN_FINDINGS]:
        say(f"  {item['verdict']:<12} {item['severity']:<9} {item['statement']}", markup=False)
    if len(summary["worst"]) > SHOWN_FINDINGS:
        say(f"  and {len(summary['worst']) - SHOWN_FINDINGS} more in the report")
    say(f"run {summary['run']}")
    for name, path in summary["reports"].items():
        say(f"  {name:<9} {path}", markup=False)
    say(f"{seconds:.0f} s. Next: {following}", markup=False)
