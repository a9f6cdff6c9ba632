"""What page one says of the tier and of the lock."""

from __future__ import annotations

import pytest

from governance.record import GuidanceCoverage, LockChange, LockRef, MaterialityRef, Run
from reports import render
from reports.registration import SHOWN_CHANGES, lock_changes, lock_text, materiality_text
from reports.view import report_view
from tests.reports.sample import sample, signoffs

SMALL = sample("small")


def changed(**words: object) -> Run:
    run = SMALL.run.model_copy(update=words)
    run.__dict__.pop("digest", None)
    return run


def lock(count: int, *, after_results: bool = False) -> LockRef:
    return LockRef(
        digest="a" * 64,
        entry="b" * 64,
        at="2026-11-03T09:05:00+00:00",
        after_results=after_results,
        changes=tuple(
            LockChange(part="rule", key=f"rule{k}.limit", locked=str(k), now="<b>9</b>")
            for k in range(count)
        ),
    )


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "Not locked"),
        (lock(0), "Locked on 3 November 2026, 09:05 UTC, before any result; nothing was changed"),
        (lock(1), "before any result; 1 thing was changed after that"),
        (lock(3, after_results=True), "after results were known; 3 things were changed"),
    ],
)
def test_page_one_says_whether_the_plan_was_locked(found: LockRef | None, text: str) -> None:
    run = changed(lock=found)
    assert text in lock_text(run)
    assert text in render(run, SMALL.exhibits, "html").decode()


@pytest.mark.parametrize("count", [0, 1, SHOWN_CHANGES, SHOWN_CHANGES + 1, SHOWN_CHANGES + 5])
def test_changes_are_shown_first_and_all_in_the_appendix(count: int) -> None:
    run = changed(lock=lock(count))
    view = report_view(run, SMALL.exhibits)
    front, everything = view.lock_changes, lock_changes(run)
    if not count:
        assert front is everything is None
        return
    assert front is not None
    assert everything is not None
    assert len(front.rows) == min(count, SHOWN_CHANGES)
    assert len(everything.rows) == count
    assert bool(front.notes) == (count > SHOWN_CHANGES)
    assert everything in view.appendix


def test_what_a_change_says_is_escaped_and_cut() -> None:
    long = lock(1).changes[0].model_copy(update={"now": "x" * 4000, "locked": "c" * 64})
    run = changed(lock=lock(1).model_copy(update={"changes": (*lock(1).changes, long)}))
    text = render(run, SMALL.exhibits, "html").decode()
    assert "<b>9</b>" not in text
    assert "&lt;b&gt;9&lt;/b&gt;" in text
    assert "x" * 200 not in text
    for name in ("markdown", "json", "junit", "pdf"):
        assert render(run, SMALL.exhibits, name)


def test_markdown_says_it_too() -> None:
    said = render(changed(lock=lock(2)), SMALL.exhibits, "markdown").decode()
    assert "2 things were changed after that" in said
    assert "The plan was not locked" in render(SMALL.run, SMALL.exhibits, "markdown").decode()


def test_the_tier_says_what_it_was_derived_from() -> None:
    assert materiality_text(SMALL.run) == "High, as declared; no exposure and purpose stated"
    found = MaterialityRef(
        tier="medium", exposure="low", exposure_usd=1234567.0, purpose="decision", declared="low"
    )
    run = changed(materiality=found)
    said = "Medium: low exposure (USD 1,234,567), decision; declared low"
    assert materiality_text(run) == said
    assert said in render(run, SMALL.exhibits, "html").decode()
    without = found.model_copy(update={"exposure_usd": None})
    assert "USD" not in materiality_text(changed(materiality=without))


def test_a_further_guidance_has_its_own_matrix_and_its_sign_offs() -> None:
    also = GuidanceCoverage(
        policy=SMALL.run.policy.model_copy(update={"name": "other", "title": "Other guidance"}),
        coverage=SMALL.run.coverage,
    )
    run = changed(also=(also,))
    view = report_view(run, SMALL.exhibits, signoffs=signoffs(run))
    assert view.also[0].lines == view.coverage
    assert sum(count for _, count in view.also[0].counts) == len(run.coverage)
    text = render(run, SMALL.exhibits, "html").decode()
    assert "Also: Other guidance" in text
    assert 'href="#also-other"' in text
    assert 'id="also-other"' in text
