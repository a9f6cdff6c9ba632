from __future__ import annotations

import pytest

from benchmarks.timing import Protocol, Samples, interleaved, interleaved_calls


def _recorded(calls: list[str], name: str):
    def job() -> str:
        calls.append(name)
        return name.upper()

    return job


def test_jobs_take_turns_after_their_warm_ups() -> None:
    calls: list[str] = []
    jobs = {name: _recorded(calls, name) for name in "ab"}
    found = interleaved(jobs, Protocol(rounds=3, warmups=2))
    assert "".join(calls) == "ab" * 5
    assert [found[name].n for name in "ab"] == [3, 3]


def test_results_are_compared_before_anything_is_timed() -> None:
    calls: list[str] = []

    def refuse(first: dict[str, str]) -> None:
        assert first == {"a": "A", "b": "B"}
        raise RuntimeError("they disagree")

    with pytest.raises(RuntimeError, match="disagree"):
        interleaved({name: _recorded(calls, name) for name in "ab"}, Protocol(), refuse)
    assert calls == ["a", "b"]


def test_slow_jobs_are_repeated_less(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("benchmarks.timing.time.process_time", lambda: now[0])

    def lasting(seconds: float):
        def job() -> None:
            now[0] += seconds

        return job

    jobs = {"quick": lasting(1.0), "slow": lasting(6.0), "very slow": lasting(30.0)}
    found = interleaved(jobs, Protocol())
    assert {name: spent.n for name, spent in found.items()} == {
        "quick": 7,
        "slow": 3,
        "very slow": 1,
    }
    assert found["slow"].median == found["slow"].minimum == 6.0


def test_single_calls_come_in_blocks_and_the_first_block_does_not_count() -> None:
    calls: list[str] = []
    steps = {name: _recorded(calls, name) for name in "ab"}
    found = interleaved_calls(steps, Protocol(calls=4, block=2))
    assert "".join(calls) == "aabb" * 3
    assert found["a"].n == 4


def test_statistics_of_samples() -> None:
    samples = Samples((3.0, 1.0, 2.0, 10.0))
    assert (samples.median, samples.minimum, samples.n) == (2.5, 1.0, 4)
    assert samples.quantile(1.0) == 10.0
