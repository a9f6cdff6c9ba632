"""The store: sealed runs by digest, and evidence already measured.

::

    <store>/<run digest>/run.json             canonical JSON of the Run
    <store>/<run digest>/exhibits/<sha>.json  tables behind the figures
    <store>/<run digest>/timings.json         wall times and host facts, outside the digest
    <store>/<run digest>/report/              what was rendered from the Run
    <store>/<run digest>/signoffs/            signed decisions
    <store>/audit.jsonl                       hash chain of everything that happened
    <store>/.evidence/<key>.json              measurements by inputs, for resuming
    <store>/.begun/<key>.json                 plans whose measuring began, finished or not

A run appears by one rename of a complete, flushed folder: there is never half a run.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.files import sync_directory, write_atomic, write_synced
from finchaos.core.provenance import canonical_json, parse_json, sha256
from governance.record import Digest, Evidence, Exhibit, Record, Run

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_PREFIX = re.compile(r"^[0-9a-f]{6,64}$")


LATEST = "latest"
"""File that names the run sealed or validated last."""
ABANDONED_SECONDS = 3600.0
"""Age at which a folder under construction belongs to nobody any more."""


class Measurements(Record):
    """What one check measured on one set of inputs."""

    evidence: tuple[Evidence, ...]
    exhibits: tuple[Exhibit, ...]


class Remembered(Record):
    """Measurements as they are kept: with what they answer, and their digest against damage."""

    key: Digest
    content_digest: Digest
    content: Measurements


@dataclass(frozen=True)
class StoredRun:
    """A run as read back, verified.

    Attributes
    ----------
    run : Run
    exhibits : mapping of digest to Exhibit
    folder : Path
    """

    run: Run
    exhibits: Mapping[str, Exhibit]
    folder: Path


class Store:
    """Runs and measurements below one folder.

    Parameters
    ----------
    root : Path
        Created on first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder(self, digest: str) -> Path:
        """Folder of a run, whether it exists or not."""
        return self.root / digest

    def digests(self) -> tuple[str, ...]:
        """Digests of all complete runs, sorted."""
        if not self.root.is_dir():
            return ()
        return tuple(
            sorted(
                entry.name
                for entry in self.root.iterdir()
                if _DIGEST.match(entry.name) and (entry / "run.json").is_file()
            )
        )

    def resolve(self, name: str) -> str:
        """The digest that ``name`` means: a digest, its first characters, a folder or ``latest``.

        Raises
        ------
        InputError
            If no run, or more than one, fits.
        """
        known = self.digests()
        if name == "latest" and (self.root / LATEST).is_file():
            name = (self.root / LATEST).read_text(encoding="ascii").strip()
        name = Path(name).name if "/" in name else name
        fits = [digest for digest in known if digest.startswith(name)]
        if len(fits) != 1 or not _PREFIX.match(name):
            raise InputError(
                f"{name!r} does not name one run in {self.root}",
                expected="a run digest, at least six of its first characters, or 'latest'",
                got=f"{len(fits)} fitting runs",
                remedy=f"runs there: {', '.join(d[:12] for d in known) or 'none'}",
            )
        return fits[0]

    def seconds(self) -> dict[str, float]:
        """What each check took in the run validated last; empty if there is none.

        What cannot be read is worth no error: it only tells how long things may take.
        """
        try:
            last = (self.root / LATEST).read_text(encoding="ascii").strip()
            facts = parse_json((self.folder(last) / "timings.json").read_bytes())
            return {str(name): float(value) for name, value in facts["seconds"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def put(self, run: Run, exhibits: Iterable[Exhibit], timings: Mapping[str, Any]) -> StoredRun:
        """Write a run; if it exists already, it is verified and left as it is."""
        if not self.folder(run.digest).exists():
            self._build(run, exhibits, timings)
        stored = self.load(run.digest)
        write_atomic(self.root / LATEST, f"{run.digest}\n".encode())
        return stored

    def _build(self, run: Run, exhibits: Iterable[Exhibit], timings: Mapping[str, Any]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=self.root))
        try:
            (building / "exhibits").mkdir()
            for exhibit in exhibits:
                write_synced(building / "exhibits" / f"{exhibit.digest}.json", exhibit.to_json())
            write_synced(building / "timings.json", canonical_json(dict(timings)))
            write_synced(building / "run.json", run.to_json())
            sync_directory(building / "exhibits")
            sync_directory(building)
            building.chmod(0o755)
            building.rename(self.folder(run.digest))
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        sync_directory(self.root)

    def _sweep(self) -> None:
        """Remove what an interrupted write of an earlier process left behind."""
        for leftover in self.root.glob(".building-*"):
            if time.time() - leftover.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)

    def load(self, digest: str) -> StoredRun:
        """Read a run back and verify it and its exhibits against their digests.

        Raises
        ------
        IntegrityError
            If anything is missing or a byte differs.
        """
        folder = self.folder(digest)
        run = Run.from_json(_verified(folder / "run.json", digest))
        exhibits = {
            ref.digest: Exhibit.from_json(
                _verified(folder / "exhibits" / f"{ref.digest}.json", ref.digest)
            )
            for ref in run.exhibits
        }
        return StoredRun(run, exhibits, folder)

    def begin(self, plan: str, identity: str) -> None:
        """Note that a plan is being measured, so that results of it may be known from now on."""
        begun = Begun(plan=plan, identity=identity)
        path = self.root / ".begun" / f"{begun.digest}.json"
        if not path.is_file():
            write_atomic(path, begun.to_json())

    def begun(self) -> tuple[Begun, ...]:
        """All plans whose measuring ever began here, in no particular order."""
        return tuple(
            Begun.from_json(path.read_bytes()) for path in (self.root / ".begun").glob("*.json")
        )

    def remembered(self, key: str) -> Measurements | None:
        """Measurements stored under ``key``, or None; a damaged file counts as none."""
        path = self.root / ".evidence" / f"{key}.json"
        if not path.is_file():
            return None
        try:
            kept = Remembered.from_json(path.read_bytes())
        except IntegrityError:
            kept = None
        if kept is None or kept.key != key or kept.content.digest != kept.content_digest:
            path.unlink()
            return None
        return kept.content

    def remember(self, key: str, measurements: Measurements) -> None:
        """Store measurements under ``key``."""
        kept = Remembered(key=key, content_digest=measurements.digest, content=measurements)
        write_atomic(self.root / ".evidence" / f"{key}.json", kept.to_json())


class Begun(Record):
    """A validation that began to measure."""

    plan: str
    """The plan's name."""
    identity: Digest
    """Of model and bars, by content or, from callers without files, as the plan spells them."""


def _verified(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read", got=str(error)) from error
    if sha256(data) != digest:
        raise IntegrityError(
            f"{path} was changed after it was sealed",
            expected=f"SHA-256 {digest}",
            got=sha256(data),
            remedy="restore it from a copy or validate again; do not rely on this run",
        )
    return data
