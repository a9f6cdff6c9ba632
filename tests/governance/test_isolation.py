"""Checks in processes of their own: whatever a subject does, the run ends with a sealed record."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance import harness
from governance.adapters import function
from governance.check import Context
from governance.checks.luck import Luck
from governance.checks.reproducibility import Reproducibility
from governance.checks.signal_integrity import SignalIntegrity
from governance.checks.walk_forward import WalkForward
from governance.course import Course
from governance.fits import SharedFits
from governance.harness import Materials
from governance.isolation import Done, measure_apart
from governance.measuring import measure
from governance.plan import DataPlan, FoldPlan, LimitsPlan, Plan, SubjectPlan
from governance.policy import load_policy
from governance.record import Evidence
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.store import Store, StoredRun
from governance.watched import watched
from tests.planted.markets import regime_switching_bars
from tests.planted.misbehaving import Asks, Drawing, Forgetful, Misbehaving, Unrelated, Writes


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(1, n=500)


@pytest.fixture(scope="module")
def context(bars: Bars) -> Context:
    return Context(bars=bars, folds=anchored_folds(500, first_test=300, count=2, gap=5), seed=1)


def apart(
    subject: Subject,
    context: Context,
    *checks: object,
    workers: int = 2,
    seconds: float = 60.0,
    memory_mb: float = 4000.0,
) -> list[Done]:
    found = measure_apart(
        checks,
        subject,
        context,
        workers=workers,
        limits=LimitsPlan(seconds_per_check=seconds, memory_mb=memory_mb),
    )
    return sorted(found, key=lambda done: done.number)


def reasons(done: Done) -> set[str]:
    assert all(item.status == "errored" for item in done.measurements.evidence)
    return {item.reason for item in done.measurements.evidence}


def test_apart_or_here_the_numbers_are_the_same(context: Context) -> None:
    checks = (WalkForward(), SignalIntegrity(), Luck())
    here = [measure(check, VolatilityRegime(), context) for check in checks]
    for workers in (1, 3):
        found = apart(VolatilityRegime(), context, *checks, workers=workers)
        assert [one.measurements.digest for one in found] == [one.digest for one in here]


def test_a_check_that_hangs_is_killed_and_the_others_are_not(context: Context) -> None:
    start = time.monotonic()
    hanging, sound = apart(Misbehaving("hangs"), context, WalkForward(), Unrelated(), seconds=6.0)
    assert reasons(hanging) == {"did not end within its 6 seconds: killed"}
    assert all(item.status == "measured" for item in sound.measurements.evidence)
    assert time.monotonic() - start < 60.0


def test_a_process_that_dies_says_of_what(context: Context) -> None:
    (dead,) = apart(Misbehaving("dies"), context, WalkForward())
    assert reasons(dead) == {"its process was ended by SIGSEGV"}


def test_memory_has_a_limit(context: Context) -> None:
    (eaten,) = apart(Misbehaving("eats"), context, WalkForward(), memory_mb=1500.0)
    assert reasons(eaten) == {"used more than its 1500 MB of memory: killed"}


def test_what_is_printed_is_kept_and_goes_nowhere_else(
    context: Context, capfd: pytest.CaptureFixture[str]
) -> None:
    (done,) = apart(Misbehaving("prints"), context, WalkForward())
    assert "a word on standard output" in done.printed
    assert "past the interpreter" in done.printed
    assert capfd.readouterr() == ("", "")
    here = measure(WalkForward(), VolatilityRegime(), context)
    assert done.measurements.digest == here.digest


@pytest.mark.parametrize(
    ("how", "seconds", "reason"),
    [
        ("forks", 60.0, ""),
        ("escapes", 60.0, ""),
        ("escapes_and_hangs", 4.0, "did not end within its 4 seconds: killed"),
        ("escapes_and_eats", 60.0, "used more than its 1500 MB of memory: killed"),
        ("escapes_and_kills_its_keeper", 60.0, "its process was ended by SIGKILL"),
        ("deserts", 60.0, "its process was ended by SIGKILL"),
    ],
)
def test_what_was_started_ends_with_the_check(
    context: Context, tmp_path: Path, how: str, seconds: float, reason: str
) -> None:
    place = tmp_path / "children"
    subject = Misbehaving(how, str(place))
    (done,) = apart(subject, context, WalkForward(), seconds=seconds, memory_mb=1500.0)
    children = [int(line) for line in place.read_text().split()]
    assert children
    assert not [child for child in children if alive(child)]
    # Where the process above is killed, what it kept is counted with what was started.
    assert done.left in (len(children), len(children) + (how == "escapes_and_kills_its_keeper"))
    if reason:
        assert reasons(done) == {reason}
    else:
        assert "errored" not in {item.status for item in done.measurements.evidence}


def test_what_runs_on_after_the_answer_is_counted_here_and_apart(
    context: Context, tmp_path: Path
) -> None:
    one = SignalIntegrity(histories=1)
    (done,) = apart(Misbehaving("escapes", str(tmp_path / "apart")), context, one)
    assert value(done.measurements.evidence, "processes_left") == 1.0 == done.left
    here = measure(one, Misbehaving("escapes", str(tmp_path / "here")), context).evidence
    os.kill(int((tmp_path / "here").read_text()), signal.SIGKILL)  # nothing ends it here
    assert value(here, "processes_left") == 1.0
    failed = load_policy("baseline").judge(done.measurements.evidence).findings
    assert "signal_integrity.leaves_nothing_running" in {
        one.rule for one in failed if one.verdict == "warn"
    }


_SCRIPT = """
import sys
from governance.checks.walk_forward import WalkForward
from governance.check import Context
from governance.isolation import measure_apart
from governance.plan import LimitsPlan
from governance.splits import anchored_folds
from tests.planted.markets import regime_switching_bars
from tests.planted.misbehaving import Misbehaving

if __name__ == "__main__":
    context = Context(
        regime_switching_bars(1, n=500), anchored_folds(500, first_test=300, count=2, gap=5), 1
    )
    subject = Misbehaving(*sys.argv[1:])
    for done in measure_apart([WalkForward()], subject, context, workers=1, limits=LimitsPlan()):
        print(done.left)
"""


def begun(tmp_path: Path, how: str) -> tuple[subprocess.Popen[str], Path]:
    """A validation in an interpreter of its own, whose output is a pipe."""
    script, place = tmp_path / "script.py", tmp_path / "children"
    script.write_text(_SCRIPT)
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, str(script), how, str(place)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    return process, place


def test_whoever_waits_for_the_output_does_not_wait_for_an_escaped_process(tmp_path: Path) -> None:
    process, place = begun(tmp_path, "escapes")
    with process:
        said, _ = process.communicate(timeout=120.0)
    children = place.read_text().split()
    assert said.split() == [str(len(children))]
    assert not [child for child in children if alive(int(child))]


def test_nothing_is_left_of_a_run_that_was_killed(tmp_path: Path) -> None:
    process, place = begun(tmp_path, "escapes_and_hangs")
    with process:
        assert eventually(place.exists)
        process.kill()
    (child,) = place.read_text().split()
    assert eventually(lambda: not alive(int(child)))


def eventually(holds: Callable[[], bool], seconds: float = 120.0) -> bool:
    limit = time.monotonic() + seconds
    while not holds() and time.monotonic() < limit:
        time.sleep(0.05)
    return holds()


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_network_is_refused_and_the_attempt_is_evidence(context: Context) -> None:
    loud, quiet = (
        apart(Misbehaving(how), context, SignalIntegrity())[0].measurements.evidence
        for how in ("calls_home", "calls_home_quietly")
    )
    assert value(loud, "failed_calls") > 0
    for evidence in (loud, quiet):
        assert value(evidence, "network_attempts") > 0
    here = measure(SignalIntegrity(), Misbehaving("calls_home_quietly"), context).evidence
    assert value(here, "network_attempts") == value(quiet, "network_attempts")
    sound = measure(SignalIntegrity(), VolatilityRegime(), context).evidence
    assert value(sound, "network_attempts") == value(sound, "started_processes") == 0.0


def value(evidence: tuple[Evidence, ...], metric: str) -> float:
    (found,) = (item.value for item in evidence if item.metric == metric)
    assert found is not None
    return found


def test_watching_ends_and_this_machine_may_be_reached() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server, watched() as seen:
        socket.create_connection(server.getsockname()).close()
        with pytest.raises(PermissionError, match=r"192\.0\.2\.1:9"):
            socket.create_connection(("192.0.2.1", 9), timeout=0.1)
        with pytest.raises(PermissionError, match=r"finchaos\.invalid"):
            socket.getaddrinfo("finchaos.invalid", 80)
        with pytest.raises(PermissionError, match=r"finchaos\.invalid"):
            socket.gethostbyname("finchaos.invalid")
        letters = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with letters, pytest.raises(PermissionError):
            letters.sendmsg([b"x"], [], 0, ("192.0.2.1", 9))
        thread = threading.Thread(target=_connect_quietly)
        thread.start()
        thread.join()
    assert seen.network == [
        "192.0.2.1:9", "finchaos.invalid:80", "finchaos.invalid", "192.0.2.1:9", "192.0.2.7:9"
    ]  # fmt: skip
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(("finchaos.invalid", 80), timeout=0.1)
    assert len(seen.network) == 5


def _connect_quietly() -> None:
    with suppress(PermissionError):
        socket.create_connection(("192.0.2.7", 9), timeout=0.1)


def test_a_subject_from_a_file_is_found_by_the_other_process(
    tmp_path: Path, context: Context
) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def positions(frame):\n    return 0.5 + 0.0 * frame['close'].to_numpy()\n")
    subject = function.build({"path": str(path), "attribute": "positions"}, seed=1)
    (done,) = apart(subject, context, SignalIntegrity())
    assert value(done.measurements.evidence, "failed_calls") == 0.0


def test_a_subject_that_cannot_be_sent_is_refused_with_the_way_out(context: Context) -> None:
    class Local(VolatilityRegime):
        pass

    with pytest.raises(InputError, match="--workers 0"):
        apart(Local(), context, WalkForward())


def plan_with(checks: dict[str, dict[str, object]], seconds: float) -> Plan:
    return Plan(
        name="p",
        subject=SubjectPlan(adapter="function"),
        data=DataPlan(source="x"),
        folds=FoldPlan(count=2, first_test=0.6, gap_bars=5),
        checks=checks,  # type: ignore[arg-type]
        limits=LimitsPlan(seconds_per_check=seconds),
    )


def validated(
    subject: Subject, bars: Bars, place: Path, workers: int, seconds: float = 60.0, **given: object
) -> StoredRun:
    materials = Materials(subject, bars, load_policy("baseline"), {}, ())
    plan = plan_with({"walk_forward": {}, "data_quality": {}, "luck": {}}, seconds)
    return harness.validate(plan, materials, Store(place), workers=workers, **given)  # type: ignore[arg-type]


def test_the_run_is_the_same_with_any_number_of_workers(bars: Bars, tmp_path: Path) -> None:
    runs = {validated(VolatilityRegime(), bars, tmp_path / str(n), n).run.digest for n in (0, 1, 3)}
    assert len(runs) == 1


def test_a_hanging_model_still_ends_in_a_sealed_record(bars: Bars, tmp_path: Path) -> None:
    stages: list[str] = []
    stored = validated(
        Misbehaving("hangs"),
        bars,
        tmp_path,
        3,
        6.0,
        progress=lambda stage, *_: stages.append(stage),
    )
    by_check: dict[str, set[str]] = {}
    for item in stored.run.evidence:
        by_check.setdefault(item.check, set()).add(item.status)
    assert by_check == {
        "walk_forward": {"errored"}, "luck": {"errored"}, "data_quality": {"measured"}
    }  # fmt: skip
    assert stored.run.gate == "closed"
    again = Store(tmp_path).load(stored.run.digest)
    assert again.run == stored.run
    assert any("data_quality" in stage for stage in stages)
    # What timed out is tried again, the rest is remembered.
    assert Store(tmp_path).seconds()["luck"] > 5.0


def test_an_interrupted_run_leaves_no_process_behind(context: Context, tmp_path: Path) -> None:
    place = tmp_path / "children"
    found = measure_apart(
        [Writes(str(place))], VolatilityRegime(), context, workers=1, limits=LimitsPlan()
    )

    def interrupt() -> None:
        while not (place.exists() and place.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            next(found)
        found.close()
    finally:
        signal.signal(signal.SIGINT, before)
    (child,) = (int(line) for line in place.read_text().split())
    assert not alive(child)


def test_training_that_draws_without_a_seed_is_found_in_processes_too(context: Context) -> None:
    """All processes begin alike; two trainings of one model must not agree for that reason."""
    _, done = apart(Drawing(), context, WalkForward(), Reproducibility(), workers=1)
    assert value(done.measurements.evidence, "refit_digest_changes") == 1.0


def test_a_fit_that_leaves_a_child_holds_up_nobody(context: Context) -> None:
    start = time.monotonic()
    subject = Misbehaving("nothing", fitting="forks_in_place")
    first, second = apart(subject, context, WalkForward(), Luck(), seconds=50.0)
    assert first.measurements.evidence[0].status == second.measurements.evidence[0].status
    assert time.monotonic() - start < 40.0


def test_all_checks_see_what_was_written_down(context: Context) -> None:
    """A model that loses something when it is pickled is the same to all checks, the first too."""
    one, two = apart(Forgetful(), context, Asks(), Asks(), workers=1)
    assert one.measurements.evidence[0].value == two.measurements.evidence[0].value == 0.0


def test_fits_are_shared_and_made_once(context: Context, tmp_path: Path) -> None:
    subject, train = VolatilityRegime(), context.bars.rows(0, 300)
    first, second = SharedFits(tmp_path), SharedFits(tmp_path)
    made = first.fit(subject, train, 1)
    assert len(list(tmp_path.glob("*.pickle"))) == 1
    kept = second.fit(subject, train, 1)
    assert kept is not made
    assert kept.digest == made.digest
    assert second.fit(subject, train, 2) is not kept
    said = first.signals(made, context.bars)
    assert second.signals(kept, context.bars).digest == said.digest


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("governance.course.time.monotonic", lambda: self.now)


def test_the_time_left_follows_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(monkeypatch), []
    course = Course(["a", "b", "c"], {"a": 100.0, "b": 300.0}, 2, lambda *x: said.append(x))
    course.skip({2})
    course.started(0)
    clock.now = 40.0
    course.started(1)
    course.ended(0)
    assert said == [
        ("a; about 3 min left", 1, 3),
        ("a, b; about 3 min left", 1, 3),
        ("b; about 2 min left", 2, 3),
    ]
    assert course.expected(2) == 200.0
    silent: list[tuple[str, int, int]] = []
    Course(["a"], {}, 1, lambda *x: silent.append(x)).started(0)
    assert silent == [("a", 0, 1)]
