"""The error tree.

::

    FinchaosError                 everything finchaos raises on purpose
    ├── InputError                the caller's input is at fault (command line exit code 2)
    │   ├── DataError             bars, windows or files of market data
    │   ├── DocumentError         a plan, policy, scenario or schema file
    │   ├── UnknownNameError      a name that no registry holds
    │   └── CheckpointError       a saved model that cannot be trusted
    ├── SubjectFault              the model under validation broke its contract
    ├── DivergenceError           training ran to a loss that is no number
    ├── MissingDependencyError    an optional package or system library is absent
    ├── FeedError                 a live feed that cannot be reached or understood
    ├── StorageError              a disk that does not take what must be kept
    └── IntegrityError            a stored record or signature does not verify

Every message says what is wrong, what was expected, what came and what to do.
"""

from __future__ import annotations


class FinchaosError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    what : str
        What is wrong, one clause.
    expected, got, remedy : str, optional
        What was expected, what came, and what to do about it.
    """

    def __init__(self, what: str, *, expected: str = "", got: str = "", remedy: str = "") -> None:
        self.what, self.expected, self.got, self.remedy = what, expected, got, remedy
        parts = [what]
        parts += [f"expected {expected}"] if expected else []
        parts += [f"got {got}"] if got else []
        parts += [remedy] if remedy else []
        super().__init__("; ".join(parts))


class InputError(FinchaosError):
    """What the caller supplied cannot be used."""


class DataError(InputError):
    """Market data that cannot be used as they are."""


class DocumentError(InputError):
    """A plan, policy, scenario or schema document that does not say a valid thing."""


class UnknownNameError(InputError):
    """A registered name was asked for that does not exist."""


class CheckpointError(InputError):
    """A saved model is damaged or belongs to another configuration."""


class SubjectFault(FinchaosError):  # noqa: N818  (a fault of the model, not of the caller)
    """The model under validation broke the Subject contract."""


class DivergenceError(FinchaosError):
    """Training ran to a loss, or a gradient, that is not a finite number."""


class MissingDependencyError(FinchaosError):
    """An optional package or system library is needed here and is absent."""


class FeedError(FinchaosError):
    """A live feed cannot be reached, or says nothing that can be understood."""


class StorageError(FinchaosError):
    """A disk did not take what must be kept before work may go on."""


class IntegrityError(FinchaosError):
    """A stored record, report or signature does not match its digest."""
