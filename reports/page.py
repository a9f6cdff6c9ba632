"""The view and the template make one self-contained page, for the screen or for printing."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.concerns import SHOWN_CONCERNS
from reports.figures import Figure
from reports.judgements import VERDICT_NAMES
from reports.numbers import unit_style
from reports.plain_text import without_controls
from reports.provenance import GLOSSARY
from reports.tables import words
from reports.view import ReportView
from reports.zoom import embedded_json, zoom_data

Medium = Literal["screen", "print"]

_FACES = (
    ("Source Sans 3", 400, "source-sans-3-latin-400-normal.woff2"),
    ("Source Sans 3", 600, "source-sans-3-latin-600-normal.woff2"),
    ("Source Sans 3 Ext", 400, "source-sans-3-latin-ext-400-normal.woff2"),
    ("Source Sans 3 Greek", 400, "source-sans-3-greek-400-normal.woff2"),
)


def page(view: ReportView, medium: Medium) -> str:
    """The report as one HTML document that refers to nothing outside itself.

    Parameters
    ----------
    view : ReportView
    medium : {"screen", "print"}
        ``screen``: charts inline, time series zoom where JavaScript runs. ``print``: charts as
        ``data:`` images, no script; what the PDF is made of.
    """
    scripts = (
        () if medium == "print" else (_resource("vendor/uPlot.iife.min.js"), _resource("zoom.js"))
    )
    own = ("print.css",) if medium == "print" else ("vendor/uPlot.min.css", "screen.css")
    environment = templates()
    environment.filters["words"] = words
    environment.filters["unit"] = lambda unit: unit_style(unit).heading
    environment.filters["picture"] = _picture
    environment.filters["day"] = _day
    template = environment.get_template("validation.html.j2")
    text = template.render(
        view=view,
        run=view.run,
        card=view.run.subject.card,
        medium=medium,
        stamp=view.dated.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if view.dated else "",
        css=stylesheet(*own),
        scripts=[Markup(script) for script in scripts],  # noqa: S704  (our own files)
        policy=content_security(scripts),
        zoom=_zoom if medium == "screen" else lambda figure: None,
        verdict_names=VERDICT_NAMES,
        glossary=GLOSSARY,
        shown_concerns=SHOWN_CONCERNS,
    )
    return without_controls(text)


def templates() -> Environment:
    """Where the templates of all pages are; a name that is not given is an error."""
    return Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def stylesheet(*names: str) -> Markup:
    """Typeface, house style and further style sheets, as the content of one ``<style>``."""
    styles = [_font_faces(), *(_resource(name) for name in ("style.css", *names))]
    return Markup("\n".join(styles))  # noqa: S704  (our own files)


def content_security(scripts: tuple[str, ...]) -> str:
    """Nothing may be loaded, sent or run but the page's own scripts, named by hash."""
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "font-src data:; base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    return files("reports").joinpath("templates", *name.split("/")).read_text(encoding="utf-8")


def _font_faces() -> str:
    rules = []
    for family, weight, name in _FACES:
        data = files("reports").joinpath("templates", "vendor", name).read_bytes()
        encoded = base64.b64encode(data).decode()
        rules.append(
            f"@font-face{{font-family:'{family}';font-weight:{weight};"
            f"src:url(data:font/woff2;base64,{encoded}) format('woff2')}}"
        )
    return "\n".join(rules)


def _picture(figure: Figure, medium: Medium) -> Markup:
    """The chart as an element; its text was escaped when the SVG was written."""
    if medium == "screen":
        return Markup(figure.svg)  # noqa: S704
    encoded = base64.b64encode(figure.svg.encode()).decode()
    return Markup('<img src="data:image/svg+xml;base64,{}" alt="{}">').format(
        Markup(encoded),  # noqa: S704  (base64)
        figure.description,
    )


def _zoom(figure: Figure) -> Markup | None:
    data: Any = zoom_data(figure.exhibit)
    return None if data is None else Markup(embedded_json(data))  # noqa: S704  (has no '<')


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"
