"""What a Run records of the lock of its plan: when it was made, and what was changed after it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from finchaos.core.documents import Document


class LockChange(Document):
    """One thing that is not as it was locked."""

    part: Literal["plan", "file", "rule", "policy", "scenario", "code"]
    key: str
    """Path within the plan, of a file too; rule and field of it, name of the scenario."""
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
    results: tuple[str, ...] = ()
    """Which results were there, in words."""
    changes: tuple[LockChange, ...] = ()
    """What differs from the lock, plan first; empty if nothing does."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out ``results`` where there were none, so that old Runs keep their digest."""
        said: dict[str, Any] = handler(self)
        return {key: value for key, value in said.items() if value or key != "results"}
