"""A folder of results: page, pictures, table and summary, whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finchaos.cli.laboratory import refuse_existing
from finchaos.core.files import write_atomic

PAGE = "gallery.html"


class Output:
    """A place that must be free; it appears once everything is written.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        If there is anything at the place.
    """

    def __init__(self, folder: Path) -> None:
        refuse_existing(folder)
        self._folder = folder

    @property
    def page(self) -> Path:
        """The page of pictures."""
        return self._folder / PAGE

    def write(
        self,
        *,
        title: str,
        about: Sequence[str],
        pictures: Sequence[Any],
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        table: Any,
        table_name: str,
        summary: Mapping[str, Any],
    ) -> None:
        """Write page, drawings, ``table`` (a pandas frame) as CSV and the summary as JSON."""
        from reports.gallery import gallery

        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{self._folder.name}-", dir=self._folder.parent
        ) as place:
            made = Path(place) / "made"
            page = gallery(title, about, pictures, columns=columns, rows=rows)
            write_atomic(made / PAGE, page)
            for picture in pictures:
                write_atomic(made / f"{picture.name}.svg", picture.svg.encode())
            write_atomic(made / f"{table_name}.csv", table.to_csv(lineterminator="\n").encode())
            write_atomic(
                made / "summary.json", (json.dumps(dict(summary), indent=1) + "\n").encode()
            )
            made.rename(self._folder)
