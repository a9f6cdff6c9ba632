"""Numbers as a committee reads them: in their unit, and never rounded away.

Evidence in ``fraction`` or ``share`` (with or without words behind, as in ``fraction per year``)
is shown in percent. A number that is not zero never appears as zero, and an observation that
breaches a limit never appears equal to it. The record keeps full precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from governance.record import Interval, Threshold, Window

MINUS = "\N{MINUS SIGN}"
AT_LEAST = "\N{GREATER-THAN OR EQUAL TO} "
"""Set before a value that is a lower bound."""
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-4, 1e9
_MOST_DIGITS = 15
_BARE = frozenset({"", "1", "none", "number", "count", "ratio", "dimensionless"})
_PLURALS = frozenset({" bars", " days", " years", " trades", " rows"})
_OPERATORS = {
    "<": "below {}",
    "<=": "at most {}",
    ">": "above {}",
    ">=": "at least {}",
    "==": "exactly {}",
}
_PARTS = {"value": "", "low": "low end of interval ", "high": "high end of interval "}


@dataclass(frozen=True)
class UnitStyle:
    """How values of one unit are shown.

    Attributes
    ----------
    scale : float
        Factor from the recorded value to the one shown.
    heading : str
        Unit as it stands in a table's head.
    suffix : str
        What follows a number in running text.
    """

    scale: float
    heading: str
    suffix: str


def unit_style(unit: str) -> UnitStyle:
    """How values of ``unit`` are shown.

    Examples
    --------
    >>> unit_style("fraction per year").heading, unit_style("ratio p.a.").heading
    ('% per year', 'p.a.')
    """
    first, _, rest = unit.strip().partition(" ")
    if first in ("fraction", "share"):
        tail = f"% {rest}".rstrip()
        return UnitStyle(100.0, tail, tail)
    if first in ("percent", "%"):
        tail = f"% {rest}".rstrip()
        return UnitStyle(1.0, tail, tail)
    if first == "ratio" and rest:
        return UnitStyle(1.0, rest, f" {rest}")
    if unit in _BARE:
        return UnitStyle(1.0, "", "")
    return UnitStyle(1.0, unit, f" {unit}")


def _scaled(value: float, unit: str) -> float:
    """The value as shown; rounded to 15 digits, which removes the noise of scaling."""
    scale = unit_style(unit).scale
    return value if scale == 1.0 else float(f"{value * scale:.{_MOST_DIGITS}g}")


def _decimals(magnitude: float, digits: int) -> int:
    """Decimals that show ``digits`` significant digits; whole numbers are never cut."""
    if magnitude == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(magnitude)))


def _plain(value: float, decimals: int) -> str:
    text = f"{abs(value):,.{decimals}f}"
    return f"{MINUS}{text}" if value < 0 and float(text.replace(",", "")) != 0 else text


def _shown(value: float, digits: int) -> str:
    magnitude = abs(value)
    if value == int(value) and magnitude < _LARGEST_PLAIN:
        return _plain(value, 0)
    if magnitude < _SMALLEST_PLAIN or magnitude >= _LARGEST_PLAIN:
        text = f"{value:.{digits - 1}e}"
        mantissa, exponent = text.split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if float(text) == value else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    text = _plain(value, _decimals(magnitude, digits))
    exact = _read_back(text) == value and "." in text
    return text.rstrip("0").rstrip(".") if exact else text


def number(value: float, unit: str = "", digits: int = 3) -> str:
    """A number without its unit, to ``digits`` significant digits or more.

    Examples
    --------
    >>> number(0.0312, "fraction"), number(1234567.0), number(3.2e-7)
    ('3.12', '1,234,567', '3.2e\N{MINUS SIGN}7')
    """
    return _shown(_scaled(value, unit), digits)


def quantity(value: float, unit: str = "", digits: int = 3) -> str:
    """A number with its unit.

    Examples
    --------
    >>> quantity(0.351, "fraction"), quantity(12.5, "bps"), quantity(1.0, "bars")
    ('35.1%', '12.5 bps', '1 bar')
    """
    suffix = unit_style(unit).suffix
    if abs(value) == 1 and suffix in _PLURALS:
        suffix = suffix[:-1]
    return f"{number(value, unit, digits)}{suffix}"


def aligned(values: Sequence[float], unit: str = "") -> tuple[str, ...]:
    """Numbers of one column with the same decimals, more for those that would lose their sense.

    Examples
    --------
    >>> aligned([1.2345, 0.8, 0.0004])
    ('1.23', '0.80', '0.0004')
    """
    scaled = [_scaled(value, unit) for value in values]
    largest = max((abs(value) for value in scaled), default=0.0)
    plain = _SMALLEST_PLAIN <= largest < _LARGEST_PLAIN
    if not plain or all(value == int(value) for value in scaled):
        return tuple(_shown(value, 3) for value in scaled)
    decimals = _decimals(largest, 3)
    least = 10.0 ** (1 - decimals)
    return tuple(
        _plain(value, decimals) if value == 0 or abs(value) >= least else _shown(value, 3)
        for value in scaled
    )


def interval_text(interval: Interval, unit: str = "") -> str:
    """Both ends of an interval, as ``low to high``.

    Examples
    --------
    >>> interval_text(Interval(low=0.1, high=0.25, level=0.95, method="block bootstrap"))
    '0.100 to 0.250'
    """
    low, high = aligned((interval.low, interval.high), unit)
    return f"{low} to {high}"


def limit_text(threshold: Threshold, unit: str = "", digits: int = 3) -> str:
    """A limit in words.

    Examples
    --------
    >>> limit_text(Threshold(operator="<=", limit=0.25), "fraction")
    'at most 25%'
    """
    if threshold.upper is not None:
        low, high = (quantity(x, unit, digits) for x in (threshold.limit, threshold.upper))
        return f"{_PARTS[threshold.on]}between {low} and {high}"
    words = _OPERATORS[threshold.operator].format(quantity(threshold.limit, unit, digits))
    return f"{_PARTS[threshold.on]}{words}"


def against(observed: float, threshold: Threshold, unit: str = "") -> tuple[str, str]:
    """Observation and limit with as many digits as it takes to tell one from the other.

    Examples
    --------
    >>> against(0.25003, Threshold(operator="<=", limit=0.25), "fraction")
    ('25.003%', 'at most 25%')
    """
    limits = {threshold.limit, observed if threshold.upper is None else threshold.upper}
    for digits in range(3, _MOST_DIGITS):
        shown = _read_back(number(observed, unit, digits))
        if all(x == observed or _read_back(number(x, unit, digits)) != shown for x in limits):
            break
    return quantity(observed, unit, digits), limit_text(threshold, unit)


def _read_back(text: str) -> float:
    return float(text.replace(",", "").replace(MINUS, "-"))


def period(window: Window) -> str:
    """First and last time of a window: days, or minutes where both fall on one day."""
    if window.start[:10] == window.end[:10] and len(window.start) > len("2000-01-01"):
        return f"{_minute(window.start)} to {window.end[11:16]}"
    return f"{window.start[:10]} to {window.end[:10]}"


def trained(window: Window, sample: str = "") -> str:
    """On what the subject that answered had been trained; empty if it was not trained.

    Parameters
    ----------
    window : Window
    sample : str
        ``out`` or ``in`` where the evidence says whether training held bars of the window.

    Examples
    --------
    >>> trained(Window(start="2016-10-28", end="2018-12-31", trained_until="2016-10-13"))
    'trained before it, to 2016-10-13'
    >>> trained(Window(start="2006-01-03", end="2018-12-31", trained_until="2016-10-13",
    ...     refitted=True))
    'each fold by a model trained only on bars before that fold, the last to 2016-10-13'
    """
    until = window.trained_until[:10]
    if not until:
        return ""
    if window.refitted:
        return f"each fold by a model trained only on bars before that fold, the last to {until}"
    if window.trained_until <= window.start:
        return f"trained before it, to {until}"
    bars = {"out": ", on no bar of it", "in": ", on bars of it too"}.get(sample, "")
    return f"trained to {until}{bars}"


def _minute(stamp: str) -> str:
    return stamp[:16].replace("T", " ")
