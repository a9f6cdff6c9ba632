"""The appendix: what the numbers depend on, by digest, and how to repeat them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from governance.record import InputRef, Run, Scalar
from reports.registration import lock_changes
from reports.tables import Cell, Head, Table, words
from reports.validator import validator_tables

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Gate open", "No finding fails or warns; every required measurement was made."),
    ("Gate conditional", "Weaknesses were found, none of which closes the gate by itself."),
    ("Gate closed", "At least one finding blocks use of the model."),
    ("Inconclusive", "The gate is closed only by what could not be assessed."),
    ("Pass", "The observed value satisfies the limit of the rule."),
    ("Warn", "The observed value breaches a limit whose breach is recorded but does not fail."),
    ("Fail", "The observed value breaches the limit of the rule."),
    ("Not assessed", "There was no usable measurement to judge. This never counts as a pass."),
    ("Measured", "A value was computed from at least one observation."),
    ("Skipped", "The check had a stated reason not to measure, such as an absent capability."),
    ("Errored", "The measurement was tried and did not yield a usable value."),
    ("Evidenced", "Rules that cover the whole clause were all assessed."),
    ("Partly evidenced", "Part of the clause was assessed."),
    ("Not evidenced", "No rule that serves the clause could be assessed, or none exists."),
    ("Severity", "Weight the policy gives a rule: critical, high, moderate or low."),
    ("Digest", "SHA-256 over canonical JSON (RFC 8785), or over the bytes of data."),
)


SHORT_DIGEST = 12
_CARD_ORDER = (
    "name", "version", "purpose", "intended_use", "prohibited_use", "materiality", "owner",
    "developer", "limitations", "min_position", "max_position", "warmup_bars", "feature_names",
)  # fmt: skip
_PLAN_ORDER = (
    "name",
    "seed",
    "policy",
    "also",
    "materiality",
    "subject",
    "data",
    "folds",
    "trading",
)


def appendix_tables(run: Run) -> tuple[Table, ...]:
    """Digests, inputs, scenarios where there are any, model card, environment and packages."""
    changed = lock_changes(run)
    return (
        _digests(run),
        _inputs(run),
        *_scenarios(run),
        *((changed,) if changed is not None else ()),
        _model(run),
        _environment(run),
        *validator_tables(run),
    )


def _pairs(title: str, rows: list[tuple[str, str]]) -> Table:
    body = tuple((Cell(name), Cell(value)) for name, value in rows)
    return Table(title, (Head("Item"), Head("Value")), body)


def _digests(run: Run) -> Table:
    return _pairs(
        "Digests (SHA-256)",
        [
            ("Run", run.digest),
            ("Subject", run.subject.digest),
            ("Policy", run.policy.digest),
            *((f"Guidance {item.policy.name}", item.policy.digest) for item in run.also),
            *(
                (("Lock of the plan", run.lock.digest), ("Its audit entry", run.lock.entry))
                if run.lock is not None
                else ()
            ),
            *((f"{words(item.role)}: {item.name}", item.digest) for item in run.inputs),
            *((f"Exhibit: {item.check}/{item.name}", item.digest) for item in run.exhibits),
        ],
    )


def _inputs(run: Run) -> Table:
    rows = tuple(
        (Cell(words(item.role)), Cell(item.name), Cell(_details(item.detail)))
        for item in run.inputs
        if item.role != "scenario"
    )
    return Table("Inputs", (Head("Role"), Head("Name"), Head("Detail")), rows)


def _scenarios(run: Run) -> tuple[Table, ...]:
    """Where every stress scenario comes from; nothing if the run had none."""
    rows = tuple(
        (
            Cell(item.name),
            Cell(_of(item, "kind")),
            Cell(" to ".join(filter(None, (_of(item, "first"), _of(item, "last"))))),
            Cell(_of(item, "rows")),
            Cell(_of(item, "source")),
            Cell(_of(item, "licence")),
            Cell(_of(item, "origin")),
            Cell(item.digest[:SHORT_DIGEST], exact=item.digest),
        )
        for item in run.inputs
        if item.role == "scenario"
    )
    heads = ("Scenario", "Kind", "Days", "Rows", "Source of returns", "Terms", "Brought by")
    digest_head = f"SHA-256, first {SHORT_DIGEST} digits"
    notes = (
        "Replay: recorded returns. Reconstructed: a path between documented facts. Digests cover "
        "definition, window and facts; they stand in full above.",
    )
    if not rows:
        return ()
    return (Table("Stress scenarios", (*map(Head, heads), Head(digest_head)), rows, notes),)


def _of(item: InputRef, key: str) -> str:
    value = item.detail.get(key)
    return "not recorded" if value in (None, "") else _said(value)


def _details(detail: Mapping[str, Scalar]) -> str:
    shown = [(key, value) for key, value in detail.items() if value not in (None, "")]
    return "; ".join(f"{key.replace('_', ' ')}: {_said(value)}" for key, value in shown)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        items = [str(item) for item in value]
        sentences = any(item.endswith(".") for item in items)
        return (" " if sentences else ", ").join(items) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _ordered(items: Mapping[str, Any], first: tuple[str, ...]) -> dict[str, Any]:
    """The same items, those named first in front; canonical JSON sorts by name."""
    names = [*(name for name in first if name in items), *(k for k in items if k not in first)]
    return {name: items[name] for name in names}


def _model(run: Run) -> Table:
    card = run.subject.card
    rows = [
        (words(key), _said(value) or "undeclared")
        for key, value in _ordered(card, _CARD_ORDER).items()
    ]
    rows.append(("Capabilities", ", ".join(run.subject.capabilities) or "none"))
    return _pairs("Model card, as declared by the developer", rows)


def _environment(run: Run) -> Table:
    environment = run.environment
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    return _pairs(
        "Environment",
        [
            ("finchaos", environment.finchaos),
            ("Python", environment.python),
            ("Commit", environment.commit or "installed from a wheel"),
            ("Backend", environment.backend),
            ("Seed", str(environment.seed)),
            ("Packages", packages or "none recorded"),
            ("Schema version of the record", str(run.schema_version)),
            (
                "Policy",
                f"{run.policy.name} {run.policy.version} ({run.policy.status}). {run.policy.title}."
                f" {run.policy.source}",
            ),
        ],
    )


def plan_text(run: Run) -> str:
    """The plan as run, as YAML that ``finchaos validate`` reads."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.width = 88
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    writer.dump(_ordered(run.plan, _PLAN_ORDER), text)
    return text.getvalue()
