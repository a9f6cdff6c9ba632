"""JUnit as another library reads it."""

from __future__ import annotations

from junitparser import Error, Failure, JUnitXml, Skipped

from governance.record import Finding
from reports import render
from tests.reports.hostile import hostile
from tests.reports.sample import Sample, sample


def cases(made: Sample) -> dict[str, object]:
    parsed = JUnitXml.fromstring(render(made.run, made.exhibits, "junit"))
    return {case.name: case for suite in parsed for case in suite}


def expected(finding: Finding) -> list[type]:
    if finding.verdict == "fail":
        return [Failure]
    if finding.verdict == "not_assessed":
        return [Error] if finding.blocks else [Skipped]
    return []


def test_every_finding_is_a_case_with_its_outcome() -> None:
    full = sample("full")
    found = cases(full)
    assert sorted(found) == sorted(finding.id for finding in full.run.findings)
    for finding in full.run.findings:
        case = found[finding.id]
        assert [type(result) for result in case.result] == expected(finding)
        assert case.classname == finding.check
    outcomes = {(f.verdict, f.blocks) for f in full.run.findings}
    assert {("not_assessed", True), ("not_assessed", False), ("warn", False)} <= outcomes


def test_warnings_pass_and_speak() -> None:
    full = sample("full")
    found = cases(full)
    for finding in full.run.findings:
        said = found[finding.id].system_out
        assert (said is not None) == (finding.verdict == "warn")
        assert said is None or finding.statement in said


def test_totals_agree() -> None:
    full = sample("full")
    parsed = JUnitXml.fromstring(render(full.run, full.exhibits, "junit"))
    verdicts = [finding.verdict for finding in full.run.findings]
    assert parsed.tests == len(verdicts)
    assert parsed.failures == verdicts.count("fail")
    assert parsed.errors + parsed.skipped == verdicts.count("not_assessed")
    assert {p.value for suite in parsed for p in suite.properties() if p.name == "run"} == {
        full.run.digest
    }


def test_hostile_texts_and_control_characters_leave_valid_xml() -> None:
    bad = hostile()
    data = render(bad.run, bad.exhibits, "junit")
    assert b"\x1b" not in data
    assert len(cases(bad)) == len({finding.id for finding in bad.run.findings})
