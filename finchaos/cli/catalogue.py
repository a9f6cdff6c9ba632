"""``finchaos checks``, ``scenarios``, ``policies``, ``runs`` and ``schema``: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from finchaos.cli import console
from finchaos.cli.options import DEFAULT_STORE, JsonOption, StoreOption

NameArgument = Annotated[str | None, typer.Argument(help="Show one in full.")]


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.out.print(table)


def _show(record: Any) -> None:
    console.print_json(record.model_dump(mode="json"))


def checks(name: NameArgument = None, json: JsonOption = False) -> None:
    """List the checks with their questions, or one with its card."""
    with console.reported():
        from finchaos.core import registry

        family = "governance.checks"
        names = (name,) if name else registry.names(family)
        cards = [registry.public_class(family, each).card for each in names]
    if name:
        _show(cards[0])
    elif json:
        console.print_json([card.model_dump(mode="json") for card in cards])
    else:
        rows = [(c.name, c.question, ", ".join(m.name for m in c.metrics)) for c in cards]
        _table("checks", ("name", "question", "metrics"), rows)


def scenarios(name: NameArgument = None, json: JsonOption = False) -> None:
    """List the stress scenarios, or one in full."""
    with console.reported():
        from governance.scenario import load_scenario, scenario_names

        found = [load_scenario(each) for each in ((name,) if name else scenario_names())]
    if name:
        _show(found[0])
    elif json:
        console.print_json([item.model_dump(mode="json") for item in found])
    else:
        rows = [(item.name, item.kind, item.title) for item in found]
        _table("stress scenarios", ("name", "kind", "title"), rows)


def policies(
    name: NameArgument = None,
    crosswalk: Annotated[
        bool,
        typer.Option(
            "--crosswalk",
            help="What moved from SR 11-7 to SR 26-2, and its clauses beside those of others.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the policy packs, or one with its rules and clauses."""
    with console.reported():
        from governance.policy import load_crosswalk, load_policy, policy_names

        if crosswalk:
            _print_crosswalk(load_crosswalk(), [load_policy(each) for each in policy_names()])
            return
        found = [load_policy(each) for each in ((name,) if name else policy_names())]
    if name or json:
        pages = [
            {
                **policy.document.model_dump(mode="json", exclude={"rules"}),
                "digest": policy.digest,
                "rules": {key: rule.model_dump(mode="json") for key, rule in policy.rules.items()},
            }
            for policy in found
        ]
        console.print_json(pages[0] if name else pages)
        return
    listed = [
        (
            p.document.name,
            p.document.version,
            p.document.status,
            f"{len(p.rules)} rules, {len(p.document.clauses)} clauses",
            p.document.title,
        )
        for p in found
    ]
    _table("policies", ("name", "version", "status", "content", "title"), listed)


def _print_crosswalk(moved: Any, packs: Sequence[Any]) -> None:
    """What moved, then every clause of the newer guidance beside its counterparts."""
    rows = [(item.topic, item.was, item.now) for item in moved.topics]
    _table(f"{moved.old} to {moved.new}", ("topic", "was", "now"), rows)
    newer = next(pack.document for pack in packs if pack.document.name == moved.new)
    others = sorted(
        pack.document.name
        for pack in packs
        if pack.document.clauses and pack.document.name != newer.name
    )
    lines = [
        (
            clause.id,
            *(
                ", ".join(
                    link.split(":", 1)[1] for link in clause.maps_to if link.startswith(f"{name}:")
                )
                for name in others
            ),
        )
        for clause in newer.clauses
    ]
    _table("clauses that correspond", (newer.name, *others), lines)


def runs(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """List the sealed runs of a store."""
    with console.reported():
        from governance.store import Store

        home = Store(store)
        found = [home.load(each).run for each in home.digests()]
    rows = [
        {
            "run": run.digest,
            "subject": f"{run.subject.card['name']} {run.subject.card['version']}",
            "policy": run.policy.name,
            "gate": run.gate,
        }
        for run in found
    ]
    if json:
        console.print_json(rows)
    else:
        _table("runs", ("run", "subject", "policy", "gate"), [tuple(r.values()) for r in rows])


def schema(
    document: Annotated[str, typer.Argument(help="run, plan, policy or scenario.")] = "run",
) -> None:
    """Print the JSON Schema of a document, for editors and other programs."""
    with console.reported():
        console.print_json(_schema(document))


def _schema(document: str) -> dict[str, Any]:
    from pydantic import BaseModel

    from finchaos.core.errors import UnknownNameError
    from governance.plan import Plan
    from governance.record import Run
    from governance.rules import PolicyDocument
    from governance.scenario import Scenario

    models: dict[str, type[BaseModel]] = {
        "run": Run,
        "plan": Plan,
        "policy": PolicyDocument,
        "scenario": Scenario,
    }
    if document not in models:
        raise UnknownNameError(
            f"no document called {document!r}", expected=f"one of {', '.join(models)}"
        )
    return models[document].model_json_schema()
