"""Cleaning matplotlib's SVG: unique ids, alternate text, the page's typeface, no metadata."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from reports.plain_text import without_controls

FONTS = "'Source Sans 3', 'DejaVu Sans', sans-serif"
_TAG = re.compile(r"^\{[^}]*\}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FAMILY = re.compile(r"(font:[^;]*?px )[^;]*")
_DROPPED = frozenset({"metadata", "style"})


def cleaned(raw: bytes, prefix: str, title: str, description: str) -> str:
    """One ``<svg>`` element that can stand inside a page beside others.

    Parameters
    ----------
    raw : bytes
        What matplotlib wrote.
    prefix : str
        Put before every id, so that figures of one page do not share any.
    title, description : str
        Read out to those who cannot see the picture.
    """
    text = without_controls(raw.decode())
    root = ElementTree.fromstring(text)  # noqa: S314  (matplotlib wrote it a moment ago)
    _strip(root, prefix)
    root.attrib.pop("version", None)
    attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-desc",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    root.attrib.update(attributes)
    for place, (tag, said) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{prefix}-{tag}"})
        element.text = without_controls(said)
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _strip(element: ElementTree.Element, prefix: str) -> None:
    """Remove namespaces, metadata, styles and white space; rename ids."""
    element.tag = _TAG.sub("", element.tag)
    element.text = None if element.text is None or not element.text.strip() else element.text
    element.tail = None if element.tail is None or not element.tail.strip() else element.tail
    renamed = {}
    for name, value in element.attrib.items():
        plain = _TAG.sub("", name)
        renamed[plain] = _attribute(plain, value, prefix)
    element.attrib.clear()
    element.attrib.update(renamed)
    for child in list(element):
        if _TAG.sub("", child.tag) in _DROPPED:
            element.remove(child)
        else:
            _strip(child, prefix)


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if name == "style":
        value = _FAMILY.sub(rf"\g<1>{FONTS}", value)
    return _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
