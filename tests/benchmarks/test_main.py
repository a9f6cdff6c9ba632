from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import catalogue
from benchmarks.machine import ENVIRONMENT, conditions
from benchmarks.report import Options, Report, Table


def test_names_stand_for_benchmarks() -> None:
    assert catalogue.chosen(["all"]) == tuple(catalogue.BENCHMARKS)
    assert catalogue.chosen(["memory", "latency", "memory"]) == ("memory", "latency")
    with pytest.raises(SystemExit):
        command.main(["fastest"])


def test_every_benchmark_can_be_found() -> None:
    from importlib import import_module

    for module, function in catalogue.BENCHMARKS.values():
        assert callable(getattr(import_module(f"benchmarks.{module}"), function))


def test_a_report_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(name: str, options: Options) -> Report:
        assert options.protocol.rounds == 2
        return Report(name, (Table("Nothing", ("a",), ((1,),)),))

    monkeypatch.setattr(command, "run", fake)
    threads = torch.get_num_threads()
    try:
        arguments = ["memory", "--rounds", "2", "--backend", "torch", "--output", str(tmp_path)]
        assert command.main([*arguments, "--here"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert "### Nothing" in capsys.readouterr().out
    content = json.loads((tmp_path / "memory.json").read_text())
    assert content["conditions"]["threads"] == "1"
    assert "before" in content["conditions"]["load average"]
    assert {"date", "commit", "protocol", "processor", "versions", "took"} <= set(
        content["conditions"]
    )


def test_every_benchmark_gets_a_fresh_tuned_process_and_failures_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = []

    class Done:
        returncode = 1

    def start(arguments: list[str], env: dict[str, str], check: bool) -> Done:
        started.append(arguments[3:])
        assert env.items() >= ENVIRONMENT.items()
        return Done()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.subprocess, "run", start)
    assert command.main(["memory", "latency", "--rounds", "3"]) == 1
    common = ["--backend", "auto", "--rounds", "3", "--output", "bench-results", "--here"]
    assert started == [[*common, "memory"], [*common, "latency"]]
    assert "failed: memory, latency" in capsys.readouterr().err


def test_the_page_gathers_tables_without_running_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.subprocess, "run", None)
    assert command.main(["page", "--output", str(tmp_path)]) == 1
    Report("memory", (Table("Peak", ("a",), ((1,),)),)).write(tmp_path, {})
    assert command.main(["page", "--output", str(tmp_path)]) == 0
    assert "### Peak" in (tmp_path / "README.md").read_text()


def test_help_says_what_each_benchmark_shows_and_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in catalogue.BENCHMARKS)
    assert "about" in shown


def test_conditions_say_whether_the_allocator_is_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ENVIRONMENT:
        monkeypatch.delenv(key, raising=False)
    found = conditions("torch")
    assert found["allocator"] == "as the system has it"
    assert found["our backend"].startswith("torch")
    assert "transformers" in found["versions"]
    monkeypatch.setattr(os, "environ", {**os.environ, **ENVIRONMENT})
    assert conditions("torch")["allocator"] == "glibc tuned"
