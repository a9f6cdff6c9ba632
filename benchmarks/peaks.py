"""How often the peak of a hyper-parameter is found where it was planted, and seen where none is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from benchmarks.nulls import blind, closes_alone
from benchmarks.report import Options, Report, Table
from finchaos.core.bars import Bars
from finchaos.core.hyper_parameters import HyperParameterFields
from finchaos.core.provenance import array_digest, digest, random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard, Subject
from governance.check import Context
from governance.checks.sensitivity import Sensitivity
from governance.policy import load_policy
from governance.record import Evidence
from governance.selftest.sound import KINDS, market
from governance.splits import anchored_folds
from governance.statistics.proportion import exact_interval

TUNED_TO = 20
_RULE = "sensitivity.hyper_peak"


@dataclass(frozen=True)
class Size:
    """How much is tried.

    Attributes
    ----------
    markets : int
        Of 1200 bars, simulated and real in turn, for every kind of sound model.
    planted : int
        Models for every length of test and skill.
    tests : tuple of int
        Bars in the test of a planted model.
    skills : tuple of float
        Shares of bars at which a planted model knows the sign of the return that it earns.
    draws : int
        Resampled histories of an interval.
    kinds : tuple of str
        Of sound models, those with hyper-parameters.
    """

    markets: int = 24
    planted: int = 40
    tests: tuple[int, ...] = (500, 1000)
    skills: tuple[float, ...] = (0.0, 0.1, 0.15, 0.2, 0.3)
    draws: int = 300
    kinds: tuple[str, ...] = tuple(kind for kind in KINDS if kind != "volatility_regime")

    @property
    def check(self) -> Sensitivity:
        """The check, with little else than hyper-parameters in it."""
        return Sensitivity(
            seeds=0, draws=self.draws, hyper_refits=12, trajectories=4, faults=1, start_bars=1
        )


@dataclass(frozen=True, eq=False)
class Peaked(HyperParameterFields):
    """Follows a script where its window is the one it was tuned to, and knows nothing elsewhere."""

    hyper_fields: ClassVar[tuple[str, ...]] = ("window",)
    script: np.ndarray = field(default_factory=lambda: np.empty(0))
    window: int = TUNED_TO
    card: ClassVar[ModelCard] = ModelCard(name="tuned to a peak", version="1")
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.REFIT, Capability.HYPER_PARAMETERS}
    )

    @property
    def digest(self) -> str:
        """SHA-256 of script and window."""
        return digest([array_digest({"script": self.script}), self.window])

    def fit(self, bars: Bars, *, seed: int) -> Peaked:
        """Itself."""
        return self

    def signals(self, bars: Bars) -> Signals:
        """The script, or spells in and out that the window draws."""
        if self.window == TUNED_TO:
            return Signals(bars.index, self.script[: len(bars)])
        return blind(self.window, "peaks", len(bars)).signals(bars)

    def with_hyper_parameters(self, changed: object) -> Peaked:
        """The same script under another window."""
        made = super().with_hyper_parameters(changed)  # type: ignore[arg-type]
        return Peaked(self.script, made.window)


def run(options: Options, size: Size = Size()) -> Report:
    """Two tables: sound models, and planted ones."""
    return Report("peaks", (_sound(size), _planted(size)))


def _sound(size: Size) -> Table:
    rows = []
    for kind in size.kinds:
        make = KINDS[kind]
        peaks, accused, worst, falls = 0, 0, 0.0, 0
        for seed in range(1, size.markets + 1):
            bars = market(seed)
            found = list(_measured(make(), _context(bars, seed, len(bars) // 2, 2), size))
            named = [item for item in found if item.metric == "hyper_peak" and _is_known(item)]
            peaks += len(named)
            accused += _accused(found)
            moved = [i.value for i in found if i.metric == "hyper_position_change" and _is_known(i)]
            worst = max([worst, *(value for value in moved if value is not None)])
            falls += any(
                item.metric == "hyper_sharpe_change"
                and item.interval is not None
                and item.interval.high < -0.2
                for item in found
            )
        rows.append((kind, size.markets, peaks, accused, falls, worst))
    columns = (
        "sound model", "markets", "hyper-parameters", "accused by the rule",
        "one side worse by 0.2, upper end", "largest change of position",
    )  # fmt: skip
    notes = (
        "Tests of 300 bars. The rule accuses where both neighbours are worse by more than its "
        "limit at the lower end of the paired interval; the column beside it counts markets in "
        "which one neighbour is worse by 0.2 even at the upper end, which the rule leaves alone.",
    )
    return Table("Sound models", columns, tuple(rows), notes)


def _planted(size: Size) -> Table:
    rows = []
    for test in size.tests:
        for skill in size.skills:
            gaps, found = [], 0
            for seed in range(size.planted):
                bars, model = _tuned(seed, 600 + test, skill)
                evidence = list(_measured(model, _context(bars, seed, 600, 1), size))
                gaps += [item.value for item in evidence if item.metric == "hyper_peak"]
                found += _accused(evidence)
            interval = exact_interval(found, size.planted, scale=100.0)
            gap = float(np.mean([value for value in gaps if value is not None]))
            share = 100.0 * found / size.planted
            rows.append((test, skill, gap, share, f"{interval.low:.0f} to {interval.high:.0f}"))
    columns = ("bars of test", "share known", "mean peak, p.a.", "found, %", "95 % interval")
    notes = (f"{size.planted} models a row; independent normal returns, no costs.",)
    return Table("Models planted on one value", columns, tuple(rows), notes)


def _tuned(seed: int, bars: int, skill: float) -> tuple[Bars, Peaked]:
    """A market, and a model that knows the sign of some of the returns that it earns."""
    rng = random_stream(seed, "peaks")
    returns = 0.0003 + 0.01 * rng.standard_normal(bars)
    earned = np.append(returns[2:], np.zeros(2)) > 0.0  # decided at t, held from t + 1
    known = rng.random(bars) < skill
    script = np.where(known, earned, rng.integers(0, 2, bars)).astype(float)
    return closes_alone(100.0 * np.cumprod(1.0 + returns)), Peaked(script)


def _context(bars: Bars, seed: int, first: int, folds: int) -> Context:
    cut = anchored_folds(len(bars), first_test=first, count=folds, gap=2)
    return Context(bars=bars, folds=cut, seed=seed, cost_bps=0.0 if folds == 1 else 10.0)


def _measured(subject: Subject, context: Context, size: Size) -> Iterator[Evidence]:
    for item in size.check.measure(subject, context):
        if isinstance(item, Evidence):
            yield item


def _is_known(item: Evidence) -> bool:
    return item.value is not None


def _accused(evidence: list[Evidence]) -> bool:
    findings = load_policy("baseline").judge(evidence).findings
    return any(one.rule == _RULE and one.verdict == "fail" for one in findings)
