"""The instrument is silent on a subject that repeats itself and loud on each that does not."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.subject import Capability, Subject
from governance.check import Context
from governance.checks.reproducibility import Reproducibility
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted import irreproducible
from tests.planted.defects import named, planted
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import context_of, measure

CHECK = Reproducibility(refit_bars=350, stream_bars=120, history_bars=200)
WAYS = ("repeat", "refit", "stream", "reload")


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(5, 700)


@pytest.fixture
def context(bars: Bars) -> Context:
    return context_of(bars)


@pytest.fixture(autouse=True)
def _restore_generators() -> Iterator[None]:
    kept, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    random.setstate(kept)
    np.random.set_state(legacy)  # noqa: NPY002


def _spiked(bars: Bars, row: int) -> Bars:
    """One close doubled for a single bar, which trips the switch."""
    factor = np.where(np.arange(len(bars)) == row, 2.0, 1.0)
    return bars.with_values(None, close=bars.close * factor, high=bars.high * factor)


def test_quiet_on_a_sound_subject_and_repeatable(context: Context) -> None:
    found = measure(CHECK, VolatilityRegime(continuous=True), context)
    assert {e.value for e in found} == {0.0}
    again = measure(CHECK, VolatilityRegime(continuous=True), context)
    assert found.digests == again.digests
    assert found.find("stream_changed_rows").n == 120
    fields = {e.slice["field"] for e in found if e.metric == "stream_max_difference"}
    assert fields == {"position", "stress_probability", "regime", "tripped", "latents"}


@pytest.mark.parametrize("row", [640, 560])
def test_quiet_where_the_switch_trips_and_a_person_rearms(bars: Bars, row: int) -> None:
    context = context_of(_spiked(bars, row))
    subject = VolatilityRegime(rearm_after_bars=20)
    assert context.candidate(subject).signals(context.bars).tripped[row]  # type: ignore[index]
    found = measure(CHECK, subject, context)
    assert {e.value for e in found} == {0.0}
    assert found.find("stream_changed_rows").n == (240 if row == 560 else 120)


@pytest.mark.parametrize(
    ("subject", "loud"),
    [
        (irreproducible.UnseededFit(), {"refit"}),
        (irreproducible.RestlessSignals(), {"repeat", "refit", "reload"}),
        (irreproducible.StreamsDifferently(), {"stream"}),
        (planted("no_warm_up"), {"stream"}),
        (irreproducible.LosesTraining(), {"reload"}),
    ],
    ids=named,
)
def test_loud_on_one_way_and_on_no_other(
    context: Context, subject: Subject, loud: set[str]
) -> None:
    found = measure(CHECK, subject, context)
    measured = [way for way in WAYS if found.find(f"{way}_changed_rows").status == "measured"]
    assert set(WAYS) - set(measured) <= {"reload"} - subject.capabilities
    changed = {way for way in measured if found.value(f"{way}_changed_rows") > 0}
    assert changed == loud
    for way in measured:
        sizes = [e.value or 0.0 for e in found if e.metric == f"{way}_max_difference"]
        assert (max(sizes) > 0) == (way in loud)


def test_digests_tell_training_and_storage_apart(context: Context) -> None:
    unseeded = measure(CHECK, irreproducible.UnseededFit(), context)
    assert unseeded.value("refit_digest_changes") == 1
    assert unseeded.value("reload_digest_changes") == 0
    lossy = measure(CHECK, irreproducible.LosesTraining(), context)
    assert lossy.value("refit_digest_changes") == 0
    assert lossy.value("reload_digest_changes") == 1


def test_global_generators_are_watched(context: Context) -> None:
    found = measure(CHECK, planted("global_draws"), context)
    assert found.value("global_generators_disturbed") == 2
    assert found.find("global_generators_disturbed").n == (3 if "torch" in sys.modules else 2)
    assert found.value("repeat_changed_rows") == 0


def test_a_load_that_fails_is_an_error_and_spares_the_rest(context: Context) -> None:
    found = measure(CHECK, irreproducible.PointsBack(), context)
    failed = found.find("reload_changed_rows")
    assert failed.status == "errored"
    assert "CheckpointError" in failed.reason
    assert found.value("stream_changed_rows") == 0
    assert found.value("refit_digest_changes") == 0


def test_what_a_subject_cannot_do_is_skipped_with_the_reason(context: Context) -> None:
    subject = replace(VolatilityRegime(), capabilities=frozenset({Capability.REGIMES}))
    found = measure(CHECK, subject, context)
    assert found.value("repeat_changed_rows") == 0
    reasons = {e.metric: e.reason for e in found if e.status == "skipped"}
    assert reasons == {
        "refit_changed_rows": "the subject does not declare refit",
        "refit_max_difference": "the subject does not declare refit",
        "refit_digest_changes": "the subject does not declare refit",
        "stream_changed_rows": "the subject does not declare streaming",
        "stream_max_difference": "the subject does not declare streaming",
        "reload_changed_rows": "the subject does not declare persistence",
        "reload_max_difference": "the subject does not declare persistence",
        "reload_digest_changes": "the subject does not declare persistence",
    }
