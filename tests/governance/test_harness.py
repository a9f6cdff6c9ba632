from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from finchaos.core.subject import Capability
from governance import environment, harness
from governance.challengers.buy_and_hold import BuyAndHold
from governance.check import Context, Skip, measured
from governance.harness import Materials
from governance.measuring import measure
from governance.plan import DataPlan, FoldPlan, Plan, SubjectPlan, TradingPlan
from governance.policy import load_policy
from governance.record import CheckCard, MetricSpec
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.store import Store
from tests.planted.markets import regime_switching_bars


def card(*requires: str) -> CheckCard:
    return CheckCard(
        name="trial",
        version=1,
        title="Trial",
        question="?",
        pillar="outcomes_analysis",
        method="m",
        limitations=("l",),
        requires=requires,
        metrics=tuple(
            MetricSpec(name=n, unit="count", better="none", meaning=n) for n in ("first", "second")
        ),
    )


@dataclass(frozen=True)
class Trial:
    """Yields one metric and then does what it is told."""

    then: str = ""
    card: ClassVar[CheckCard] = card()

    def measure(self, subject, context):
        yield measured(self, "first", 1.0, n=1, window=context.out_of_sample_window)
        if self.then == "skip":
            raise Skip("there is no second")
        if self.then == "raise":
            raise ZeroDivisionError("oops")
        if self.then == "exit":
            raise SystemExit(0)
        if self.then == "twice":
            yield measured(self, "first", 2.0, n=1, window=context.out_of_sample_window)
        if self.then == "nan":
            yield measured(self, "second", float("nan"), n=1, window=context.out_of_sample_window)
        else:
            yield measured(self, "second", 2.0, n=1, window=context.out_of_sample_window)


@pytest.fixture(scope="module")
def context():
    bars = regime_switching_bars(1, n=300)
    return Context(bars=bars, folds=anchored_folds(300, first_test=200, count=2, gap=5), seed=1)


@pytest.mark.parametrize(
    ("then", "status", "reason"),
    [
        ("", "measured", ""),
        ("skip", "skipped", "there is no second"),
        ("raise", "errored", "ZeroDivisionError: oops"),
        ("nan", "errored", "nan"),
        ("exit", "errored", "SystemExit"),
        ("twice", "errored", "measured first twice"),
    ],
)
def test_what_was_not_measured_is_recorded_and_the_rest_is_kept(context, then, status, reason):
    found = measure(Trial(then), VolatilityRegime(), context)
    first, second = found.evidence
    assert (first.metric, first.value) == ("first", 1.0)
    assert (second.metric, second.status) == ("second", status)
    assert reason in second.reason
    assert first.params == {"then": then}


def test_a_missing_capability_skips_every_metric(context):
    class Needy(Trial):
        card = card(str(Capability.GRADIENTS))

    found = measure(Needy(), VolatilityRegime(), context)
    assert [item.status for item in found.evidence] == ["skipped", "skipped"]
    assert "gradients" in found.evidence[0].reason


def test_context_streams_depend_on_seed_and_name_only(context):
    assert context.rng("a").random() == context.rng("a").random()
    assert context.rng("a").random() != context.rng("b").random()


def test_the_whole_test_period_says_that_every_fold_had_its_own_model(context):
    whole = context.out_of_sample_window
    assert whole.refitted
    assert whole.start < whole.trained_until
    for fold in context.folds:
        window = context.test_window(fold)
        assert not window.refitted
        assert window.trained_until < window.start


def test_a_fit_is_not_repeated_and_sees_training_rows_only(context):
    subject = VolatilityRegime()
    fold = context.folds[0]
    assert context.trained(subject, fold) is context.trained(subject, fold)
    assert (
        context.trained(subject, fold).digest
        == subject.fit(context.bars.rows(0, fold.train_end), seed=context.seed).digest
    )
    assert len(context.test_signals(subject, fold)) == fold.test_end - fold.test_start


@pytest.fixture
def prepared(context):
    plan = Plan(
        name="p",
        subject=SubjectPlan(adapter="function"),
        data=DataPlan(source="x"),
        folds=FoldPlan(count=2, first_test=0.6, gap_bars=5),
        checks={"signal_integrity": {}},
    )
    materials = Materials(
        subject=VolatilityRegime(),
        bars=context.bars,
        policy=load_policy("baseline"),
        challengers={},
        scenarios=(),
    )
    return plan, materials


def count_measurements(monkeypatch):
    done = []

    def counted(check, subject, context):
        done.append(check.card.name)
        return measure(check, subject, context)

    monkeypatch.setattr(harness, "measure", counted)
    return done


def test_an_interrupted_validation_goes_on_where_it_stopped(prepared, tmp_path, monkeypatch):
    plan, materials = prepared
    plan = plan.model_copy(update={"checks": {"signal_integrity": {}, "data_quality": {}}})
    store = Store(tmp_path)

    def stop(stage, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harness.validate(plan, materials, store, stop)
    assert store.digests() == ()
    done = count_measurements(monkeypatch)
    resumed = harness.validate(plan, materials, store)
    assert done == ["signal_integrity"]  # data_quality had been measured before the stop
    fresh = harness.validate(plan, materials, Store(tmp_path / "fresh"))
    assert resumed.run.digest == fresh.run.digest
    again = harness.validate(plan, materials, store, fresh=True)
    assert again.run.digest == resumed.run.digest
    assert len(done) == 5


def change_bars(plan, materials):
    return plan, replace(materials, bars=regime_switching_bars(2, n=300))


def change_subject(plan, materials):
    return plan, replace(materials, subject=VolatilityRegime(decay=0.9))


def change_card(plan, materials):
    card = replace(materials.subject.card, max_position=2.0)
    return plan, replace(materials, subject=replace(materials.subject, card=card))


def change_costs(plan, materials):
    return plan.model_copy(update={"trading": TradingPlan(cost_bps=1)}), materials


def change_folds(plan, materials):
    return plan.model_copy(update={"folds": FoldPlan(count=3, first_test=0.6)}), materials


def change_seed(plan, materials):
    return plan.model_copy(update={"seed": 99}), materials


def change_parameters(plan, materials):
    return plan.model_copy(update={"checks": {"signal_integrity": {"histories": 2}}}), materials


def change_challengers(plan, materials):
    return plan, replace(materials, challengers={"buy_and_hold": BuyAndHold()})


@pytest.mark.parametrize(
    "change",
    [
        change_bars,
        change_subject,
        change_card,
        change_costs,
        change_folds,
        change_seed,
        change_parameters,
        change_challengers,
    ],
)
def test_another_input_is_measured_anew(prepared, tmp_path, monkeypatch, change):
    store = Store(tmp_path)
    first = harness.validate(*prepared, store)
    done = count_measurements(monkeypatch)
    assert harness.validate(*prepared, store).run.digest == first.run.digest
    assert done == []
    second = harness.validate(*change(*prepared), store)
    assert done == ["signal_integrity"]
    assert second.run.digest != first.run.digest


def test_an_error_is_not_remembered(prepared, tmp_path, monkeypatch):
    plan, materials = prepared
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(VolatilityRegime, "fit", lambda *a, **k: 1 / 0)
        broken = harness.validate(plan, materials, store)
    assert broken.run.gate == "closed"
    mended = harness.validate(plan, materials, store)
    assert all(item.status == "measured" for item in mended.run.evidence if item.metric != "x")


def test_changed_code_is_another_environment(tmp_path, monkeypatch):
    home = tmp_path / "toolkit_under_test"
    home.mkdir()
    (home / "__init__.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(environment, "OWN_PACKAGES", ("toolkit_under_test",))
    before = environment.code_digest()
    assert environment.code_digest() == before
    (home / "__init__.py").write_text("A = 2\n")
    changed = environment.code_digest()
    (home / "data.yaml").write_text("a: 1\n")
    assert len({before, changed, environment.code_digest()}) == 3
