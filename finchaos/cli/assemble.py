"""From the names in a plan to what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.documents import parse_yaml, validate_document
from finchaos.core.errors import UnknownNameError
from finchaos.core.subject import Subject
from governance.harness import Materials
from governance.plan import DataPlan, Plan, SubjectPlan, read_plan
from governance.policy import load_policy
from governance.scenario import load_scenario, scenario_names

Progress = Callable[[str, int, int], None]


def plan_template() -> str:
    """The commented demonstration plan."""
    return files("finchaos.cli").joinpath("plans", "demo.yaml").read_text(encoding="utf-8")


def find_plan(name: str) -> tuple[Plan, Path]:
    """The plan called ``demo``, or the one in a file, and the folder its paths start from.

    Raises
    ------
    UnknownNameError, DocumentError
        If there is no such file or it is not a plan.
    """
    if name == "demo":
        return validate_document(parse_yaml(plan_template(), "demo"), Plan, "demo"), Path.cwd()
    path = Path(name)
    if not path.is_file():
        raise UnknownNameError(
            f"no plan {name!r}",
            expected="'demo' or the path of a YAML file",
            remedy="write one with 'finchaos init'",
        )
    return read_plan(path), path.resolve().parent


def load_data(plan: DataPlan, beside: Path) -> Bars:
    """The bars of a plan."""
    from finchaos.markets import BUILTIN_NAMES, load_bars, load_builtin

    if plan.source in BUILTIN_NAMES:
        bars = load_builtin(plan.source)
    else:
        options: dict[str, Any] = {}
        if plan.bars_per_year is not None:
            options["bars_per_year"] = plan.bars_per_year
        bars = load_bars(beside / plan.source, symbol=plan.symbol, **options)
    return bars.between(plan.start, plan.end)


def build_subject(
    plan: SubjectPlan, beside: Path, *, seed: int, progress: Progress | None = None
) -> Subject:
    """The model of a plan, built, loaded or adapted."""
    if plan.adapter is not None:
        home = registry.module("governance.adapters", plan.adapter)
        params = dict(plan.params)
        if isinstance(params.get("path"), str):
            params["path"] = str(beside / params["path"])
        adapted: Subject = home.build(params, seed=seed)
        return adapted
    home = registry.module("finchaos.subjects", plan.model or "")
    if plan.checkpoint is not None:
        loaded: Subject = home.load(beside / plan.checkpoint)
        return loaded
    built: Subject = home.build(plan.params, seed=seed, progress=progress)
    return built


def gather(plan: Plan, beside: Path, progress: Progress | None = None) -> Materials:
    """Load everything a plan names; cheap things first, so that mistakes surface early."""
    plan.make_checks()
    policy = load_policy(plan.policy, beside=beside)
    for name in plan.formats:
        registry.module("reports.formats", name)
    names = scenario_names() if plan.scenarios == "all" else plan.scenarios
    scenarios = tuple(load_scenario(name, beside=beside) for name in names)
    challengers = {
        name: registry.public_class("governance.challengers", name)() for name in plan.challengers
    }
    bars = load_data(plan.data, beside)
    plan.make_folds(bars)
    subject = build_subject(plan.subject, beside, seed=plan.seed, progress=progress)
    return Materials(subject, bars, policy, challengers, scenarios)
