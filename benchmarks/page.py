"""One page of all the tables that a folder holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from finchaos.core.files import write_atomic

PAGE = "README.md"


def write_page(folder: Path, names: Iterable[str], page: Path | None = None) -> Path | None:
    """Gather ``NAME.md`` of every benchmark into one page; None if there is none.

    Parameters
    ----------
    folder : pathlib.Path
        Where :meth:`benchmarks.report.Report.write` put its files.
    names : iterable of str
        Of benchmarks, in the order of the page.
    page : pathlib.Path, optional
        ``README.md`` in the folder by default.
    """
    present = {name: folder / f"{name}.md" for name in names if (folder / f"{name}.md").exists()}
    if not present:
        return None
    parts = ["# Benchmarks\n", ", ".join(f"[{name}](#{name})" for name in present) + "\n"]
    parts += [f"## {name}\n\n{path.read_text()}" for name, path in present.items()]
    place = page or folder / PAGE
    write_atomic(place, "\n".join(parts).encode())
    return place
