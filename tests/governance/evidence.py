"""Small hand-made records for tests of judging, storing and rendering."""

from __future__ import annotations

from typing import Any

from finchaos.core.subject import ModelCard
from governance.record import (
    CheckCard,
    Column,
    Environment,
    Evidence,
    Exhibit,
    ExhibitRef,
    InputRef,
    Interval,
    MetricSpec,
    PolicyRef,
    Residual,
    Run,
    SubjectRef,
    Window,
)

WINDOW = Window(start="2010-01-04T21:00:00+00:00", end="2012-01-03T21:00:00+00:00")


def evidence(
    value: float | None,
    *,
    check: str = "walk_forward",
    metric: str = "sharpe",
    interval: tuple[float, float] | None = None,
    residual: float | None = None,
    **where: str,
) -> Evidence:
    """Evidence with this value; None makes it skipped."""
    return Evidence(
        check=check,
        check_version=1,
        params={},
        metric=metric,
        unit="ratio",
        status="skipped" if value is None else "measured",
        reason="not available" if value is None else "",
        value=value,
        interval=None
        if interval is None
        else Interval(low=interval[0], high=interval[1], level=0.95, method="given"),
        n=0 if value is None else 100,
        window=WINDOW,
        slice=where,
        self_check=None if residual is None else Residual(what="r", value=residual, tolerance=1e-6),
    )


CARD = CheckCard(
    name="walk_forward",
    version=1,
    title="Walk-forward",
    question="Does it hold out of sample?",
    pillar="outcomes_analysis",
    method="Anchored folds.",
    limitations=("One market.",),
    metrics=(MetricSpec(name="sharpe", unit="ratio", better="higher", meaning="Sharpe ratio"),),
)
EXHIBIT = Exhibit(
    check="walk_forward",
    name="equity",
    title="Equity",
    kind="line",
    columns=(Column(name="bar", values=(0.0, 1.0)), Column(name="equity", values=(1.0, 1.1))),
)


def small_run(seed: int = 7, **changes: Any) -> Run:
    """A complete Run with one piece of evidence."""
    found = evidence(0.5)
    fields: dict[str, Any] = {
        "plan": {"name": "small", "formats": ["json"]},
        "subject": SubjectRef(
            card=ModelCard(name="m", version="1").as_json(), digest="0" * 64, capabilities=()
        ),
        "inputs": (InputRef(role="bars", name="X", digest="1" * 64),),
        "policy": PolicyRef(
            name="p", version="1.0.0", title="P", status="active", source="s", digest="2" * 64
        ),
        "environment": Environment(
            finchaos="0", python="3", commit="", packages={}, backend="numpy", seed=seed
        ),
        "cards": (CARD,),
        "evidence": (found,),
        "exhibits": (ExhibitRef(check="walk_forward", name="equity", digest=EXHIBIT.digest),),
        "findings": (),
        "coverage": (),
        "gate": "open",
        "gate_reasons": (),
        "inconclusive": False,
    }
    return Run(**{**fields, **changes})
