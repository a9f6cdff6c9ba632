"""Which defects are found, by which check, and how often a sound model is accused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joblib import Parallel, delayed

import finchaos
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.calibration import Calibration
from governance.checks.claims import Claims
from governance.checks.decisions import Decisions
from governance.checks.kill_switch import KillSwitch
from governance.checks.overfitting import Overfitting
from governance.checks.point_in_time import PointInTime
from governance.checks.regime_stability import RegimeStability
from governance.checks.reproducibility import Reproducibility
from governance.checks.signal_integrity import SignalIntegrity
from governance.checks.state_space_soundness import StateSpaceSoundness
from governance.course import Progress
from governance.measuring import measure
from governance.policy import load_policy
from governance.power import Kept, judging_digest
from governance.record import Evidence, FamilyPower, Interval
from governance.selftest import (
    answers,
    carried,
    look_ahead,
    meaning,
    outcomes,
    papers,
    repetition,
    serving,
    switches,
)
from governance.selftest.planted import Defect
from governance.selftest.sound import KINDS, market
from governance.splits import anchored_folds
from governance.statistics.proportion import exact_interval

DEFECTS: tuple[Defect, ...] = (
    *look_ahead.DEFECTS,
    *answers.DEFECTS,
    *repetition.DEFECTS,
    *switches.DEFECTS,
    *serving.DEFECTS,
    *carried.DEFECTS,
    *meaning.DEFECTS,
    *papers.DEFECTS,
    *outcomes.DEFECTS,
)
SEVERE = ("critical", "high")
CHECKS: tuple[Any, ...] = (
    SignalIntegrity(),
    PointInTime(),
    Reproducibility(),
    KillSwitch(starts=3, mild_starts=0),
    StateSpaceSoundness(chunks=(7, 64), pasts=2, long_bars=5000),
    RegimeStability(draws=200),
    Claims(draws=500),
    Overfitting(),
    Decisions(starts=12, draws=200),
    Calibration(draws=100),
)
"""Those that judge what a model does with what it is given and what is said of it, whatever the
market did to it."""


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

    def kept(self) -> Kept:
        """What is printed in the reports of the version that found it."""
        (_, of_found), (_, of_false) = self.found_share, self.false_share
        rows = self.rows()
        return Kept(
            judging=judging_digest(),
            version=finchaos.__version__,
            kinds=tuple(dict.fromkeys(one.kind for one in self.sound)),
            families=tuple(
                FamilyPower(
                    family=family,
                    defects=sum(row["family"] == family for row in rows),
                    planted=sum(row["planted"] for row in rows if row["family"] == family),
                    found=sum(row["found"] for row in rows if row["family"] == family),
                )
                for family in dict.fromkeys(row["family"] for row in rows)
            ),
            found_low=of_found.low,
            found_high=of_found.high,
            sound=len(self.sound),
            accused=len(self.falsely_accused),
            accused_low=of_false.low,
            accused_high=of_false.high,
            missed=tuple(f"{one.defect} in {one.kind}" for one in self.missed),
        )

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
    workers: int = 1,
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
        Of the first market; see :func:`governance.selftest.sound.market`.
    workers : int
        Processes. Their number changes no verdict.
    progress : callable, optional

    Raises
    ------
    InputError
        If there is nothing to test.
    """
    if sound < 1 or not kinds or not defects:
        raise InputError("a self-test needs sound subjects, kinds and defects")
    say = progress or (lambda stage, done, total: None)
    tasks = [
        # Both sorts of market for every kind and for every defect.
        _Task(kind, make, defect, seed + (k + d) % 2)
        for k, (kind, make) in enumerate(kinds.items())
        for d, defect in enumerate(defects)
        if defect.fits(make())
    ]
    planted = len(tasks)
    # What a sound twin on the same market is accused of is not the defect's.
    twins = sorted({(task.kind, task.seed) for task in tasks})
    tasks += [_Task(kind, kinds[kind], None, market_seed) for kind, market_seed in twins]
    for number in range(sound):
        kind = tuple(kinds)[number % len(kinds)]
        tasks.append(_Task(kind, kinds[kind], None, seed + number))
    verdicts: list[Verdict] = []
    parallel = Parallel(n_jobs=workers, return_as="generator")
    for verdict in parallel(delayed(_judge)(task) for task in tasks):
        verdicts.append(verdict)
        say(f"{verdict.kind}: {verdict.defect or 'sound'}", len(verdicts), len(tasks))
    known = {(one.kind, one.seed): one.accused for one in verdicts[planted:][: len(twins)]}
    found = tuple(_beyond(one, known[one.kind, one.seed]) for one in verdicts[:planted])
    return Matrix(found, tuple(verdicts[planted + len(twins) :]))


def _beyond(verdict: Verdict, known: tuple[str, ...]) -> Verdict:
    return replace(verdict, accused=tuple(r for r in verdict.accused if r not in known))


@dataclass(frozen=True)
class _Task:
    """One subject to validate; the defect is None for a sound one."""

    kind: str
    make: Callable[[], Subject]
    defect: Defect | None
    seed: int


def _judge(task: _Task) -> Verdict:
    """What the checks say of one subject under the baseline policy."""
    # A defect may write to what it is given: every subject gets bars of its own.
    bars = market(task.seed)
    folds = anchored_folds(len(bars), first_test=len(bars) // 2, count=2, gap=5)
    subject, context = task.make(), Context(bars=bars, folds=folds, seed=task.seed)
    if task.defect is not None:
        subject, context = task.defect.within(subject, context)
    evidence: list[Evidence] = []
    for check in CHECKS:
        evidence += measure(check, subject, context).evidence
    findings = load_policy("baseline").judge(evidence).findings
    accused = {one.rule for one in findings if one.verdict == "fail" and one.severity in SEVERE}
    name = "" if task.defect is None else task.defect.name
    return Verdict(task.kind, name, task.seed, tuple(sorted(accused)))


def _share(part: int, whole: int) -> tuple[float, Interval]:
    return part / whole, exact_interval(part, whole)
