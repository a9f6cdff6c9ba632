"""Reports of planted defects for ``finchaos selftest --reports``: one folder, all or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from finchaos.cli import console
from finchaos.core import registry
from finchaos.core.errors import InputError
from finchaos.core.files import sync_directory, write_atomic, write_synced
from governance.policy import load_policy
from governance.selftest.planted import Defect
from governance.selftest.sealed import Planting, each, one_of_each_family, seal
from governance.store import Store
from reports import render_all
from reports.planted import TITLE, PlantedReport, planted_page, planted_report

INDEX = "index.md"
WITH_EVERYTHING = "volatility_regime"
"""The kind that every defect can be planted in; what is taken where no kind is chosen."""
SOUND_ABOUT = "Nothing: the same model as it is"


def require_room(folder: Path) -> None:
    """Refuse a folder that holds anything but reports of an earlier call.

    Raises
    ------
    InputError
        If it does, or is no folder.
    """
    if not folder.exists():
        return
    others = [folder.name]
    if folder.is_dir():
        ours = _is_index(folder / INDEX)
        others = sorted(item.name for item in folder.iterdir() if not (ours and _ours(item)))
    if others:
        raise InputError(
            f"{folder} holds other things than reports of planted defects",
            expected="a folder that is not there yet, is empty, or was made by this command",
            got=", ".join(others[:5]),
            remedy="name another folder with --reports",
        )


def _is_index(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(TITLE.encode())


def _ours(item: Path) -> bool:
    """Whether this command wrote a thing: its index, or a folder with nothing but reports."""
    if item.name == INDEX:
        return True
    inside = list(item.iterdir()) if item.is_dir() else []
    return bool(inside) and all(inner.stem == "report" for inner in inside)


@dataclass(frozen=True)
class Wanted:
    """The reports that were asked for.

    Attributes
    ----------
    folder : Path
        Where they go, each in a folder named for its defect.
    page : Path or None
        Where the index goes as well, without links.
    formats : tuple of str
    planted : tuple of Planting
    command : str
        What makes them again.
    seed : int
        Of the market.
    """

    folder: Path
    page: Path | None
    formats: tuple[str, ...]
    planted: tuple[Planting, ...]
    command: str
    seed: int

    def write(self, found: Mapping[str, Any], workers: int, say: Any) -> None:
        """Validate what is planted, and write reports and index; all of the folder or nothing."""
        made: list[tuple[PlantedReport, dict[str, bytes]]] = []
        parallel = Parallel(n_jobs=workers, return_as="generator")
        tasks = (delayed(_report)(item, self.formats, self.seed, self.command)
                 for item in self.planted)  # fmt: skip
        for one in parallel(tasks):
            made.append(one)
            say(f"report: {one[0].defect}", len(made), len(self.planted))
        told = [report for report, _ in made]
        severities = {key: rule.severity for key, rule in load_policy("baseline").rules.items()}
        index = partial(planted_page, told, found, severities, command=self.command)
        self._build(index(linked=_extensions(self.formats)), made)
        if self.page is not None:
            write_atomic(self.page, index().encode())

    def _build(self, index: str, made: Sequence[tuple[PlantedReport, dict[str, bytes]]]) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{self.folder.name}-"
        building = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder.parent))
        try:
            write_synced(building / INDEX, index.encode())
            for report, rendered in made:
                (building / report.defect).mkdir()
                for name, extension in zip(self.formats, _extensions(self.formats), strict=True):
                    path = building / report.defect / f"report.{extension}"
                    write_synced(path, rendered[name])
            building.chmod(0o755)
            _replace(self.folder, building)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def wanted(
    folder: Path,
    page: Path | None,
    formats: Sequence[str],
    *,
    kind: Sequence[str] | None,
    defect: Sequence[str] | None,
    kinds: Mapping[str, Callable[[], Any]],
    defects: Sequence[Defect],
    sound: int,
    seed: int,
) -> Wanted:
    """The reports of the defects named, else of one of each family, and of the sound model.

    Raises
    ------
    InputError
        If the folder holds other things, or a defect fits none of the kinds chosen.
    UnknownNameError
        If there is no such format.
    """
    require_room(folder)
    _extensions(formats)
    if not kind:
        kinds = {WITH_EVERYTHING: kinds[WITH_EVERYTHING]}
    planted = each(defects, kinds) if defect else one_of_each_family(defects, kinds)
    sound_twin = Planting(planted[0].kind, planted[0].make)
    parts = [console.program(), "selftest", f"--sound {sound}"]
    parts += [f"--seed {seed}"] if seed != 1 else []
    parts += [f"--kind {name}" for name in kind or ()]
    parts += [f"--defect {name}" for name in defect or ()]
    parts += [f"--report-format {name}" for name in formats if list(formats) != ["html"]]
    command = " ".join([*parts, "--reports FOLDER", *(["--page FILE"] if page else [])])
    return Wanted(folder, page, tuple(formats), (sound_twin, *planted), command, seed)


def _extensions(formats: Sequence[str]) -> list[str]:
    return [registry.module("reports.formats", name).EXTENSION for name in formats]


def _replace(folder: Path, building: Path) -> None:
    """Put the finished folder in the place of the old one, which was checked before."""
    require_room(folder)
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        folder.replace(old)
        building.rename(folder)
        shutil.rmtree(old)
    else:
        building.rename(folder)
    sync_directory(folder.parent)


def _report(
    item: Planting, formats: Sequence[str], seed: int, command: str
) -> tuple[PlantedReport, dict[str, bytes]]:
    program = console.program()
    asked = command.removeprefix(program).strip()
    with tempfile.TemporaryDirectory() as place:
        stored = seal(item, Store(Path(place)), seed=seed)
        rendered = render_all(
            stored.run, stored.exhibits, formats, program=program, reproduction=asked
        )
    defect = item.defect
    told = planted_report(
        stored.run,
        stored.exhibits,
        defect=item.name,
        family="" if defect is None else defect.family,
        about=SOUND_ABOUT if defect is None else defect.about,
        kind=item.kind,
    )
    return told, rendered
