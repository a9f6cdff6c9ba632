"""The PDF: readable, closed to the world, repeatable and ready to be signed."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

import pikepdf
import pypdf
import pytest

from finchaos.core.errors import MissingDependencyError
from reports import render
from reports.formats.pdf import SYSTEM_PACKAGES, closed_fetcher, normalised
from tests.reports.hostile import hostile
from tests.reports.sample import sample, signoffs

TINY = sample("tiny")
DATED = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def data() -> bytes:
    return render(TINY.run, TINY.exhibits, "pdf", signoffs=signoffs(TINY.run), dated=DATED)


def words(page: pypdf.PageObject) -> str:
    return " ".join(page.extract_text().split())


def test_first_page_carries_the_verdict(data: bytes) -> None:
    first = words(pypdf.PdfReader(io.BytesIO(data)).pages[0])
    for wanted in (
        "mamba_regime 0.4.2", "Gate: Closed, inconclusive", "SR 26-2", "active",
        "What closes the gate", "Prohibited use", "A. Łukasik", "Approved with conditions",
        "Pending", "DEMO TRUST", "21 November 2026", TINY.run.digest[:12],
    ):  # fmt: skip
        assert wanted in first, wanted


def test_every_page_is_headed_and_numbered(data: bytes) -> None:
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    for number, page in enumerate(pages, start=1):
        text = words(page)
        assert f"Page {number} of {len(pages)}" in text
        assert f"Run {TINY.run.digest[:12]} · policy sr_26_2 1.0.0 · DEMO TRUST" in text
        assert ("Model validation report: mamba_regime 0.4.2" in text) == (number > 1)


def test_run_is_attached_once_with_the_given_date(data: bytes) -> None:
    reader = pypdf.PdfReader(io.BytesIO(data))
    assert reader.attachments == {"run.json": [TINY.run.to_json()]}
    with pikepdf.open(io.BytesIO(data)) as pdf:
        (listed,) = pdf.Root.AF
        assert str(listed.EF.F.Params.CreationDate).startswith("D:20261121090000")
        with pdf.open_metadata() as metadata:
            assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"]) == ("3", "A")


def test_file_is_normalised_for_signing(data: bytes) -> None:
    with pikepdf.open(io.BytesIO(data)) as pdf:
        kinds = [str(o.get("/Type", "")) for o in pdf.objects if isinstance(o, pikepdf.Stream)]
        assert "/ObjStm" not in kinds
        for page in pdf.pages:
            used = {
                str(operand)
                for operands, operator in pikepdf.parse_content_stream(page)
                if str(operator) in ("Do", "Tf")
                for operand in operands
                if isinstance(operand, pikepdf.Name)
            }
            resources = page.obj.Resources
            held = {*resources.get("/XObject", {}), *resources.get("/Font", {})}
            assert held <= used
    assert normalised(data, pikepdf) == normalised(normalised(data, pikepdf), pikepdf)


def test_figures_have_alternate_text_and_fonts_are_embedded(data: bytes) -> None:
    with pikepdf.open(io.BytesIO(data)) as pdf:
        alternates = [
            str(o.Alt) for o in pdf.objects if isinstance(o, pikepdf.Dictionary) and "/Alt" in o
        ]
        assert len(alternates) == len(TINY.exhibits)
        assert any("Population stability index" in text for text in alternates)
        fonts = [
            o
            for o in pdf.objects
            if isinstance(o, pikepdf.Dictionary) and o.get("/Type") == "/FontDescriptor"
        ]
        assert fonts
        assert all({"/FontFile2", "/FontFile3"} & set(font) for font in fonts)


def test_same_bytes_again(data: bytes) -> None:
    again = render(TINY.run, TINY.exhibits, "pdf", signoffs=signoffs(TINY.run), dated=DATED)
    assert again == data


def test_hostile_texts_are_printed_not_obeyed() -> None:
    bad = hostile()
    printed = render(bad.run, bad.exhibits, "pdf")
    reader = pypdf.PdfReader(io.BytesIO(printed))
    text = " ".join(words(page) for page in reader.pages)
    assert "<script>alert(1)</script>" in text
    assert b"/JavaScript" not in printed
    assert list(reader.attachments) == ["run.json"]


def test_a_report_without_a_date_carries_none() -> None:
    printed = render(TINY.run, TINY.exhibits, "pdf")
    assert printed == render(TINY.run, TINY.exhibits, "pdf")
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        (listed,) = pdf.Root.AF
        assert "/CreationDate" not in pdf.docinfo
        assert "/ModDate" not in pdf.docinfo
        assert "/CreationDate" not in listed.EF.F.Params


def test_a_signed_rendering_is_dated_by_its_last_signature() -> None:
    printed = render(TINY.run, TINY.exhibits, "pdf", signoffs=signoffs(TINY.run))
    reader = pypdf.PdfReader(io.BytesIO(printed))
    first = words(reader.pages[0])
    assert "Last signed 20 November 2026" in first
    for wanted in ("B. Okafor", "Validator", "2026-11-20 16:05 UTC", "Pending"):
        assert wanted in first
    assert "Nobody had signed" not in first
    made = reader.metadata and reader.metadata.creation_date
    assert made == datetime(2026, 11, 20, 16, 5, tzinfo=UTC)


def test_the_limits_of_use_stand_on_the_first_two_pages(data: bytes) -> None:
    front = " ".join(words(page) for page in pypdf.PdfReader(io.BytesIO(data)).pages[:2])
    assert "Single stocks, leverage, intraday use." in front
    assert "No crash in the training window before 1987." in front


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "http://127.0.0.1:9/x", "https://example.org/", "ftp://h/f"]
)
def test_fetcher_stops_at_anything_but_data(url: str) -> None:
    from weasyprint import HTML
    from weasyprint.urls import FatalURLFetchingError

    with pytest.raises(FatalURLFetchingError):
        closed_fetcher().fetch(url)
    with pytest.raises(FatalURLFetchingError):
        HTML(string=f'<img src="{url}">', url_fetcher=closed_fetcher()).write_pdf()


def test_fetcher_reads_data() -> None:
    assert closed_fetcher().fetch("data:text/plain,hello").read() == b"hello"


class Broken(MetaPathFinder):
    """Fails to import WeasyPrint as a machine without Pango does."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> Any:
        if name == "weasyprint":
            raise OSError("cannot load library 'libgobject-2.0-0'")
        return None


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingDependencyError) as caught:
        render(TINY.run, TINY.exhibits, "pdf")
    assert all(package in str(caught.value) for package in SYSTEM_PACKAGES)
    assert "libgobject" in str(caught.value)


@pytest.mark.slow
def test_full_report_of_twelve_checks() -> None:
    full = sample("full")
    reader = pypdf.PdfReader(io.BytesIO(render(full.run, full.exhibits, "pdf")))
    assert 12 <= len(reader.pages) <= 40
    text = " ".join(words(page) for page in reader.pages)
    for section in full.run.cards:
        assert section.title in text
    for finding in full.run.findings:
        if finding.verdict != "pass":
            assert finding.id.split("[")[0] in text
    assert "Figure 38." in text
    assert "Reconstructed minute path" in text
    titles = [item.title for item in reader.outline if not isinstance(item, list)]
    assert any("Coverage of the policy" in str(title) for title in titles)
