"""Reports are bound to the run: what was rendered is on record, and nothing else is signed."""

from __future__ import annotations

import json

import pytest

from finchaos.core.errors import IntegrityError
from finchaos.core.provenance import sha256
from governance.signoff.audit import read_chain
from governance.signoff.rendered import ACTION


def page(case):
    return case.folder / "report" / "report.html"


def test_the_entry_says_which_bytes_were_rendered(new_case):
    case = new_case()
    (entry,) = read_chain(case.root).entries
    assert (entry.action, entry.actor) == (ACTION, "finchaos")
    files = [case.folder / "report" / f"report.{end}" for end in ("html", "pdf", "xml")]
    assert json.loads(entry.body) == {
        "run": case.run.digest,
        "files": {f"report/{path.name}": sha256(path.read_bytes()) for path in files},
    }


def test_the_same_reports_are_recorded_once(new_case):
    case = new_case(pdf=False)
    before = case.chain.read_bytes()
    case.record_reports()
    assert case.chain.read_bytes() == before


def test_reports_never_recorded_are_not_signed(new_case):
    case = new_case(pdf=False, recorded=False)
    assert case.failures() == ""
    with pytest.raises(IntegrityError, match="render with 'finchaos report'"):
        case.sign("developer")
    assert not (case.folder / "signoffs").exists()
    case.record_reports()
    case.sign("developer")
    assert case.failures() == ""


def test_reports_recorded_for_another_run_do_not_count(new_case):
    case, other = new_case(pdf=False, recorded=False), new_case(pdf=False, seed=8)
    case.chain.write_bytes(other.chain.read_bytes())
    with pytest.raises(IntegrityError, match="nothing shows that the reports were rendered"):
        case.sign("developer")


@pytest.mark.parametrize("name", ["report.html", "report.pdf", "report.xml"])
def test_a_report_changed_after_rendering_is_neither_signed_nor_verified(new_case, name):
    case = new_case()
    (case.folder / "report" / name).write_bytes(b"<h1>ALL GREEN</h1>")
    assert f"{name} is not what was rendered" in case.failures()
    with pytest.raises(IntegrityError, match=f"{name} is not what was rendered"):
        case.sign("developer")


def test_a_report_added_or_removed_after_rendering_is_found(new_case):
    case = new_case(pdf=False)
    added = case.folder / "report" / "report.md"
    added.write_bytes(b"# ALL GREEN")
    assert "report.md is not what was rendered" in case.failures()
    added.unlink()
    page(case).unlink()
    assert "report.html is not what was rendered" in case.failures()


def test_a_report_added_after_all_were_removed_on_record_is_found(new_case):
    case = new_case(pdf=False)
    kept = page(case).read_bytes()
    for path in (case.folder / "report").iterdir():
        path.unlink()
    case.record_reports()
    assert case.failures() == ""
    page(case).write_bytes(kept)
    assert "report.html is not what was rendered" in case.failures()


def test_the_last_rendering_counts(new_case):
    case = new_case(pdf=False)
    first = page(case).read_bytes()
    page(case).write_bytes(b"<h1>Rendered again</h1>")
    case.record_reports()
    page(case).write_bytes(first)
    assert "not what was rendered" in case.failures()
    case.record_reports()
    case.sign("developer")
    assert case.failures() == ""


def test_rendering_anew_does_not_cover_for_a_signed_report(signed):
    page(signed).write_bytes(b"<h1>ALL GREEN</h1>")
    signed.record_reports()
    assert "report/report.html was changed" in signed.failures()


def test_the_json_report_is_the_run(new_case):
    case = new_case(pdf=False)
    copy = case.folder / "report" / "report.json"
    copy.write_bytes((case.folder / "run.json").read_bytes())
    case.record_reports()
    assert case.failures() == ""
    copy.write_bytes(copy.read_bytes().replace(b'"open"', b'"shut"'))
    case.record_reports()
    assert "report.json is not the run" in case.failures()
    with pytest.raises(IntegrityError, match=r"report\.json is not the run"):
        case.sign("developer")


@pytest.mark.parametrize(
    "place", ["evil.exe", "report.html.exe", "REPORT.HTML", "deep/report.html"]
)
def test_a_stray_file_among_the_reports_is_found(new_case, place):
    case = new_case(pdf=False)
    stray = case.folder / "report" / place
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"MZ")
    case.record_reports()
    assert place in case.failures()
    with pytest.raises(IntegrityError, match="do not belong to the run"):
        case.sign("developer")
