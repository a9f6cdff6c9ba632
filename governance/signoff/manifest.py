"""The manifest: every file of a run's folder that a sign-off answers for, with its SHA-256."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from finchaos.core.errors import IntegrityError
from finchaos.core.provenance import sha256
from governance.record import ROLES, Run

SIGNED_PDF = "report/report.signed.pdf"
REPORT_PDF = "report/report.pdf"
REPORTS = ("report/report.html", REPORT_PDF)
REPORT_JSON = "report/report.json"
RENDERED = (*REPORTS, REPORT_JSON, "report/report.xml", "report/report.md")
"""What may lie among the reports, besides the signed copy."""
STAGE = ".signing"
"""Folder of a sign-off being made; see :mod:`governance.signoff.staging`."""


def envelope_path(role: str) -> str:
    """Where the signed envelope of a role's decision lies within the run's folder."""
    return f"signoffs/{role}.dsse.json"


_OWN = {SIGNED_PDF, *map(envelope_path, ROLES)}
"""Files that sign-offs make; each is bound by its own signature."""


def manifest(folder: Path) -> dict[str, str]:
    """Path within the folder to SHA-256, of every file except those that sign-offs make.

    Raises
    ------
    IntegrityError
        If the folder holds a link or anything else that is not a plain file.
    """
    return {
        path: sha256((folder / path).read_bytes())
        for path in files_below(folder)
        if path not in _OWN and PurePosixPath(path).parts[0] != STAGE
    }


def files_below(folder: Path) -> list[str]:
    """Paths of all files below ``folder``, relative with forward slashes, sorted."""
    found = []
    for base, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(base) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise IntegrityError(
                    f"{path} is neither a file nor a folder",
                    remedy="a run's folder holds plain files only; remove it",
                )
        found += [(Path(base) / name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def unexpected_files(run: Run, paths: Iterable[str]) -> list[str]:
    """Those of ``paths`` that no part of the toolkit puts into a run's folder."""
    known = {"run.json", "timings.json", *exhibit_paths(run)}
    return [path for path in paths if path not in known and path not in RENDERED]


def exhibit_paths(run: Run) -> list[str]:
    """Where the run's exhibits lie."""
    return [f"exhibits/{ref.digest}.json" for ref in run.exhibits]


def differences(signed: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """What has changed since a manifest was signed, one line a file."""
    lines = [f"{path} is missing" for path in sorted(signed.keys() - present.keys())]
    lines += [f"{path} was added" for path in sorted(present.keys() - signed.keys())]
    lines += [
        f"{path} was changed"
        for path in sorted(signed.keys() & present.keys())
        if signed[path] != present[path]
    ]
    return lines
