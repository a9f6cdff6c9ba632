"""The report as a PDF/A-3a file with the Run attached, normalised and ready to be signed.

WeasyPrint lays the page out; pikepdf then rewrites the file so that a signature on it can be
verified in seconds. The bytes returned are final: to change them after signing breaks the
signature. The same view gives the same bytes with the same fonts and library versions.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from finchaos.core.errors import MissingDependencyError
from finchaos.core.extras import installing
from reports.page import page
from reports.view import ReportView

EXTENSION = "pdf"
MEDIA_TYPE = "application/pdf"

SYSTEM_PACKAGES = (
    "libpango-1.0-0",
    "libpangoft2-1.0-0",
    "libharfbuzz-subset0",
    "fonts-dejavu-core",
)
ATTACHMENT = "run.json"
_NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)
"""Keeps the clock out of the attachment of an undated report; taken off again."""


def render(view: ReportView) -> bytes:
    """The printed page, with ``run.json`` attached.

    Raises
    ------
    MissingDependencyError
        If WeasyPrint, pikepdf or the system libraries they need are absent.
    """
    weasyprint, pikepdf = _libraries()
    fetcher = closed_fetcher()
    dated = view.dated or _NO_DATE
    run = weasyprint.Attachment(
        string=view.run.to_json(),
        name=ATTACHMENT,
        description=f"The Run {view.run.digest} that this report was rendered from",
        relationship="Source",
        created=dated,
        modified=dated,
        url_fetcher=fetcher,
    )
    with _quiet("weasyprint"), _quiet("fontTools"), warnings.catch_warnings():
        # WeasyPrint 70 leaves the closing of its own colour profile to the interpreter.
        warnings.filterwarnings("ignore", category=ResourceWarning)
        printed = weasyprint.HTML(
            string=page(view, "print"), url_fetcher=fetcher, media_type="print"
        ).write_pdf(
            attachments=[run],
            pdf_variant="pdf/a-3a",
            pdf_identifier=bytes.fromhex(view.run.digest)[:16],
        )
    return normalised(printed if view.dated else _undated(printed, pikepdf), pikepdf)


def _undated(printed: bytes, pikepdf: Any) -> bytes:
    """Without the dates that WeasyPrint demands of an attachment: the Run carries no time."""
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        for item in pdf.Root.get("/AF", []):
            for key in ("/CreationDate", "/ModDate"):
                if key in item.EF.F.Params:
                    del item.EF.F.Params[key]
        out = io.BytesIO()
        pdf.save(out, deterministic_id=True, fix_metadata_version=False)
    return out.getvalue()


def closed_fetcher() -> Any:
    """A fetcher for WeasyPrint that stops the rendering at any address but ``data:``."""
    from weasyprint.urls import FatalURLFetchingError, URLFetcher

    class ClosedFetcher(URLFetcher):
        """Refuses files and networks loudly; the library's own refusal only skips them."""

        def fetch(self, url: str, headers: Any = None) -> Any:
            if not url.startswith("data:"):
                raise FatalURLFetchingError(f"a report may not refer to {url[:200]}")
            return super().fetch(url, headers)

    return ClosedFetcher(allowed_protocols=["data"], allow_redirects=False)


def normalised(printed: bytes, pikepdf: Any) -> bytes:
    """Rewrite a PDF so that signatures on it verify fast; pages look the same.

    WeasyPrint gives all pages one dictionary of resources and packs the structure tree into
    object streams; a validator that follows every path to every object then takes minutes. Each
    page keeps only the fonts and drawings it uses, objects stand by themselves, and the
    attachment is listed once.
    """
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        pdf.remove_unreferenced_resources()
        listed: dict[Any, Any] = {}
        for item in pdf.Root.get("/AF", []):
            listed.setdefault(item.objgen, item)
        if listed:
            pdf.Root.AF = pikepdf.Array(list(listed.values()))
        out = io.BytesIO()
        pdf.save(
            out,
            object_stream_mode=pikepdf.ObjectStreamMode.disable,
            compress_streams=True,
            deterministic_id=True,
            fix_metadata_version=False,
        )
    return out.getvalue()


def _libraries() -> tuple[Any, Any]:
    try:
        import pikepdf
        import weasyprint
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            "the PDF report needs WeasyPrint, pikepdf and the Pango libraries",
            got=str(error).splitlines()[0],
            remedy=f"{installing('report')}, and on Debian apt-get install -y "
            f"--no-install-recommends {' '.join(SYSTEM_PACKAGES)}; the HTML report needs neither",
        ) from error
    return weasyprint, pikepdf


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library's chatter about harmless CSS and fonts out of the caller's log."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
