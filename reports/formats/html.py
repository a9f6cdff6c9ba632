"""The report as one HTML file that works offline."""

from __future__ import annotations

from reports.page import page
from reports.view import ReportView

EXTENSION = "html"
MEDIA_TYPE = "text/html; charset=utf-8"


def render(view: ReportView) -> bytes:
    """The page for the screen."""
    return page(view, "screen").encode()
