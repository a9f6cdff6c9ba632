"""The Run itself: canonical JSON, whose SHA-256 is the Run's digest."""

from __future__ import annotations

from reports.view import ReportView

EXTENSION = "json"
MEDIA_TYPE = "application/json"


def render(view: ReportView) -> bytes:
    """The record's own bytes."""
    return view.run.to_json()
