"""Numbers, limits and intervals in words, for sentences that are sealed with the record."""

from __future__ import annotations

from governance.record import Evidence, Threshold

_OPERATORS = {
    "<": "below {}",
    "<=": "at most {}",
    ">": "above {}",
    ">=": "at least {}",
    "==": "exactly {}",
}


def amount(value: float, unit: str, *, at_least: bool = False) -> str:
    """A number with its unit; fractions and shares as percentages, lower bounds marked.

    Examples
    --------
    >>> amount(0.351, "fraction of capital"), amount(63.0, "bars", at_least=True)
    ('35.1 % of capital', 'at least 63 bars')
    >>> amount(1.0, "bars"), amount(0.233, "ratio p.a.")
    ('1 bar', '0.233 p.a.')
    """
    kind, _, rest = unit.partition(" ")
    value += 0.0  # no minus before zero
    if kind in ("fraction", "share"):
        said = f"{100 * value:.4g} % {rest}"
    elif kind == "ratio":
        said = f"{value:.4g} {rest}"
    else:
        one = abs(value) == 1 and unit in ("bars", "trips", "rows", "expectations")
        said = f"{value:.4g} {unit[:-1] if one else unit}"
    return f"{'at least ' if at_least else ''}{said.rstrip()}"


def limit(threshold: Threshold, unit: str) -> str:
    """A limit in words.

    Examples
    --------
    >>> limit(Threshold(operator="<=", limit=0.25), "share")
    'at most 25 %'
    """
    if threshold.upper is not None:
        return f"between {amount(threshold.limit, unit)} and {amount(threshold.upper, unit)}"
    return _OPERATORS[threshold.operator].format(amount(threshold.limit, unit))


def interval(evidence: Evidence) -> str:
    """Level and ends of an interval in words; empty where there is none."""
    found = evidence.interval
    if found is None:
        return ""
    low, high = amount(found.low, evidence.unit), amount(found.high, evidence.unit)
    return f"{100 * found.level:g} % interval {low} to {high}"
