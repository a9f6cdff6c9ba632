"""Which defects are found, by which check, and how often a sound model is accused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import finchaos
from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.kill_switch import KillSwitch
from governance.checks.point_in_time import PointInTime
from governance.checks.reproducibility import Reproducibility
from governance.checks.signal_integrity import SignalIntegrity
from governance.harness import Progress, measure
from governance.policy import Policy, load_policy
from governance.record import Evidence, Interval
from governance.selftest import answers, look_ahead, repetition, switches
from governance.selftest.planted import Defect
from governance.selftest.sound import KINDS, market
from governance.splits import anchored_folds
from governance.statistics.proportion import exact_interval

DEFECTS: tuple[Defect, ...] = (
    *look_ahead.DEFECTS,
    *answers.DEFECTS,
    *repetition.DEFECTS,
    *switches.DEFECTS,
)
SEVERE = ("critical", "high")
CHECKS: tuple[Any, ...] = (
    SignalIntegrity(),
    PointInTime(),
    Reproducibility(),
    KillSwitch(starts=3, mild_starts=0),
)
"""Those that judge what a model does with what it is given, whatever the market did to it."""


@dataclass(frozen=True)
class Verdict:
    """What was said of one subject.

    Attributes
    ----------
    kind : str
        Of the sound subject.
    defect : str
        Empty for the sound one itself.
    seed : int
        Of the market.
    accused : tuple of str
        Rules that a subject fails at high or critical severity.
    """

    kind: str
    defect: str
    seed: int
    accused: tuple[str, ...]

    @property
    def checks(self) -> tuple[str, ...]:
        """Checks whose rules it fails."""
        return tuple(dict.fromkeys(rule.partition(".")[0] for rule in self.accused))


@dataclass(frozen=True)
class Matrix:
    """The outcome of a self-test.

    Attributes
    ----------
    planted, sound : tuple of Verdict
    """

    planted: tuple[Verdict, ...]
    sound: tuple[Verdict, ...]

    def found(self, defect: str) -> tuple[int, int]:
        """In how many subjects a defect was found, of how many."""
        of_defect = [one for one in self.planted if one.defect == defect]
        return sum(bool(one.accused) for one in of_defect), len(of_defect)

    def rows(self) -> list[dict[str, Any]]:
        """One row a defect: in how many it was planted and found, and by which checks."""
        about = {one.name: one for one in DEFECTS}
        rows = []
        for name in dict.fromkeys(one.defect for one in self.planted):
            of_defect = [one for one in self.planted if one.defect == name]
            found, planted = self.found(name)
            rows.append(
                {
                    "defect": name,
                    "family": about[name].family if name in about else "",
                    "about": about[name].about if name in about else "",
                    "planted": planted,
                    "found": found,
                    "checks": sorted({check for one in of_defect for check in one.checks}),
                    "rules": sorted({rule for one in of_defect for rule in one.accused}),
                    "missed_in": [one.kind for one in of_defect if not one.accused],
                }
            )
        return rows

    def summary(self) -> dict[str, Any]:
        """Everything as JSON values, with the version that found it."""
        (found, of_found), (false, of_false) = self.found_share, self.false_share
        return {
            "version": finchaos.__version__,
            "checks": {check.card.name: check.card.version for check in CHECKS},
            "rows": self.rows(),
            "planted": len(self.planted),
            "found_share": found,
            "found_interval": [of_found.low, of_found.high],
            "sound": len(self.sound),
            "false_share": false,
            "false_interval": [of_false.low, of_false.high],
            "falsely_accused": [
                {"kind": one.kind, "seed": one.seed, "rules": list(one.accused)}
                for one in self.falsely_accused
            ],
        }

    @property
    def missed(self) -> tuple[Verdict, ...]:
        """Planted subjects that were not accused."""
        return tuple(one for one in self.planted if not one.accused)

    @property
    def falsely_accused(self) -> tuple[Verdict, ...]:
        """Sound subjects that were."""
        return tuple(one for one in self.sound if one.accused)

    @property
    def found_share(self) -> tuple[float, Interval]:
        """Share of the planted subjects accused, with its exact interval."""
        return _share(len(self.planted) - len(self.missed), len(self.planted))

    @property
    def false_share(self) -> tuple[float, Interval]:
        """Share of the sound subjects accused, with its exact interval."""
        return _share(len(self.falsely_accused), len(self.sound))


def self_test(
    *,
    sound: int = 100,
    kinds: Mapping[str, Callable[[], Subject]] = KINDS,
    defects: Sequence[Defect] = DEFECTS,
    seed: int = 1,
    progress: Progress | None = None,
) -> Matrix:
    """Validate every defect in every kind of sound model, and many sound models as they are.

    Parameters
    ----------
    sound : int
        Sound subjects, spread over the kinds, each on a market of its own.
    kinds : mapping
        Makers of untrained sound subjects.
    defects : sequence of Defect
    seed : int
        Of the first market.
    progress : callable, optional

    Raises
    ------
    InputError
        If there is nothing to test.
    """
    if sound < 1 or not kinds or not defects:
        raise InputError("a self-test needs sound subjects, kinds and defects")
    say = progress or (lambda stage, done, total: None)
    judge = _Judge()
    fitting = [
        (kind, make, defect)
        for kind, make in kinds.items()
        for defect in defects
        if defect.fits(make())
    ]
    total = len(fitting) + sound
    done = 0
    planted: list[Verdict] = []
    for kind, make, defect in fitting:
        say(f"{kind}: {defect.name}", done, total)
        planted.append(judge.of(kind, defect.name, defect.plant(make()), seed))
        done += 1
    unspoilt: list[Verdict] = []
    for kind, number in _spread(tuple(kinds), sound):
        say(f"{kind}: sound, market {number}", done, total)
        unspoilt.append(judge.of(kind, "", kinds[kind](), seed + number))
        done += 1
    return Matrix(tuple(planted), tuple(unspoilt))


class _Judge:
    """The checks, and the policy that judges what they measure."""

    def __init__(self) -> None:
        self._policy: Policy = load_policy("baseline")
        self._markets: dict[int, Bars] = {}

    def of(self, kind: str, defect: str, subject: Subject, seed: int) -> Verdict:
        bars = self._markets.setdefault(seed, market(seed))
        folds = anchored_folds(len(bars), first_test=len(bars) // 2, count=2, gap=5)
        # What is handed out may be written to by a defect: every subject gets bars of its own.
        context = Context(bars=bars.rows(), folds=folds, seed=seed)
        evidence: list[Evidence] = []
        for check in CHECKS:
            evidence += measure(check, subject, context).evidence
        findings = self._policy.judge(evidence).findings
        accused = {one.rule for one in findings if one.verdict == "fail" and one.severity in SEVERE}
        return Verdict(kind, defect, seed, tuple(sorted(accused)))


def _spread(kinds: Sequence[str], count: int) -> Iterator[tuple[str, int]]:
    for number in range(count):
        yield kinds[number % len(kinds)], number


def _share(part: int, whole: int) -> tuple[float, Interval]:
    return part / whole, exact_interval(part, whole)
