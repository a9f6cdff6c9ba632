"""Hyper-parameters of a subject: the numbers that its developer chose and training does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

from finchaos.core.errors import InputError

Number = int | float


def is_number(value: object) -> bool:
    """Whether a value is an int or a float; truth values are neither.

    Examples
    --------
    >>> is_number(3), is_number(True), is_number("3")
    (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_names(subject: str, changed: Mapping[str, Number], known: Iterable[str]) -> None:
    """Refuse names that are no hyper-parameters of a subject, and values that are no numbers.

    Parameters
    ----------
    subject : str
        Its name, for the message.
    changed : mapping of name to number
    known : iterable of str

    Raises
    ------
    InputError
        If a name is unknown, or a value is not an int or a float.
    """
    names = list(known)
    wrong = [
        f"{name}={value!r}"
        for name, value in changed.items()
        if name not in names or not is_number(value)
    ]
    if wrong:
        raise InputError(
            f"{subject} has no such hyper-parameters",
            expected=f"numbers for some of: {', '.join(names) or 'none'}",
            got=", ".join(wrong),
        )


def differing(
    subject: str, changed: Mapping[str, Number], known: Mapping[str, Number]
) -> dict[str, Number]:
    """Those values that differ from what a subject has.

    Parameters
    ----------
    subject : str
        Its name, for the message.
    changed, known : mapping of name to number

    Raises
    ------
    InputError
        As :func:`check_names` does.
    """
    check_names(subject, changed, known)
    return {name: value for name, value in changed.items() if value != known[name]}


class HyperParameterFields:
    """For subjects that are dataclasses whose hyper-parameters are fields.

    All other fields must have defaults, those of an untrained subject.

    Attributes
    ----------
    hyper_fields : tuple of str
        Names of these fields, what decides most first.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Rule(HyperParameterFields):
    ...     hyper_fields = ("window",)
    ...     window: int = 20
    ...     limit: float | None = None
    >>> trained = Rule(limit=0.3)
    >>> trained.hyper_parameters, trained.with_hyper_parameters({"window": 16})
    ({'window': 20}, Rule(window=16, limit=None))
    """

    hyper_fields: ClassVar[tuple[str, ...]] = ()

    @property
    def hyper_parameters(self) -> dict[str, Number]:
        """Value by name, what decides most first."""
        return {name: getattr(self, name) for name in self.hyper_fields}

    def with_hyper_parameters(self, changed: Mapping[str, Number]) -> Self:
        """The untrained subject with these values.

        Raises
        ------
        InputError
            If there is no such hyper-parameter, or the subject refuses a value.
        """
        check_names(type(self).__name__, changed, self.hyper_fields)
        return type(self)(**{**self.hyper_parameters, **changed})
