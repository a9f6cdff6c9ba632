"""Making the files of a sign-off appear together, whatever happens in between.

Everything is first written to ``.signing/`` in the run's folder. The entry in the audit chain is
what makes the sign-off count; only then the files move to their places. A process killed before
the entry leaves a stage that the next sign-off discards, one killed after it a stage that the next
sign-off completes. Until then verification reports it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from finchaos.core.files import sync_directory, write_synced
from finchaos.core.provenance import sha256
from governance.record import ROLES, Role
from governance.signoff.audit import Chain
from governance.signoff.manifest import SIGNED_PDF, STAGE, envelope_path

SIGN_OFF_ACTION = "sign_off"


def stage(folder: Path, role: Role, envelope: bytes, pdf: bytes | None) -> Path:
    """Write the files of a sign-off beside their places, complete and flushed."""
    building = Path(tempfile.mkdtemp(prefix=f"{STAGE}-", dir=folder))
    try:
        if pdf is not None:
            write_synced(building / Path(SIGNED_PDF).name, pdf)
        write_synced(building / Path(envelope_path(role)).name, envelope)
        sync_directory(building)
        building.rename(folder / STAGE)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_directory(folder)
    return folder / STAGE


def publish(folder: Path) -> None:
    """Move staged files to their places; can be repeated after an interruption."""
    staged = folder / STAGE
    for path in (SIGNED_PDF, *map(envelope_path, ROLES)):
        source, target = staged / Path(path).name, folder / path
        if source.is_file():
            target.parent.mkdir(exist_ok=True)
            source.chmod(0o644)
            source.replace(target)
            sync_directory(target.parent)
    staged.rmdir()
    sync_directory(folder)


def settle(folder: Path, chain: Chain) -> Role | None:
    """Complete an interrupted sign-off that is in the chain, discard one that is not.

    Returns
    -------
    Role or None
        The role whose sign-off was completed.
    """
    for unfinished in folder.glob(f"{STAGE}-*"):
        shutil.rmtree(unfinished)
    staged = folder / STAGE
    if not staged.is_dir():
        return None
    for role in ROLES:
        envelope = staged / Path(envelope_path(role)).name
        if not envelope.is_file():
            continue
        if chain.find(SIGN_OFF_ACTION, "envelope", sha256(envelope.read_bytes())) is None:
            shutil.rmtree(staged)
            return None
        publish(folder)
        return role
    shutil.rmtree(staged)  # the envelope has moved already, and it is the last to move
    return None


def interrupted(folder: Path) -> list[str]:
    """Names of stages left by an interrupted sign-off."""
    return sorted(path.name for path in folder.glob(f"{STAGE}*"))
