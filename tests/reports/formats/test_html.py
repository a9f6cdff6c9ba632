"""The page: self-contained, in order, and deaf to what its texts try."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from reports import render
from reports.concerns import SHOWN_CONCERNS
from reports.view import report_view
from tests.reports.hostile import PAYLOAD, hostile
from tests.reports.sample import sample, signoffs

SMALL = sample("small")


class Page(HTMLParser):
    """Tags with their attributes, scripts and visible text."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(data.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag if tag in ("script", "style") else self._inside

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        {"script": self.scripts, "style": self.styles}.get(self._inside, self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def small() -> Page:
    return Page(render(SMALL.run, SMALL.exhibits, "html"))


def assert_self_contained(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in (
            "src",
            "href",
            "xlink:href",
            "data",
            "action",
            "srcset",
            "poster",
            "formaction",
        ):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:")), (tag, name, target)
        assert not [name for name in attributes if name.startswith("on")]
        assert tag not in ("iframe", "object", "embed", "base", "form", "link")
    for style in page.styles:
        assert "@import" not in style
        assert set(re.findall(r"url\((.{5})", style)) <= {"data:"}


def test_nothing_outside_is_referred_to(small: Page) -> None:
    assert_self_contained(small)
    assert "http://example.org/text-only" in small.text


def test_content_security_policy_allows_only_the_scripts_that_are_there(small: Page) -> None:
    (policy,) = [a["content"] for t, a in small.tags if a.get("http-equiv")]
    scripts = [a for t, a in small.tags if t == "script"]
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    run = [s for s, a in zip(small.scripts, scripts, strict=True) if "type" not in a]
    found = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in run}
    assert found == allowed
    assert len(run) == 2


def test_order_is_verdict_findings_coverage_checks_appendix(small: Page) -> None:
    sections = [a.get("id", "") for t, a in small.tags if t == "section"]
    assert [s for s in sections if not s.startswith("check-")] == [
        "verdict", "findings", "coverage", "glance", "checks", "passed", "appendix",
    ]  # fmt: skip
    text = small.text
    verdict = text[: text.index("2 Findings by severity", text.index("Sign-off"))]
    assert verdict.index("mamba_regime") < verdict.index("Closed") < verdict.index("Sign-off")
    assert "Nobody had signed when these pages were rendered." in verdict
    assert "Pending" not in verdict


def test_committee_finds_what_it_needs(small: Page) -> None:
    run, text = SMALL.run, small.text
    for finding in run.findings:
        if finding.verdict != "pass":
            assert finding.statement in text
    concerns = report_view(run, SMALL.exhibits).concerns
    front = text[: text.index("2 Findings by severity")]
    for concern in concerns[:SHOWN_CONCERNS]:
        for part in (concern.headline, concern.measured, concern.remedy, *concern.clauses):
            assert part in front
    for reason in run.gate_reasons:
        assert reason in text
    for card in run.cards:
        assert card.question in text
        assert card.limitations[0] in text
    for wanted in (
        run.digest, run.subject.digest, run.policy.digest, *(i.digest for i in run.inputs),
        "finchaos validate plan.yaml", f"finchaos verify {run.digest[:12]}", "Not evidenced",
        "schema version 1", "numpy 2.4.6", "27.31%", "at most 27.3%",
        "no stressed bar fell into this fold",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_notes_stand_under_their_figures() -> None:
    full = sample("full")
    page = Page(render(full.run, full.exhibits, "html"))
    assert "Reconstructed minute path through documented anchors, seed 7" in page.text
    assert sum(tag == "figure" for tag, _ in page.tags) == 38
    assert_self_contained(page)


def test_every_text_is_escaped() -> None:
    bad = hostile()
    page = Page(render(bad.run, bad.exhibits, "html", signoffs=signoffs(bad.run)))
    assert_self_contained(page)
    kinds = [a.get("type", "") for t, a in page.tags if t == "script"]
    assert kinds == ["", ""]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    shown = PAYLOAD.replace("\x1b", "")
    for wanted in (bad.run.subject.card["purpose"], bad.run.evidence[-1].reason):
        assert wanted.replace(PAYLOAD, shown) in page.text
    assert "\x1b" not in page.text
    assert "{{7*7}}" in page.text


def test_undated_reports_show_no_date_and_dated_ones_do(small: Page) -> None:
    assert "Date of report" not in small.text
    moment = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    dated = Page(render(SMALL.run, SMALL.exhibits, "html", dated=moment))
    assert "Date of report 21 November 2026" in dated.text


def test_same_bytes_in_another_process_and_nothing_heavy_imported() -> None:
    code = (
        "import hashlib, sys\n"
        "import reports\n"
        "early = {'matplotlib', 'jinja2', 'weasyprint', 'pikepdf'} & set(sys.modules)\n"
        "from tests.reports.sample import sample\n"
        "s = sample('small')\n"
        "data = reports.render(s.run, s.exhibits, 'html')\n"
        "late = {'matplotlib.pyplot', 'weasyprint', 'torch', 'pyhanko'} & set(sys.modules)\n"
        "print(hashlib.sha256(data).hexdigest(), sorted(early | late))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    here = hashlib.sha256(render(SMALL.run, SMALL.exhibits, "html")).hexdigest()
    assert done.stdout.split(maxsplit=1) == [here, "[]\n"]
