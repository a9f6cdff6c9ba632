"""What has changed since the last full validation, in parts, decisions and figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finchaos.cli.assemble import find_earlier
from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, IntegrityError
from finchaos.core.subject import Subject
from governance.check import Context, Skip
from governance.checks.change import Change
from governance.earlier import Earlier, require_same_model
from governance.harness import Materials, validate
from governance.plan import DataPlan, FoldPlan, Plan, SubjectPlan
from governance.policy import load_policy
from governance.splits import anchored_folds
from governance.store import Store, StoredRun
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted, memoryless_bars

ROWS = 900
BARS = memoryless_bars(8, ROWS, mean=0.0005)
PLAN = Plan(
    name="changing",
    subject=SubjectPlan(adapter="function"),
    data=DataPlan(source="x"),
    folds=FoldPlan(count=2, first_test=400 / ROWS, gap_bars=3),
    checks={"walk_forward": {"draws": 200}, "change": {}},
)


def holding(*changes: tuple[int, int, float]) -> Scripted:
    """Half of capital on and off every ten bars, but for some stretches."""
    position = np.tile(np.repeat([0.0, 0.5], 10), ROWS // 20)
    for first, last, value in changes:
        position[first:last] = value
    return Scripted(position)


def sealed(
    subject: Subject, store: Path, earlier: Earlier | None = None, bars: Bars = BARS
) -> StoredRun:
    materials = Materials(
        subject, bars, load_policy("baseline"), {}, (), earlier=earlier
    )  # fmt: skip
    return validate(PLAN, materials, Store(store))


def of(stored: StoredRun) -> Earlier:
    return Earlier(stored.run, stored.exhibits)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return sealed(holding(), tmp_path_factory.mktemp("first"))


def against(earlier: Earlier, subject: Subject, bars: Bars = BARS) -> Measured:
    folds = anchored_folds(len(bars), first_test=400, count=2, gap=3)
    return measure(Change(), subject, Context(bars=bars, folds=folds, seed=7, earlier=earlier))


def failed(found: Measured) -> set[str]:
    findings = load_policy("baseline").judge(found.evidence).findings
    return {one.rule for one in findings if one.verdict == "fail"}


def test_the_same_model_has_not_changed(first: StoredRun) -> None:
    found = against(of(first), holding())
    for metric in ("changed_parts", "position_change", "cumulative_change", "bars_added"):
        assert found.value(metric) == 0.0
    assert found.value("figure_move", figure="sharpe") == pytest.approx(0.0, abs=1e-12)
    assert not failed(found)


def test_another_model_is_found_by_what_it_decides(first: StoredRun) -> None:
    bold = Scripted(np.full(ROWS, 1.0))
    found = against(of(first), bold)
    assert found.value("position_change") == pytest.approx(0.75)
    assert found.value("figure_move", figure="annual_volatility") > 1.0
    assert failed(found) == {"change.cumulative", "change.figures"}
    (table,) = found.exhibits
    changed = dict(zip(table.columns[0].values, table.columns[3].values, strict=True))
    assert changed["model as delivered"] == "yes"
    assert changed["bars"] == changed["the toolkit's code"] == "no"


def test_many_small_changes_add_up_until_a_full_validation(
    first: StoredRun, tmp_path: Path
) -> None:
    earlier, total = of(first), 0.0
    for step in range(1, 4):
        subject = holding((500, 500 + 50 * step, 1.0))
        found = against(earlier, subject)
        total += found.value("position_change")
        assert found.value("position_change") < 0.1
        assert found.value("cumulative_change") == pytest.approx(total)
        earlier = of(sealed(subject, tmp_path / str(step), earlier))
    assert total > 0.1
    assert "change.cumulative" in failed(found)
    # Validated beside nothing, it begins anew.
    anew = of(sealed(subject, tmp_path / "anew"))
    assert against(anew, subject).value("cumulative_change") == 0.0


def test_only_bars_that_both_have_are_compared(first: StoredRun) -> None:
    longer = memoryless_bars(8, 1200, mean=0.0005)
    assert (longer.close[:ROWS] == BARS.close).all()
    script = np.concatenate([holding().position, np.full(300, 1.0)])
    folds = anchored_folds(1200, first_test=400, count=3, gap=3)
    values = []
    for bars in (longer, _with_another_future(longer)):
        context = Context(bars=bars, folds=folds, seed=7, earlier=of(first))
        found = measure(Change(), Scripted(script), context)
        assert found.value("position_change") == 0.0
        assert found.value("bars_added") == pytest.approx(300 / 800)
        values.append(found.find("position_change").n)
    assert values == [500, 500]
    apart = replace(BARS, index=BARS.index.shift(20 * 365, freq="D"))
    none = against(of(first), holding(), apart)
    assert "no out-of-sample bar in common" in none.find("position_change").reason


def _with_another_future(bars: Bars) -> Bars:
    close = bars.close.copy()
    close[ROWS:] *= 2.0
    return replace(bars, open=close, high=close, low=close, close=close)


def test_an_earlier_run_without_decisions_says_so(tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"checks": {"signal_integrity": {}}})
    materials = Materials(holding(), BARS, load_policy("baseline"), {}, ())
    bare = of(validate(plan, materials, Store(tmp_path)))
    found = against(bare, holding())
    assert "walk_forward was not part" in found.find("cumulative_change").reason
    assert "no interval" in found.find("figure_move", figure="sharpe").reason
    alone = Context(bars=BARS, folds=anchored_folds(ROWS, first_test=400, count=2, gap=3), seed=7)
    with pytest.raises(Skip, match="names no earlier run"):
        measure(Change(), holding(), alone)


def test_the_plan_names_the_earlier_run_by_its_folder(first: StoredRun, tmp_path: Path) -> None:
    named = PLAN.model_copy(update={"since": str(first.folder)})
    found = find_earlier(named, tmp_path)
    assert found is not None
    assert found.digest == first.run.digest
    assert find_earlier(PLAN, tmp_path) is None
    stored = sealed(holding(), tmp_path / "second", found)
    (reference,) = (one for one in stored.run.inputs if one.role == "reference")
    assert reference.digest == first.run.digest
    with pytest.raises(DataError, match="not the folder of a run"):
        find_earlier(PLAN.model_copy(update={"since": "nowhere"}), tmp_path)
    in_short = PLAN.model_copy(update={"since": str(first.folder)[:-50]})
    assert find_earlier(in_short, tmp_path).digest == found.digest
    require_same_model(found, "planted")
    with pytest.raises(DataError, match="of another model"):
        require_same_model(found, "renamed")
    copy = tmp_path / "damaged" / first.run.digest
    copy.mkdir(parents=True)
    (copy / "run.json").write_bytes(first.run.to_json().replace(b"changing", b"charming"))
    with pytest.raises(IntegrityError):
        find_earlier(PLAN.model_copy(update={"since": str(copy)}), tmp_path)
