"""Stress scenarios: what happened, where that is documented and what a sound model should do.

A scenario is a YAML file with a window of returns beside it. Those that ship lie in
``stress_scenarios/``; other distributions add theirs through the entry-point group
``finchaos.stress_scenarios``, whose value is the package that holds ``<name>.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from finchaos.core.bars import Bars
from finchaos.core.documents import Document, parse_yaml, validate_document
from finchaos.core.errors import DocumentError, InputError, UnknownNameError
from finchaos.core.provenance import digest
from governance.amounts import amount
from governance.crisis_window import CrisisWindow, parse_window
from governance.minute_path import minute_bars
from governance.reconstruction import Facts, Reconstruction, parse_facts, seconds

ENTRY_POINT_GROUP = "finchaos.stress_scenarios"
SHIPPED, FROM_FILE = "shipped", "file"
TOLERANCE = 1e-4
"""How far the window may be from what the scenario says of it: rounding to a basis point."""

Metric = Literal[
    "loss",
    "excess_loss",
    "max_drawdown",
    "drawdown_share",
    "worst_intrabar_loss",
    "exposure_at_worst_bar",
    "bars_to_derisk",
    "bars_to_reentry",
    "kill_switch_trips",
]
Frequency = Literal["daily", "minute"]
Kind = Literal["replay", "reconstructed"]


class Expectation(Document):
    """What a sound model is expected to do here, written before any run."""

    metric: Metric
    """A metric of the ``stress`` check."""
    at_most: float | None = None
    at_least: float | None = None
    because: str = Field(min_length=20)

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Self:
        low, high = self.at_least, self.at_most
        if (low is None and high is None) or (None not in (low, high) and low > high):  # type: ignore[operator]
            raise ValueError("give at_most, at_least or both, at_least <= at_most")
        return self

    def shortfall(self, value: float) -> float:
        """How far ``value`` lies outside the expectation, in the metric's unit; 0 if inside."""
        below = 0.0 if self.at_least is None else self.at_least - value
        above = 0.0 if self.at_most is None else value - self.at_most
        return max(below, above, 0.0)

    def said(self, unit: str) -> str:
        """The limits in words, in the unit of the metric."""
        limits = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(
            f"{word} {amount(value, unit)}" for word, value in limits if value is not None
        )


class KnownFacts(Document):
    """What the window must show; it is refused if it does not."""

    worst_day: date
    worst_return: float
    peak: date
    """Highest close before the deepest fall between closes of the window."""
    trough: date
    drawdown: float = Field(lt=0)


class Scenario(Document):
    """One stress scenario."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Equal to the file name without its ending."""
    title: str
    description: str = Field(min_length=40)
    instrument: str
    frequency: Frequency
    kind: Kind
    """``replay``: recorded returns. ``reconstructed``: a path between documented facts."""
    event_days: tuple[date, ...] = Field(min_length=1)
    """The days that it is known for."""
    window: str
    """CSV file beside this one with the columns date, return and source."""
    known: KnownFacts
    onset_drawdown: float = Field(gt=0, lt=1)
    """The fall is visible once a close is this far below the highest; de-risking counts from
    there."""
    recovery_rise: float = Field(gt=0)
    """The market has recovered once a close is this far above the trough; re-entry is measured
    only then, counted from the trough."""
    expected_behaviour: str = Field(min_length=40)
    """What a sound model does, in words."""
    expectations: tuple[Expectation, ...] = Field(min_length=1)
    rationale: str = Field(min_length=40)
    """Why the scenario belongs into a validation."""
    licence: str
    sources: tuple[str, ...] = Field(min_length=1)
    reconstruction: Reconstruction | None = None

    _window: CrisisWindow | None = PrivateAttr(default=None)
    _facts: Facts | None = PrivateAttr(default=None)
    _origin: str = PrivateAttr(default="")
    """Who brought it: ``shipped``, ``file``, or the distribution that was installed."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        built = self.reconstruction is not None
        if built != (self.kind == "reconstructed") or built != (self.frequency == "minute"):
            raise ValueError(
                "a reconstruction belongs to kind 'reconstructed' with frequency 'minute'; "
                "a replay is daily"
            )
        if built and len(self.event_days) != 1:
            raise ValueError("a reconstruction is of one day")
        metrics = [item.metric for item in self.expectations]
        if len(set(metrics)) != len(metrics):
            raise ValueError("one expectation a metric")
        return self

    @property
    def data(self) -> CrisisWindow:
        """The window of returns."""
        if self._window is None:
            raise InputError(
                f"scenario {self.name} has no data attached", remedy="use load_scenario"
            )
        return self._window

    @property
    def returns(self) -> np.ndarray:
        """Daily simple returns, shape (n,)."""
        return np.array(self.data.returns)

    @property
    def facts(self) -> Facts:
        """The facts of a reconstruction."""
        if self._facts is None:
            raise InputError(f"scenario {self.name} is not a reconstruction")
        return self._facts

    @property
    def anchors_digest(self) -> str:
        """SHA-256 of the facts file; empty for a replay."""
        return "" if self._facts is None else self._facts.digest

    @cached_property
    def digest(self) -> str:
        """SHA-256 over definition, window and facts."""
        window = self.data
        return digest(
            {
                "definition": self.model_dump(mode="json"),
                "dates": [day.isoformat() for day in window.dates],
                "returns": list(window.returns),
                "sources": list(window.sources),
                "anchors": self.anchors_digest,
            }
        )

    @property
    def provenance(self) -> dict[str, str | int]:
        """What the record of a run says of it: kind, rows, days, sources, licence, origin."""
        window = self.data
        said: dict[str, str | int] = {
            "kind": self.kind,
            "frequency": self.frequency,
            "instrument": self.instrument,
            "rows": len(window.dates),
            "first": window.dates[0].isoformat(),
            "last": window.dates[-1].isoformat(),
            "source": window.source,
            "licence": self.licence,
            "origin": self._origin,
        }
        if self.anchors_digest:
            said["anchors"] = self.anchors_digest
        return said

    @property
    def prior_close(self) -> float:
        """Close of the session before a reconstructed one, from its close and daily return."""
        spec = self._spec
        row = self.data.dates.index(self.event_days[0])
        last = next(p for p in spec.points if seconds(p.at) == seconds(spec.session[1]))
        return self.facts.value(last.fact) / (1.0 + self.data.returns[row])

    def minute_path(self, seed: int) -> Bars:
        """One reconstructed minute path, see :func:`governance.minute_path.minute_bars`."""
        return minute_bars(
            self._spec,
            self.facts,
            day=self.event_days[0],
            prior_close=self.prior_close,
            seed=seed,
        )

    @property
    def _spec(self) -> Reconstruction:
        if self.reconstruction is None:
            raise InputError(f"scenario {self.name} is not a reconstruction")
        return self.reconstruction


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios that ship or that installed packages add, sorted."""
    own = {
        item.name.removesuffix(".yaml")
        for item in files("stress_scenarios").iterdir()
        if item.name.endswith(".yaml")
    }
    added = [point.name for point in entry_points(group=ENTRY_POINT_GROUP)]
    foreign = set(added)
    if own & foreign:
        raise InputError(
            f"scenarios that ship have the names {', '.join(sorted(own & foreign))}",
            remedy="rename the outside package's entry point",
        )
    twice = sorted(name for name in foreign if added.count(name) > 1)
    if twice:
        raise InputError(
            f"installed packages add {', '.join(twice)} more than once",
            expected="one scenario a name",
            remedy="uninstall one of them, or rename its entry point",
        )
    return tuple(sorted(own | foreign))


def load_scenario(name: str | Path, *, beside: Path | None = None) -> Scenario:
    """Load a scenario by name or by the path of a YAML file.

    Parameters
    ----------
    name : str or Path
        A name of :func:`scenario_names`, or a path ending in ``.yaml``.
    beside : Path, optional
        Folder that relative paths start from.

    Raises
    ------
    UnknownNameError
        If no scenario has this name.
    DocumentError
        If the file is malformed or contradicts its own data.
    DataError
        If the window or the facts cannot be used.

    Examples
    --------
    >>> scenario = load_scenario("black_monday_1987")
    >>> row = scenario.data.dates.index(scenario.event_days[0])
    >>> round(scenario.data.returns[row], 4)
    -0.2047
    """
    folder, stem, origin = _locate(name, beside)
    if origin not in (SHIPPED, FROM_FILE):
        try:
            return _loaded(folder, stem, origin)
        except InputError as error:
            raise DocumentError(
                f"scenario {stem} of the installed package {origin}: {error.what}",
                expected=error.expected,
                got=error.got,
                remedy=error.remedy or "mend or uninstall the package, or name other scenarios",
            ) from error
    return _loaded(folder, stem, origin)


def _loaded(folder: Traversable, stem: str, origin: str) -> Scenario:
    label = f"{stem}.yaml"
    raw = parse_yaml(_read(folder, label, label), label)
    scenario = validate_document(raw, Scenario, label)
    if scenario.name != stem:
        raise DocumentError(
            f"{label} calls itself {scenario.name!r}", expected=f"the name of its file, {stem!r}"
        )
    scenario._window = parse_window(_read(folder, scenario.window, label), scenario.window)
    if scenario.reconstruction is not None:
        facts = scenario.reconstruction.facts
        scenario._facts = parse_facts(_read(folder, facts, label), facts)
    _verify(scenario)
    scenario._origin = origin
    return scenario


def load_scenarios(
    names: Sequence[str] | Literal["all"] = "all", *, beside: Path | None = None
) -> tuple[Scenario, ...]:
    """Several scenarios, in the order given; ``all`` are those of :func:`scenario_names`."""
    wanted = scenario_names() if names == "all" else names
    return tuple(load_scenario(name, beside=beside) for name in wanted)


def _locate(name: str | Path, beside: Path | None) -> tuple[Traversable, str, str]:
    """Folder and stem of a scenario's YAML file, and who brought it."""
    path = Path(name)
    if path.suffix == ".yaml":
        located = path if path.is_absolute() or beside is None else beside / path
        return located.parent, located.stem, FROM_FILE
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            brought = getattr(point, "dist", None)
            said = point.module if brought is None else f"{brought.name} {brought.version}"
            try:
                return files(point.module), point.name, said
            except ModuleNotFoundError as error:
                raise DocumentError(
                    f"the package {said} says that it has the scenario {point.name}",
                    expected=f"an importable package {point.module}",
                    got=str(error),
                    remedy="install it again, or uninstall it",
                ) from error
    if str(name) not in scenario_names():
        raise UnknownNameError(
            f"no scenario named {str(name)!r}",
            expected=f"one of {', '.join(scenario_names())}, or the path of a .yaml file",
        )
    return files("stress_scenarios"), str(name), SHIPPED


def _read(folder: Traversable, name: str, whose: str) -> str:
    """Text of a file in the scenario's folder or below it."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute():
        raise DocumentError(
            f"{whose} may only name files beside it", expected="a relative path", got=repr(name)
        )
    try:
        return folder.joinpath(*parts).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{whose}: cannot read {name}", got=str(error)) from error


def _verify(scenario: Scenario) -> None:
    """The window shows what the scenario says, and a reconstruction can be built from its facts."""
    window, known = scenario.data, scenario.known
    worst = int(np.argmin(window.returns))
    peak, trough, depth = window.drawdown
    found: dict[str, tuple[object, object]] = {
        "worst day": (known.worst_day, window.dates[worst]),
        "peak": (known.peak, window.dates[peak]),
        "trough": (known.trough, window.dates[trough]),
    }
    problems = [
        f"{k} {said}, window {shows}" for k, (said, shows) in found.items() if said != shows
    ]
    numbers = {
        "worst return": (known.worst_return, window.returns[worst]),
        "drawdown": (known.drawdown, depth),
    }
    problems += [
        f"{what} {said:.4f}, window {shows:.4f}"
        for what, (said, shows) in numbers.items()
        if abs(said - shows) > TOLERANCE
    ]
    problems += [
        f"event day {day} is not in the window"
        for day in scenario.event_days
        if day not in window.dates
    ]
    if problems:
        raise DocumentError(
            f"scenario {scenario.name} and its window disagree", got="; ".join(problems)
        )
    if scenario.reconstruction is not None:
        scenario.minute_path(scenario.reconstruction.seeds[0])
