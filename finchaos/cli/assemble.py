"""From the names in a plan to what they stand for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.documents import parse_yaml, validate_document
from finchaos.core.errors import CheckpointError, DataError, UnknownNameError
from finchaos.core.provenance import digest
from finchaos.core.subject import Capability, Subject
from governance.earlier import Earlier, require_same_model
from governance.environment import code_digest, machine
from governance.harness import Materials
from governance.plan import DataPlan, Plan, SubjectPlan, read_plan
from governance.plan_files import earlier_folder
from governance.policy import Policy, load_policy
from governance.scenario import Scenario, load_scenarios
from governance.store import Store
from governance.trials import Trials, read_trials

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


def find_challengers(plan: Plan) -> dict[str, Subject]:
    """The plan's challengers by name, untrained."""
    family = "governance.challengers"
    return {name: registry.public_class(family, name)() for name in plan.challengers}


def find_trials(plan: Plan, beside: Path) -> Trials | None:
    """What the plan says was tried before; None if it says nothing."""
    named = plan.trials
    if named is None:
        return None
    return read_trials(
        beside / named.record,
        study=named.study,
        sharpe_scores=named.sharpe_scores,
        returns=None if named.returns is None else beside / named.returns,
    )


def find_earlier(plan: Plan, beside: Path) -> Earlier | None:
    """The run that the plan names as the last full validation, verified; None if it names none."""
    if plan.since is None:
        return None
    folder = earlier_folder(plan.since, beside)
    stored = Store(folder.parent).load(folder.name)
    return Earlier(stored.run, stored.exhibits)


def find_policies(plan: Plan, beside: Path) -> tuple[Policy, tuple[Policy, ...]]:
    """The pack that judges and those shown beside it, the plan's checks deep enough for it."""
    policy = load_policy(plan.policy, beside=beside)
    depth = policy.depth(policy.derive(plan.materiality, "high"))  # whatever the card declares
    plan.make_checks(depth.checks if depth is not None else None)
    return policy, tuple(load_policy(name, beside=beside) for name in plan.also)


def find_scenarios(plan: Plan, beside: Path) -> tuple[Scenario, ...]:
    """The plan's scenarios."""
    return load_scenarios(plan.scenarios, beside=beside)


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
    first, last = (None if day is None else day.isoformat() for day in (plan.start, plan.end))
    chosen = bars.between(first, last)
    if not len(chosen):
        raise DataError(
            "no bar lies between data.start and data.end",
            expected=f"dates between {bars.index[0].date()} and {bars.index[-1].date()}",
            got=f"{first} to {last}",
        )
    return chosen


def build_subject(
    plan: SubjectPlan,
    beside: Path,
    *,
    seed: int,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Subject:
    """The model of a plan, built, loaded or adapted.

    Parameters
    ----------
    plan : SubjectPlan
    beside : Path
        Folder that relative paths start from.
    seed : int
    progress : callable, optional
    cache : Path, optional
        Folder where a built model is kept, so that the same one is not built again.
    """
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
    if cache is None:
        built: Subject = home.build(plan.params, seed=seed, progress=progress)
        return built
    return _built_once(home, plan, seed, progress, cache)


def _built_once(
    home: Any, plan: SubjectPlan, seed: int, progress: Progress | None, cache: Path
) -> Subject:
    """The model from the cache if the same code has built it there, else built and kept."""
    made_by = {"code": code_digest(), "machine": machine()}
    place = cache / digest({**plan.model_dump(mode="json"), "seed": seed, **made_by})
    if place.is_dir():
        try:
            kept: Subject = home.load(place)
            return kept
        except CheckpointError:
            shutil.rmtree(place)
    subject: Any = home.build(plan.params, seed=seed, progress=progress)
    if Capability.PERSISTENCE in subject.capabilities:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=cache) as folder:
            subject.save(Path(folder) / "model")
            if not place.exists():
                (Path(folder) / "model").rename(place)
    made: Subject = subject
    return made


def gather(
    plan: Plan, beside: Path, progress: Progress | None = None, cache: Path | None = None
) -> Materials:
    """Load everything a plan names; cheap things first, so that mistakes surface early."""
    policy, also = find_policies(plan, beside)
    for name in plan.formats:
        registry.module("reports.formats", name)
    scenarios = find_scenarios(plan, beside)
    challengers, trials = find_challengers(plan), find_trials(plan, beside)
    earlier = find_earlier(plan, beside)
    bars = load_data(plan.data, beside)
    plan.make_folds(bars)
    subject = build_subject(plan.subject, beside, seed=plan.seed, progress=progress, cache=cache)
    if earlier is not None:
        require_same_model(earlier, subject.card.name)
    return Materials(subject, bars, policy, challengers, scenarios, trials, earlier, also)
