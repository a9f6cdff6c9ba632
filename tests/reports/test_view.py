"""The view refuses what is not the sealed Run's, and shows the rest."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from finchaos.core.errors import IntegrityError, UnknownNameError
from governance.record import ClauseCoverage
from reports import format_names, render
from reports.view import report_view
from tests.reports.sample import sample, signoffs

SMALL = sample("small")


def test_formats_are_the_files() -> None:
    assert format_names() == ("html", "json", "junit", "markdown", "pdf")
    with pytest.raises(UnknownNameError):
        render(SMALL.run, SMALL.exhibits, "docx")


def test_missing_exhibit_is_an_integrity_error() -> None:
    some = dict(list(SMALL.exhibits.items())[1:])
    for name in ("html", "json", "junit", "markdown"):
        with pytest.raises(IntegrityError, match="is missing"):
            render(SMALL.run, some, name)


def test_altered_exhibit_is_an_integrity_error() -> None:
    digest, exhibit = next(iter(SMALL.exhibits.items()))
    forged = {**SMALL.exhibits, digest: exhibit.model_copy(update={"title": "Better"})}
    forged[digest].__dict__.pop("digest", None)
    with pytest.raises(IntegrityError, match="not the one that was sealed"):
        render(SMALL.run, forged, "html")


def test_signoff_of_another_run_is_refused() -> None:
    other = signoffs(sample("tiny").run)
    with pytest.raises(IntegrityError, match="another run"):
        report_view(SMALL.run, SMALL.exhibits, signoffs=other)


def test_rendering_depends_on_the_stored_record_alone() -> None:
    stored = type(SMALL.run).from_json(SMALL.run.to_json())
    exhibits = {k: type(v).from_json(v.to_json()) for k, v in SMALL.exhibits.items()}
    for name in ("html", "json", "junit", "markdown"):
        assert render(stored, exhibits, name) == render(SMALL.run, SMALL.exhibits, name)


def test_roles_without_a_decision_are_pending() -> None:
    lines = report_view(SMALL.run, SMALL.exhibits, signoffs=signoffs(SMALL.run)).signoffs
    assert [(line.role, line.decision) for line in lines] == [
        ("Developer", "Approved"),
        ("Validator", "Approved with conditions"),
        ("Approver", "Pending"),
    ]
    assert lines[1].conditions.startswith("Exposure limited")
    assert lines[1].at == "2026-11-20 16:05 UTC"


def test_a_clause_that_asks_for_a_sign_off_is_served_by_it() -> None:
    row = ClauseCoverage(
        clause="S1", section="III", summary="Challenge by others.", status="not_evidenced",
        worst=None, findings=(), needs="A sign-off.", sign_off=("validator",),
    )  # fmt: skip
    run = SMALL.run.model_copy(update={"coverage": (*SMALL.run.coverage, row)})
    run = type(run).from_json(run.to_json())
    before = report_view(run, SMALL.exhibits)
    assert before.coverage[-1].status == "Awaits sign-off"
    assert "1 of which awaits sign-off" in before.summary
    assert "the signed copy shows on its first page" in before.coverage[-1].served_by
    developer, validator = signoffs(run)
    assert report_view(run, SMALL.exhibits, signoffs=(developer,)).coverage == before.coverage
    after = report_view(run, SMALL.exhibits, signoffs=(developer, validator))
    assert after.coverage[-1].status == "Partly evidenced"
    assert after.coverage[-1].served_by == "sign-off of B. Okafor, validator, on 2026-11-20"
    assert "awaits" not in after.summary


def test_a_view_is_dated_by_its_caller_else_by_the_last_signature_else_not() -> None:
    assert report_view(SMALL.run, SMALL.exhibits).dated is None
    view = report_view(SMALL.run, SMALL.exhibits, signoffs=signoffs(SMALL.run))
    assert (view.date_label, view.dated) == (
        "Last signed",
        datetime(2026, 11, 20, 16, 5, tzinfo=UTC),
    )
    given = datetime(2026, 12, 1, tzinfo=UTC)
    view = report_view(SMALL.run, SMALL.exhibits, signoffs=signoffs(SMALL.run), dated=given)
    assert (view.date_label, view.dated) == ("Date of report", given)


def test_the_limits_of_use_are_the_cards_and_silence_is_said() -> None:
    limits = dict(report_view(SMALL.run, SMALL.exhibits).limits)
    assert limits["Prohibited use"] == ("Single stocks, leverage, intraday use.",)
    assert len(limits["Limitations"]) == 2
    bare = SMALL.run.subject.model_copy(update={"card": {"name": "m", "version": "1"}})
    run = SMALL.run.model_copy(update={"subject": bare})
    run = type(run).from_json(run.to_json())
    assert dict(report_view(run, SMALL.exhibits).limits)["Prohibited use"] == ("undeclared",)


def test_sentences_of_the_card_are_joined_as_sentences() -> None:
    tables = {table.title: table for table in report_view(SMALL.run, SMALL.exhibits).appendix}
    card = {
        row[0].text: row[1].text for row in tables["Model card, as declared by the developer"].rows
    }
    assert card["Limitations"] == (
        "Trained on one index. No crash in the training window before 1987."
    )
    assert card["Feature names"] == "ret_1, vol_21, range_5, drawdown_63"


def test_demo_trust_is_marked_only_under_a_demo_root() -> None:
    for trust, demo in (("demo", True), ("CN=Bank Root", False)):
        made = signoffs(SMALL.run, trust=trust)
        assert report_view(SMALL.run, SMALL.exhibits, signoffs=made).demo is demo
    assert not report_view(SMALL.run, SMALL.exhibits).demo


def test_a_view_is_frozen_and_holds_every_check_and_figure() -> None:
    view = report_view(SMALL.run, SMALL.exhibits)
    assert [section.card for section in view.checks] == list(SMALL.run.cards)
    numbers = [figure.number for section in view.checks for figure in section.figures]
    assert numbers == list(range(1, len(numbers) + 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.model = "another"  # type: ignore[misc]
