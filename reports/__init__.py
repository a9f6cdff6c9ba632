"""Reports, rendered from a Run and its exhibits and from nothing else.

A format is a module in ``reports/formats/`` with ``EXTENSION``, ``MEDIA_TYPE`` and
``render(view) -> bytes``; its file name is its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from finchaos.core import registry

if TYPE_CHECKING:
    from governance.record import Exhibit, Run, SignOff


def format_names() -> tuple[str, ...]:
    """Names of all formats."""
    return registry.names("reports.formats")


def render(
    run: Run,
    exhibits: Mapping[str, Exhibit],
    format: str,
    *,
    signoffs: Sequence[SignOff] = (),
    dated: datetime | None = None,
    program: str = "finchaos",
    reproduction: str = "validate plan.yaml",
) -> bytes:
    """The report of a Run in one format. The same arguments give the same bytes.

    Parameters
    ----------
    run : Run
    exhibits : mapping of digest to Exhibit
        At least those that the Run names.
    format : str
        One of :func:`format_names`.
    signoffs : sequence of SignOff
        Decisions made so far, oldest first; roles without one are shown as pending. Pages under
        a demonstration root of trust are marked so.
    dated : datetime, optional
        Date of the report, with time zone. A Run carries no time; without a date the report
        has that of the last signature, and none if there is no signature either.
    program : str
        How its readers call the command, for the commands that the report names.
    reproduction : str
        What they ask of it to make the record anew.

    Raises
    ------
    UnknownNameError
        If there is no such format.
    IntegrityError
        If an exhibit is missing or altered, or a sign-off belongs to another Run.
    MissingDependencyError
        If the format needs a package or library that is absent.
    """
    made = render_all(
        run,
        exhibits,
        (format,),
        signoffs=signoffs,
        dated=dated,
        program=program,
        reproduction=reproduction,
    )
    return made[format]


def render_all(
    run: Run,
    exhibits: Mapping[str, Exhibit],
    formats: Iterable[str],
    *,
    signoffs: Sequence[SignOff] = (),
    dated: datetime | None = None,
    program: str = "finchaos",
    reproduction: str = "validate plan.yaml",
) -> dict[str, bytes]:
    """Several formats at once, by name; every chart is drawn only once. See :func:`render`."""
    from reports.view import report_view

    modules = {name: registry.module("reports.formats", name) for name in formats}
    view = report_view(
        run,
        exhibits,
        signoffs=signoffs,
        dated=dated,
        program=program,
        reproduction=reproduction,
    )
    return {name: module.render(view) for name, module in modules.items()}
