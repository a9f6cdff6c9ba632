"""``finchaos plan lock`` and ``plan status``: a plan registered before its results."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.options import DEFAULT_STORE, JsonOption, PlanArgument, StoreOption

app = typer.Typer(no_args_is_help=True, help="Lock a plan before its results, and compare with it.")


@app.command()
def lock(
    plan: PlanArgument,
    person: Annotated[str, typer.Option(help="Who locks it, for the audit chain.")] = "",
    code: Annotated[
        bool, typer.Option("--code", help="Lock the toolkit's own code too, by digest.")
    ] = False,
    after_results: Annotated[
        bool,
        typer.Option("--after-results", help="Lock although there are results; reports say so."),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Lock a plan and every threshold it will be judged by, before anything is measured."""
    with console.reported():
        from governance.environment import code_digest
        from governance.signoff.plan_lock import lock_plan
        from governance.store import Store

        wanted, content = _content(plan, code_digest() if code else None)
        now = dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat()
        locked, new = lock_plan(
            Store(store), wanted, content, person=person, at=now, after_results=after_results
        )
    if json:
        console.print_json(
            {
                "lock": locked.lock.digest,
                "entry": locked.entry.hash,
                "new": new,
                **locked.lock.model_dump(mode="json"),
            }
        )
        return
    say = console.out.print
    said = "locked" if new else "was locked already, the same,"
    late = ", after results" if locked.lock.after_results else ""
    say(f"plan {wanted.name} {said} on {locked.lock.at}{late}", markup=False)
    policy = content.policy
    say(f"policy {policy.name} {policy.version}, {len(content.rules)} rules", markup=False)
    for key, file in (content.files or {}).items():
        say(f"{key}: {file.name}, SHA-256 {file.digest[:12]}", markup=False)
    say(f"lock {locked.lock.digest}")
    where = "" if store == DEFAULT_STORE else f" --store {store}"
    say(f"Next: {console.program()} validate {plan}{where}", markup=False)


@app.command()
def status(
    plan: PlanArgument, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Say whether a plan is locked, and what was changed after the lock."""
    with console.reported():
        from governance.environment import code_digest
        from governance.signoff.plan_lock import compare_with_lock
        from governance.store import Store

        wanted, content = _content(plan, code_digest(), absent=True)
        found = compare_with_lock(Store(store), content)
    if json:
        console.print_json(None if found is None else found.model_dump(mode="json"))
        return
    say = console.out.print
    if found is None:
        say(f"plan {wanted.name} is not locked in {store}", markup=False)
        return
    late = ", after results" if found.after_results else ", before any result"
    say(f"plan {wanted.name} was locked on {found.at}{late}", markup=False)
    for known in found.results:
        say(f"  there was {known}", markup=False)
    for change in found.changes:
        say(f"  {change.part} {change.key}: {change.locked} -> {change.now}", markup=False)
    if not found.changes:
        say("nothing was changed after the lock")


def _content(plan: str, code: str | None, *, absent: bool = False) -> tuple[Any, Any]:
    """The plan and what a lock of it holds; what the plan names is read, nothing is built."""
    from finchaos.cli.assemble import find_plan, find_policies, find_scenarios
    from governance.plan_files import held_files
    from governance.signoff.plan_content import content_of

    wanted, beside = find_plan(plan)
    policy, also = find_policies(wanted, beside)
    scenarios = find_scenarios(wanted, beside)
    files = held_files(wanted, beside, absent=absent)
    return wanted, content_of(wanted, policy, scenarios, code, also=also, files=files)
