"""What verification found: named outcomes, and the sign-offs that can be relied on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from finchaos.core.errors import FinchaosError
from governance.record import SignOff
from governance.signoff.dsse import Envelope

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """Result of one check.

    Attributes
    ----------
    name : str
        What was checked.
    ok : bool
    detail : str
        What was found; for a failure, what is wrong.
    """

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class SignedRecord:
    """A sign-off with the envelope it came in.

    Attributes
    ----------
    record : SignOff
    envelope : Envelope
    digest : str
        SHA-256 of the envelope's file.
    """

    record: SignOff
    envelope: Envelope
    digest: str


@dataclass(frozen=True)
class Verification:
    """What was checked about a run's folder and with what result.

    Attributes
    ----------
    outcomes : tuple of Outcome
    sign_offs : tuple of SignedRecord
        Those that verify by themselves, in the order of roles; rely on them only if ``ok``.
    trust : str
        ``demo``, or the subject of the root that the signers lead to; empty without sign-offs.
    """

    outcomes: tuple[Outcome, ...]
    sign_offs: tuple[SignedRecord, ...]
    trust: str

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(outcome.ok for outcome in self.outcomes)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """What failed."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def records(self) -> tuple[SignOff, ...]:
        """The decisions, in the order of roles."""
        return tuple(signed.record for signed in self.sign_offs)

    def as_json(self) -> dict[str, Any]:
        """A JSON value for machines."""
        return {
            "ok": self.ok,
            "trust": self.trust,
            "outcomes": [{"name": o.name, "ok": o.ok, "detail": o.detail} for o in self.outcomes],
            "sign_offs": [record.model_dump(mode="json") for record in self.records],
        }


@dataclass
class Checks:
    """Runs checks one by one; none can stop the others."""

    outcomes: list[Outcome] = field(default_factory=list)

    def run(self, name: str, check: Callable[[], T], *, quiet: bool = False) -> T | None:
        """The check's result, or None if it failed; ``quiet`` records failures alone."""
        try:
            result = check()
        except FinchaosError as error:
            self.outcomes.append(Outcome(name, False, str(error)))
            return None
        except Exception as error:  # damaged files raise anything; whatever it is, it is a failure
            detail = f"cannot be checked: {type(error).__name__}: {error}"
            self.outcomes.append(Outcome(name, False, detail))
            return None
        if not quiet:
            detail = result if isinstance(result, str) else "verified"
            self.outcomes.append(Outcome(name, True, detail))
        return result
