"""The instrument counts exactly what is planted and never stops at it."""

from __future__ import annotations

import pytest

from finchaos.core.bars import Bars
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.signal_integrity import SignalIntegrity
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted import breaches
from tests.planted.defects import named, planted
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import context_of, measure

CHECK = SignalIntegrity(histories=3)
CHANGES = (
    "changed_inputs", "changed_digests", "network_attempts", "started_processes", "processes_left"
)  # fmt: skip
METRICS = {spec.name for spec in SignalIntegrity.card.metrics}


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(5, 720)


@pytest.fixture
def context(bars: Bars) -> Context:
    return context_of(bars)


def test_quiet_on_a_sound_subject_and_repeatable(context: Context) -> None:
    found = measure(CHECK, VolatilityRegime(), context)
    assert {e.metric: e.value for e in found} == dict.fromkeys(METRICS, 0.0)
    assert found.digests == measure(CHECK, VolatilityRegime(), context).digests
    assert found.find("nonfinite_positions").n == 720 + 612 + 505


@pytest.mark.parametrize(
    ("subject", "metric", "count"),
    [
        (planted("nan_position"), "nonfinite_positions", 3),
        (planted("rows_missing"), "misplaced_rows", 6),
        (planted("stamped_late"), "misplaced_rows", 3),
        (planted("beyond_limits"), "positions_beyond_limits", 3),
        (planted("cold_start"), "positions_in_warmup", 3),
        (planted("impossible_probability"), "invalid_probabilities", 3),
        (breaches.NanProbability(), "invalid_probabilities", 3),
        (breaches.ImpossibleForecast(), "invalid_forecasts", 6),
        (breaches.NegativeRegime(), "negative_regimes", 3),
        (breaches.NanLatents(), "nonfinite_latents", 3),
        (planted("held_while_tripped"), "positions_while_tripped", 3),
        (breaches.NoLatents(), "missing_fields", 1),
        (breaches.LatentsSometimes(), "unstable_fields", 1),
        (planted("changes_its_input"), "changed_inputs", 3),
        (breaches.BreaksBars(), "changed_inputs", 3),
        (breaches.ChangesItself(), "changed_digests", 3),
        (planted("fails_when_long"), "failed_calls", 1),
    ],
    ids=named,
)
def test_loud_on_one_breach_and_on_nothing_else(
    context: Context, subject: Subject, metric: str, count: int
) -> None:
    found = measure(CHECK, subject, context)
    also = {"missing_fields"} if metric == "unstable_fields" else set()
    assert found.value(metric) == count
    assert {e.metric for e in found if e.value} == {metric, *also}
    assert all(e.status == "measured" for e in found)


@pytest.mark.parametrize(
    ("subject", "calls", "reason"),
    [
        (breaches.Raises(), 3, "ZeroDivisionError: planted"),
        (breaches.FailsToFit(), 1, "fit failed: ValueError: planted"),
        (planted("no_signals"), 3, "returned ndarray"),
    ],
)
def test_a_model_that_never_answers_is_counted_and_the_rest_unmeasured(
    context: Context, subject: Subject, calls: int, reason: str
) -> None:
    found = measure(CHECK, subject, context)
    assert found.value("failed_calls") == calls
    rest = [e for e in found if e.metric not in ("failed_calls", *CHANGES)]
    assert {(e.status, e.reason) for e in rest} == {("errored", reason)}
    assert {e.metric for e in found} == METRICS


def test_the_sample_itself_is_never_given_away(bars: Bars) -> None:
    before = bars.rows().digest
    measure(CHECK, planted("changes_its_input"), context_of(bars))
    assert bars.rows().digest == before
