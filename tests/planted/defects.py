"""The defects of the self-test, planted in the subject that has everything."""

from __future__ import annotations

from finchaos.core.subject import Subject
from governance.selftest.matrix import DEFECTS
from governance.selftest.volatility_regime import VolatilityRegime

_BY_NAME = {one.name: one for one in DEFECTS}


def planted(name: str) -> Subject:
    """A sound :class:`VolatilityRegime` with the defect of this name."""
    return _BY_NAME[name].plant(VolatilityRegime())


def named(value: object) -> str:
    """What a parameter of a test is called: the defect, or the class that has it."""
    if isinstance(value, set | frozenset):  # the same order in every worker
        return "-".join(sorted(map(str, value)))
    kind = type(value).__name__ if isinstance(value, VolatilityRegime) else str(value)
    return str(getattr(value, "defect", kind))
