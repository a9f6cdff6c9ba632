"""Real processes, really killed: quiet on the breaker that ships, loud on defective ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance import breaker_drill
from governance.breaker_drill import PROMISES
from governance.check import Context, Skip
from governance.checks.circuit_breaker import CircuitBreaker
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure

_DESK = """
from finchaos.live import breaker_desk as desk
{defect}
desk.main()
"""
# Each is a breaker that breaks one promise, told by what its desk says.
_ALWAYS_FINE = "desk.COMMANDS['report'] = lambda folder, said: {}"
_ONE_IS_ENOUGH = """
from finchaos.live.breaker_record import BreakerLimits
arm = desk.BreakerLimits
desk.BreakerLimits = lambda **limits: arm(**{**limits, "confirm_seconds": None})
"""
_FORGETS = """
from finchaos.live.breaker import ProcessBreaker
from finchaos.live.breaker_record import BreakerRecord, load_record, save_record
start = ProcessBreaker.start
def forgetful(folder):
    save_record(folder, BreakerRecord(load_record(folder).limits, "nobody"))
    return start(folder)
desk.ProcessBreaker = type("B", (ProcessBreaker,), {"start": staticmethod(forgetful)})
"""


@pytest.fixture(scope="module")
def context() -> Context:
    return context_of(regime_switching_bars(5, 700))


def _run(context: Context, desk: str = "finchaos.live.breaker_desk") -> Measured:
    return measure(CircuitBreaker(desk), VolatilityRegime(), context)


def _broken(found: Measured) -> set[str]:
    return {p for p in PROMISES if found.value("promise_kept", promise=p) == 0.0}


def test_the_breaker_that_ships_keeps_every_promise_each_time(context: Context) -> None:
    found = _run(context)
    assert _broken(found) == set()
    assert found.value("broken_promises") == 0.0
    assert found.find("broken_promises").n == len(PROMISES)
    assert _run(context).digests == found.digests


@pytest.mark.parametrize(
    ("defect", "broken"),
    [
        (
            _ALWAYS_FINE,
            {"stays_latched", "one_person_refused", "stops_at_a_limit", "silence_means_stop",
             "latch_outlives_breaker"},
        ),
        (_ONE_IS_ENOUGH, {"one_person_refused"}),
        (_FORGETS, {"latch_outlives_breaker"}),
    ],
    ids=["always fine", "one is enough", "forgets"],
)  # fmt: skip
def test_loud_on_what_a_breaker_does_not_keep(
    defect: str,
    broken: set[str],
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "planted_desk.py").write_text(_DESK.format(defect=defect))
    monkeypatch.syspath_prepend(tmp_path)
    found = _run(context, "planted_desk")
    assert _broken(found) >= broken
    assert found.value("broken_promises") == len(_broken(found))


def test_a_desk_that_does_not_answer_is_an_error_and_no_result(context: Context) -> None:
    with pytest.raises(RuntimeError, match="did not answer 'arm'"):
        _run(context, "this_module_is_not_there")


def test_a_machine_without_what_it_takes_is_said_to_be_one(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(breaker_drill.socket, "AF_UNIX")
    with pytest.raises(Skip, match="no Unix sockets"):
        _run(context)
