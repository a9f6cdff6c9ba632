"""Which reports were rendered from a run: recorded in the audit chain, so that none is swapped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from finchaos.core.errors import IntegrityError
from finchaos.core.provenance import parse_json
from governance.signoff.audit import Chain, locked_chain, read_chain
from governance.signoff.manifest import RENDERED, REPORT_JSON, manifest

ACTION = "reports rendered"


def record_reports(folder: Path, run_digest: str, store_root: Path, at: str) -> None:
    """Record the digests of a run's reports in the audit chain; nothing if they stand there.

    Parameters
    ----------
    folder : Path
        The run's folder.
    run_digest : str
    store_root : Path
    at : str
        When, ISO 8601 UTC.
    """
    present = {path: digest for path, digest in manifest(folder).items() if path in RENDERED}
    with locked_chain(store_root) as chain:
        chain.discard_torn_tail("finchaos", at)
        if (rendered(chain.chain, run_digest) or {}) != present:
            chain.append(ACTION, "finchaos", {"run": run_digest, "files": present}, at)


def intact_reports(folder: Path, run_digest: str) -> set[str]:
    """Names of the reports that are there with the bytes recorded when they were rendered."""
    recorded = rendered(read_chain(folder.parent), run_digest) or {}
    present = manifest(folder)
    return {Path(path).name for path in recorded if recorded[path] == present.get(path)}


def require_no_others(folder: Path, names: Collection[str]) -> None:
    """Check that no report lies there but these, so that a swapped one is never recorded.

    Raises
    ------
    IntegrityError
        If another one does.
    """
    reports = {path for path in manifest(folder) if path in RENDERED}
    if others := sorted(path for path in reports if Path(path).name not in names):
        raise IntegrityError(
            "there are reports that were not rendered from the run, or were changed since",
            got=", ".join(others),
            remedy="remove them, or render those formats too",
        )


def rendered(chain: Chain, run: str) -> dict[str, str] | None:
    """Path to SHA-256 of the reports last recorded for a run; None if they never were."""
    found: dict[str, str] | None = None
    for entry in chain.entries:
        if entry.action == ACTION:
            body = parse_json(entry.body)
            if body.get("run") == run:
                found = dict(body["files"])
    return found


def require_rendered(present: Mapping[str, str], chain: Chain, run: str) -> None:
    """Check that reports are those that were rendered, if the chain says which.

    Raises
    ------
    IntegrityError
        If one is missing, was changed or was added, or the JSON report is not the run itself.
    """
    if present.get(REPORT_JSON, run) != run:
        raise IntegrityError(
            f"{REPORT_JSON} is not the run",
            expected=f"SHA-256 {run}, that of run.json",
            got=present[REPORT_JSON],
        )
    recorded = rendered(chain, run)
    if recorded is None:
        return
    found = {path: digest for path, digest in present.items() if path in RENDERED}
    for path in sorted(recorded.keys() | found.keys()):
        if recorded.get(path) != found.get(path):
            raise IntegrityError(
                f"{path} is not what was rendered from the run",
                expected=f"SHA-256 {recorded.get(path, 'of no such file')}",
                got=found.get(path, "no file"),
                remedy="restore it, or before anybody signs remove it and render it again "
                "with 'finchaos report'",
            )


def require_recorded(present: Mapping[str, str], chain: Chain, run: str) -> None:
    """Check that the chain says which reports were rendered, and that they are those.

    Raises
    ------
    IntegrityError
        If it does not say, or :func:`require_rendered` finds another one.
    """
    if rendered(chain, run) is None:
        raise IntegrityError(
            "nothing shows that the reports were rendered from the run",
            expected="an entry of the audit chain with their digests",
            remedy="remove the files below report/ and render with 'finchaos report'",
        )
    require_rendered(present, chain, run)
