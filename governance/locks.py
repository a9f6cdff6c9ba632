"""What a Run records of the lock of its plan: when it was made, and what was changed after it."""

from __future__ import annotations

from typing import Literal

from finchaos.core.documents import Document


class LockChange(Document):
    """One thing that is not as it was locked."""

    part: Literal["plan", "rule", "policy", "scenario", "code"]
    key: str
    """Path within the plan, rule and field of it, name of the scenario."""
    locked: str
    """As locked, in JSON; ``absent`` where there was none."""
    now: str
    """As validated, in JSON; ``absent`` where there is none."""


class LockRef(Document):
    """The lock a Run was compared with."""

    digest: str
    """SHA-256 of the lock."""
    entry: str
    """Hash of its entry in the store's audit chain."""
    at: str
    """When it was locked, ISO 8601 UTC, by the clock of the machine."""
    after_results: bool
    """Whether results of the plan were there already when it was locked."""
    changes: tuple[LockChange, ...] = ()
    """What differs from the lock, plan first; empty if nothing does."""
