"""A page of pictures with a table above them, complete in itself."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports.page import content_security, stylesheet, templates
from reports.pictures import Picture
from reports.plain_text import without_controls


def gallery(
    title: str,
    about: Sequence[str],
    pictures: Sequence[Picture],
    *,
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
) -> bytes:
    """One HTML document that refers to nothing outside itself.

    Parameters
    ----------
    title : str
    about : sequence of str
        Paragraphs below the title.
    pictures : sequence of Picture
    columns : sequence of str
    rows : sequence of sequence of str
        Cells as they are shown; the first of a row is its heading.
    """
    environment = templates()
    environment.filters["drawing"] = _drawing
    text = environment.get_template("gallery.html.j2").render(
        title=title,
        about=about,
        pictures=pictures,
        columns=columns,
        rows=rows,
        css=stylesheet("gallery.css"),
        policy=content_security(()),
    )
    return without_controls(text).encode()


def _drawing(picture: Picture) -> Markup:
    return Markup(picture.svg)  # noqa: S704  (its text was escaped when it was written)
