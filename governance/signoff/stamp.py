"""What people see of the signatures: a sign-off page with one box a role, and the stamps in them.

Both are set by WeasyPrint with an embedded font, as PDF/A demands and pyHanko's own stamps do not
do. A stamp is decoration: what counts are the signed attributes and the sign-off record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from finchaos.core.errors import MissingDependencyError
from finchaos.core.extras import installing
from governance.record import ROLES, Role, Run
from governance.signoff.demo import DEMO

_PAGE_MM = (210.0, 297.0)
_LEFT_MM, _WIDTH_MM, _HEIGHT_MM = 20.0, 170.0, 44.0
_TOP_MM: Mapping[Role, float] = {"developer": 96.0, "validator": 152.0, "approver": 208.0}
_PT = 72 / 25.4
_LONGEST_CONDITIONS = 420
"""Characters of the conditions that fit a stamp; the record keeps all of them."""

DECISIONS = {
    "approve": "approves",
    "approve_with_conditions": "approves with conditions",
    "reject": "rejects",
}

_STYLE = """
@font-face { font-family: stamp; src: url(font:DejaVuSans.ttf) }
@font-face { font-family: stamp; font-weight: bold; src: url(font:DejaVuSans-Bold.ttf) }
@page { size: %(width)smm %(height)smm; margin: 0 }
* { margin: 0; padding: 0; box-sizing: border-box }
body { font: 8.5pt/1.35 stamp; color: #1a1f29 }
h1 { font-size: 17pt; font-weight: bold; margin-bottom: 4mm }
p { margin-bottom: 2mm }
.page { padding: 18mm 20mm }
.digest { font-size: 7.5pt; overflow-wrap: anywhere }
.demo { color: #9b1c1c; font-weight: bold }
.banner { border: 0.4mm solid #9b1c1c; padding: 2mm 3mm; margin-bottom: 4mm }
.box { position: absolute; left: %(left)smm; width: %(box_width)smm; height: %(box_height)smm;
       border: 0.25mm solid #8a93a3 }
.caption { position: absolute; left: %(left)smm; font-weight: bold; font-size: 10pt }
.stamp { width: %(box_width)smm; height: %(box_height)smm; padding: 3mm 4mm; overflow: hidden }
.stamp h2 { font-size: 12pt; font-weight: bold }
.stamp .demo { float: right; font-size: 11pt }
"""


def box(role: Role) -> tuple[int, int, int, int]:
    """Where a role signs on the sign-off page: left, bottom, right, top in points."""
    left, right = _LEFT_MM * _PT, (_LEFT_MM + _WIDTH_MM) * _PT
    top = (_PAGE_MM[1] - _TOP_MM[role]) * _PT
    return round(left), round(top - _HEIGHT_MM * _PT), round(right), round(top)


def sign_off_page(run: Run, *, demo: bool) -> bytes:
    """The page that signatures are put on, as a PDF of one page.

    Parameters
    ----------
    run : Run
    demo : bool
        Whether the signers are issued by a demonstration root.
    """
    card = run.subject.card
    banner = (
        f'<p class="banner demo">{DEMO}: the signers on this page come from a demonstration '
        "authority. They prove nothing about who signed.</p>"
    )
    served = [
        f"{row.clause} by the signature of the {' and the '.join(row.sign_off)}"
        for row in run.coverage
        if row.sign_off
    ]
    waiting = f"Clauses that they show as awaiting sign-off: {'; '.join(served)}." * bool(served)
    boxes = "".join(
        f'<p class="caption" style="top:{_TOP_MM[role] - 6}mm">{role.capitalize()}</p>'
        f'<div class="box" style="top:{_TOP_MM[role]}mm"></div>'
        for role in ROLES
    )
    return _printed(
        f'<div class="page"><h1>Sign-off</h1>{banner if demo else ""}'
        f"<p>{escape(str(card.get('name', '')))} {escape(str(card.get('version', '')))}, judged "
        f"under {escape(run.policy.title)} {escape(run.policy.version)}. "
        f"Gate: <b>{escape(run.gate)}</b>.</p>"
        f'<p class="digest">Run {run.digest}</p>'
        "<p>Each box takes one digital signature with name, decision and time; an empty box is not "
        "signed. The first signature certifies the document: from then on nothing but the "
        "remaining boxes may be filled, so that the pages after this one stay as they were before "
        f"anybody signed.{f' {escape(waiting)}' if waiting else ''} Who had to sign, and what else "
        "was signed, is in the sign-off records kept with the run; verify those.</p>"
        f"</div>{boxes}",
        *_PAGE_MM,
    )


def stamp(
    *,
    role: Role,
    person: str,
    decision: str,
    conditions: str,
    at: str,
    run: str,
    demo: bool,
    clauses: Sequence[str] = (),
) -> bytes:
    """The visible part of one signature, as a PDF of one page the size of its box.

    ``clauses`` are those of the policy that this person's sign-off is evidence for.
    """
    served = f"Evidence for clause{'s' * (len(clauses) > 1)} {', '.join(clauses)} of the policy."
    said = " ".join(conditions.split())
    if len(said) > _LONGEST_CONDITIONS:
        said = said[:_LONGEST_CONDITIONS].rstrip() + " … (in full in the sign-off record)"
    return _printed(
        f'<div class="stamp">{f"<span class=demo>{DEMO}</span>" if demo else ""}'
        f"<h2>{escape(person)}</h2>"
        f"<p><b>{role.capitalize()} {DECISIONS[decision]}</b>, {escape(at)}"
        f'<br><span class="digest">Run {escape(run)}</span></p>'
        f"{f'<p>{escape(served)}</p>' if clauses else ''}"
        f"{f'<p>Conditions: {escape(said)}</p>' if said else ''}</div>",
        _WIDTH_MM,
        _HEIGHT_MM,
    )


def _printed(body: str, width: float, height: float) -> bytes:
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            "signing a PDF needs WeasyPrint and the Pango libraries",
            got=str(error).splitlines()[0],
            remedy=installing("report"),
        ) from error
    style = _STYLE % {
        "width": width,
        "height": height,
        "left": _LEFT_MM,
        "box_width": _WIDTH_MM,
        "box_height": _HEIGHT_MM,
    }
    chatter = logging.getLogger("fontTools"), logging.getLogger("weasyprint")
    levels = [logger.level for logger in chatter]
    for logger in chatter:
        logger.setLevel(logging.ERROR)
    try:
        page = weasyprint.HTML(string=f"<style>{style}</style>{body}", url_fetcher=_fonts_only())
        return page.write_pdf()
    finally:
        for logger, level in zip(chatter, levels, strict=True):
            logger.setLevel(level)


def _fonts_only() -> Any:
    """A fetcher that opens ``font:NAME``, a font that matplotlib ships, and nothing else.

    So a stamp looks the same on every machine, and no text in it can make it read a file.
    """
    import matplotlib
    from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"

    class FontFetcher(URLFetcher):
        """Refuses every other address loudly."""

        def fetch(self, url: str, headers: Any = None) -> Any:
            name = url.removeprefix("font:")
            if name == url or name != Path(name).name:
                raise FatalURLFetchingError(f"a stamp may not refer to {url[:200]}")
            return URLFetcherResponse(url, (folder / name).read_bytes())

    return FontFetcher()
