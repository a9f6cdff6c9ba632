from dataclasses import dataclass
from typing import ClassVar

import pytest

from finchaos.core.subject import Capability
from governance.check import Context, Skip, measured
from governance.harness import measure
from governance.record import CheckCard, MetricSpec
from governance.splits import anchored_folds
from tests.planted.markets import regime_switching_bars
from tests.planted.volatility_regime import VolatilityRegime


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


def test_a_fit_is_not_repeated_and_sees_training_rows_only(context):
    subject = VolatilityRegime()
    fold = context.folds[0]
    assert context.trained(subject, fold) is context.trained(subject, fold)
    assert context.trained(subject, fold).digest == subject.fit(
        context.bars.rows(0, fold.train_end), seed=context.seed
    ).digest
    assert len(context.test_signals(subject, fold)) == fold.test_end - fold.test_start
